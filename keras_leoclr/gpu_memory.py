"""Advice for a training step that does not fit into the memory of the GPU: which batch size would fit."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

UNITS = {"": 1, "bytes": 1, "kib": 2**10, "mib": 2**20, "gib": 2**30}
# Patterns in the messages of PyTorch, JAX and TensorFlow, in this order.
_EXHAUSTED = r"CUDA out of memory|RESOURCE_EXHAUSTED|OOM when allocating|ResourceExhausted|OutOfMemoryError"
_WANTED = r"(?:Tried|trying) to allocate ([\d.]+) ?(bytes|[KMG]iB)"
_TOTAL = r"total capacity of ([\d.]+) ?([KMG]iB)"
_USED = r"([\d.]+) ?([KMG]iB) memory in use"
_TENSOR = r"OOM when allocating tensor with shape\[([\d,]*)\] and type (\w+)"
_WIDTHS = {"half": 2, "bfloat16": 2, "double": 8, "uint8": 1, "int64": 8}


class OutOfMemoryError(RuntimeError):
    """A step does not fit into the memory of the device."""


class Needed(NamedTuple):
    """Sizes of memory that an error message gives, in bytes; 0 for a size that it does not give.

    Attributes:
        wanted: size of the allocation that failed.
        used: memory that the process used before.
        total: memory of the device.
    """

    wanted: int = 0
    used: int = 0
    total: int = 0


def needed(error: BaseException) -> Needed | None:
    """Reads the sizes of memory from an error of TensorFlow, JAX or torch; None for other errors."""
    text = f"{type(error).__name__}: {error}"
    if not re.search(_EXHAUSTED, text):
        return None
    if tensor := re.search(_TENSOR, text):
        sides = [int(side) for side in tensor.group(1).split(",") if side]
        return Needed(wanted=math.prod(sides) * _WIDTHS.get(tensor.group(2), 4))
    return Needed(*(_bytes(pattern, text) for pattern in (_WANTED, _USED, _TOTAL)))


def batch_that_fits(found: Needed, batch_size: int, held: int = 0, divisor: int = 1) -> int:
    """Estimates the largest batch that fits: one half of the batch that did not fit, one quarter, and so on.

    The estimate assumes that the memory of a step is `held`, plus a part in proportion to the batch size.
    When the step failed it had needed `used + wanted`, from which the memory per image follows. If the error
    message does not give these sizes, the estimate is one half of the batch.

    Args:
        found: sizes from the error message, as `needed` returns them.
        batch_size: number of images of the step that failed.
        held: bytes of weights, queue and optimizer, which do not depend on the batch size; 0 by default.
        divisor: number that the batch size must be divisible by, such as the number of devices.

    Returns:
        The number of images; 0 if no batch fits.
    """
    per_image = max(found.used + found.wanted - held, 0) / batch_size
    room = 0.95 * found.total - held if found.total and found.used else math.inf
    size = batch_size // 2
    while size and (size % divisor or size * per_image > room):
        size //= 2
    return size


def advice(
    error: BaseException, batch_size: int, variables: Sequence[Any] = (), divisor: int = 1
) -> str | None:
    """Returns a sentence that names the batch size that would fit, see `batch_that_fits`.

    Args:
        error: error of TensorFlow, JAX or torch.
        batch_size: number of images of the step that failed.
        variables: variables of the model and its optimizer, counted as 4 bytes per number.
        divisor: number that the batch size must be divisible by.

    Returns:
        The sentence; None if the error is not about the memory of a GPU.
    """
    found, held = needed(error), sum(4 * math.prod(variable.shape) for variable in variables)
    if found is None:
        return None
    size = batch_that_fits(found, batch_size, held, divisor)
    what = f"A step of {batch_size} images does not fit into the memory of the GPU"
    if found.total and found.used:
        gib = [size / 2**30 for size in (found.used + found.wanted, found.total)]
        what += f": it needed more than {gib[0]:.1f} of {gib[1]:.1f} GiB"
    if not size:
        return f"{what}. No smaller batch fits: take a smaller `image_size`, `backbone` or `queue_size`."
    half = batch_size // size
    return (
        f"{what}. About {size} images would fit: `--batch_size {size}`, and `--gradient_accumulation_steps "
        f"{half}` for as many images in an update; `--precision mixed_bfloat16` needs about half the memory."
    )


@contextlib.contextmanager
def explained(model: Any, batch_size: int, divisor: int = 1) -> Iterator[None]:
    """Context for the training, in which an error about GPU memory names the batch size that would fit.

    Args:
        model: a compiled model.
        batch_size: number of images of a step.
        divisor: number that the batch size must be divisible by.

    Raises:
        OutOfMemoryError: in place of an error of TensorFlow, JAX or torch about memory.
    """
    try:
        yield
    except Exception as error:
        variables = [*model.variables, *model.optimizer.variables]
        if (sentence := advice(error, batch_size, variables, divisor)) is None:
            raise
        raise OutOfMemoryError(sentence) from error


def _bytes(pattern, text):
    match = re.search(pattern, text)
    return int(float(match.group(1)) * UNITS[match.group(2).lower()]) if match else 0
