"""The device of a backend: its name, its memory, and the precision of its matrix products."""

from __future__ import annotations

import contextlib
import platform
import resource

import keras

TORCH = keras.backend.backend() == "torch"


def on_gpu():
    if TORCH:
        import torch

        return torch.cuda.is_available()
    import jax

    return jax.devices()[0].platform != "cpu"


def about():
    """Versions and device, by name."""
    found = {"python": platform.python_version(), "keras": keras.__version__}
    if TORCH:
        import torch

        found |= {"torch": torch.__version__, "cuda": torch.version.cuda}
        if torch.cuda.is_available():
            card = torch.cuda.get_device_properties(0)
            found |= {"device": card.name, "memory_gib": round(card.total_memory / 2**30, 1)}
            found |= {"capability": f"{card.major}.{card.minor}", "cudnn": torch.backends.cudnn.version()}
    else:
        import jax
        import jaxlib

        device = jax.devices()[0]
        found |= {"jax": jax.__version__, "jaxlib": jaxlib.__version__, "device": device.device_kind}
        limit = (device.memory_stats() or {}).get("bytes_limit")
        found |= {"memory_gib": round(limit / 2**30, 1)} if limit else {}
    return {"device": platform.processor() or "cpu", **found}


@contextlib.contextmanager
def products(kind):
    """A context in which products and convolutions of float32 use "float32" or "tf32"."""
    if TORCH:
        import torch

        before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = kind == "tf32"
        try:
            yield
        finally:
            torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
        return
    import jax

    with jax.default_matmul_precision("tensorfloat32" if kind == "tf32" else "highest"):
        yield


def wait():
    """Waits until the device has finished its work."""
    if TORCH:
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return
    import jax

    jax.effects_barrier()


def forget_peak():
    if TORCH and on_gpu():
        import torch

        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak_mib():
    """Peak memory of the device, on JAX since the process began; on a CPU, that of the process."""
    if on_gpu():
        if TORCH:
            import torch

            return torch.cuda.max_memory_allocated() / 2**20
        import jax

        return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use", 0) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
