"""Real picture files in every format and colour mode, made with Pillow."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def smooth(height=37, width=53, channels=3, seed=0) -> np.ndarray:
    """uint8 (H, W, C) without sharp edges, so that JPEG keeps it."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (5, 7, channels), dtype=np.uint8)
    planes = [Image.fromarray(coarse[..., c]).resize((width, height), 3) for c in range(channels)]
    return np.stack([np.asarray(plane) for plane in planes], axis=-1)


def picture(mode="RGB", height=37, width=53, seed=0) -> Image.Image:
    """A smooth picture in a mode of Pillow's."""
    pixels = smooth(height, width, 4, seed)
    if mode == "I;16":
        return Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    if mode in ("RGBA", "LA"):
        return Image.fromarray(pixels).convert(mode)
    if mode == "CMYK":
        return Image.fromarray(pixels, "CMYK")
    return Image.fromarray(pixels[..., :3]).convert(mode)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    """The bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def oriented(orientation: int, kind="JPEG", **options) -> bytes:
    """A picture with an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(picture(), kind, exif=exif.tobytes(), **options)


def jpeg(seed=0, height=37, width=53, mode="RGB", **options) -> bytes:
    return encoded(picture(mode, height, width, seed), "JPEG", **options)


def png(seed=0, height=37, width=53, mode="RGB", **options) -> bytes:
    return encoded(picture(mode, height, width, seed), "PNG", **options)


def header_of_a_huge_png(side=20_000) -> bytes:
    """A PNG that says it is `side` x `side` and holds a few bytes."""
    import struct
    import zlib

    data = png()
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]
