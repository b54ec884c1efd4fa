"""What the errors of TensorFlow, JAX and torch on a GPU mean, and what to do about them."""

from __future__ import annotations

import re

ADVICE = (
    (
        # torch; CUDA's runtime in all three
        r"driver on your system is too old|driver version is insufficient for CUDA runtime"
        r"|CUDA_ERROR_SYSTEM_DRIVER_MISMATCH|CUDA_ERROR_UNSUPPORTED_PTX_VERSION|unsupported PTX",
        "The NVIDIA driver is too old for the CUDA that this package was made with: install a newer driver, "
        "525 or later for CUDA 12 and 580 or later for CUDA 13 (`nvidia-smi` prints the version), or a "
        "package with an older CUDA, see docs/gpu.md.",
    ),
    (
        r"no kernel image is available|CUDA_ERROR_NO_BINARY_FOR_GPU|CUDA_ERROR_INVALID_PTX"
        r"|CUDA_ERROR_INVALID_HANDLE|does not support target 'sm_|device kernel image is invalid",
        "The installed package holds no program for this card: docs/gpu.md says which package is made for "
        "which cards, and which backend to take instead.",
    ),
    (
        r"CUDA_ERROR_OUT_OF_MEMORY|CUBLAS_STATUS_(?:ALLOC_FAILED|NOT_INITIALIZED)"
        r"|CUDNN_STATUS_(?:ALLOC_FAILED|NOT_INITIALIZED|INTERNAL_ERROR)|DNN library initialization failed"
        r"|failed to create cublas handle",
        "The GPU had no memory left when the process began to use it. Another process may hold it, as JAX "
        "takes three quarters of a GPU at its start: `nvidia-smi` lists the processes. End the other one, "
        "take another GPU with CUDA_VISIBLE_DEVICES, or set XLA_PYTHON_CLIENT_PREALLOCATE=false for both "
        "JAX processes.",
    ),
    (
        r"CUDA out of memory|OOM when allocating|RESOURCE_EXHAUSTED|ResourceExhausted|OutOfMemoryError",
        "The GPU's memory is too small for this step, or another process holds a part of it (`nvidia-smi` "
        "lists the processes). Take a smaller --batch_size, a smaller --image_size, --precision "
        "mixed_bfloat16, or, where the views are made on the GPU, a smaller --canvas.",
    ),
)


def advice(error: BaseException) -> str | None:
    """Explains an error of a GPU and says what to do; returns None for other errors.

    Args:
        error: error of TensorFlow, JAX or torch. The errors that have caused it are looked at too.
    """
    seen: set[int] = set()
    each: BaseException | None = error
    while each is not None and id(each) not in seen:
        seen.add(id(each))
        text = f"{type(each).__name__}: {each}"
        for pattern, sentences in ADVICE:
            if re.search(pattern, text, re.I):
                return sentences
        each = each.__cause__ or each.__context__
    return None
