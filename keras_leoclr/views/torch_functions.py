"""Steps of `device.py` that torch computes faster in a way of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def interpolated(images: Any, lines: Any, columns: Any) -> Any:
    """Interpolates V grids of points in each image bilinearly, as a product with tent weights does.

    Args:
        images: (B, H, W, C) tensor of any type.
        lines: (B, V, S) float32, where the rows of each grid lie, in [0, H - 1].
        columns: (B, V, S) float32, where its columns lie, in [0, W - 1].

    Returns:
        (B, V, C, S, S) float32.
    """
    import torch

    height, width, channels = images.shape[1:]
    count, size = lines.shape[1:]
    # grid_sample counts from -1, the centre of the first pixel, to 1, the centre of the last.
    x = columns * (2.0 / max(1, width - 1)) - 1.0
    y = lines * (2.0 / max(1, height - 1)) - 1.0
    shape = (-1, count, size, size)
    grid = torch.stack([x[:, :, None].expand(shape), y[:, :, :, None].expand(shape)], dim=-1)
    planes = images.permute(0, 3, 1, 2).float()
    # All views of an image are one grid of V * S lines.
    options = {"mode": "bilinear", "padding_mode": "border", "align_corners": True}
    grid = grid.reshape(-1, count * size, size, 2)
    views = torch.nn.functional.grid_sample(planes, grid, **options)
    return views.reshape(-1, channels, count, size, size).transpose(1, 2)


def blurred_alone(blur: Callable[..., Any], views: Any, settings: Any, sigma: Any) -> Any:
    """Blurs views, on a processor only those whose standard deviation is not 0.

    On a GPU the host would have to wait for it to learn which these are, and torch.compile must know how many
    they are.

    Args:
        blur: function `(views, settings, sigma) -> views`.
        views: (B, V, C, S, S) tensor, which may be changed.
        settings: settings of the views.
        sigma: (B, V) standard deviations in pixels, 0 where a view is not blurred.

    Returns:
        (B, V, C, S, S).
    """
    import torch

    if torch.compiler.is_compiling() or views.device.type != "cpu":
        return blur(views, settings, sigma)
    chosen = torch.nonzero(sigma, as_tuple=True)
    views[chosen] = blur(views[chosen][:, None], settings, sigma[chosen][:, None])[:, 0]
    return views
