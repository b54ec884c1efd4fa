"""A GPU that is out of memory: the errors of each package are understood, and a batch is named."""

import types

import pytest

from keras_leoclr import gpu_memory
from keras_leoclr.gpu_memory import Needed, batch_that_fits

pytestmark = pytest.mark.backend_free
GIB = 2**30


class OutOfMemoryError(RuntimeError):
    """As torch.cuda's, ResourceExhaustedError's and XlaRuntimeError's, of which the text counts."""


TORCH = (
    "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 80.00 GiB of which 1.00 "
    "GiB is free. Including non-PyTorch memory, this process has 79.00 GiB memory in use. Of the allocated"
)
JAX = "RESOURCE_EXHAUSTED: Out of memory while trying to allocate 68719476736 bytes."
TENSORFLOW = (
    "OOM when allocating tensor with shape[512,64,112,112] and type half on "
    "/job:localhost/replica:0/task:0/device:GPU:0 by allocator GPU_0_bfc [Op:Conv2D]"
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (TORCH, Needed(2 * GIB, 79 * GIB, 80 * GIB)),
        (JAX, Needed(64 * GIB)),
        (TENSORFLOW, Needed(2 * 512 * 64 * 112 * 112)),
    ],
)
def test_the_errors_of_each_package_are_understood(text, found):
    assert gpu_memory.needed(RuntimeError(text)) == found
    sentence = gpu_memory.advice(RuntimeError(text), 512)
    assert "A step of 512 images does not fit" in sentence
    assert "About 256 images would fit: `--batch_size 256`, and `--gradient_accumulation_steps 2`" in sentence


def test_other_errors_are_not_of_memory():
    assert gpu_memory.needed(RuntimeError("cuDNN error")) is None
    assert gpu_memory.advice(ValueError("no"), 8) is None


@pytest.mark.parametrize(
    ("found", "batch", "held", "divisor", "fits"),
    [
        (Needed(), 256, 0, 1, 128),  # nothing is known
        (Needed(10 * GIB, 150 * GIB, 80 * GIB), 256, 0, 1, 64),  # of 160 GiB, a half is more than 95 % of 80
        (Needed(10 * GIB, 150 * GIB, 80 * GIB), 256, 10 * GIB, 1, 64),
        (Needed(GIB, 79 * GIB, 80 * GIB), 256, 78 * GIB, 1, 0),  # the weights alone are too many
        (Needed(), 24, 0, 8, 0),  # 12, 6 and 3 images cannot be shared by 8 devices
        (Needed(), 64, 0, 8, 32),
    ],
)
def test_the_batch_is_a_half_or_a_quarter_or_less(found, batch, held, divisor, fits):
    assert batch_that_fits(found, batch, held, divisor) == fits


def test_what_is_too_large_for_any_batch_is_said():
    text = TORCH.replace("79.00", "79.90")
    weights = types.SimpleNamespace(shape=(79, GIB // 4))
    assert "No smaller batch fits" in gpu_memory.advice(RuntimeError(text), 2, [weights])


def test_pretraining_names_the_batch(monkeypatch):
    from keras_leoclr.training import pretraining
    from keras_leoclr.training.recipe import Recipe

    class Checkpoint:
        def fit(self, *_, **__):
            raise OutOfMemoryError(TORCH)

    class Batches:
        recipe, at = Recipe(batch_size=512), None

    class Model:
        variables = ()

        class optimizer:
            variables = ()

    from keras_leoclr.distribution import Devices

    with pytest.raises(gpu_memory.OutOfMemoryError, match="About 256 images would fit"):
        pretraining._fit(Model(), Batches(), Checkpoint(), Devices(), [])
