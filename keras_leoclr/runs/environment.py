"""Software and hardware of a run: versions of packages, backend and devices.

Only `devices` imports the backend: `leoclr doctor` must work where the backend cannot be imported.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
from typing import Any

PACKAGES = ("keras-leoclr", "keras", "tensorflow", "jax", "torch", "numpy", "keras-cv")


def environment(backend: str) -> dict[str, Any]:
    """Describes Python, packages, backend and devices of this process, in a form that JSON can hold.

    Args:
        backend: name of the Keras backend: tensorflow, jax or torch.

    Returns:
        `{"python", "system", "cores", "backend", "devices", "packages"}`; packages that are not installed
        are left out.
    """
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": cores(),
        "backend": backend,
        "devices": devices(backend),
        "packages": {name: found for name in PACKAGES if (found := version_of(name)) is not None},
    }


def version_of(name: str) -> str | None:
    """Version of an installed package; None if it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def cores() -> int | None:
    """Number of CPU cores that this process may use; None if it is unknown."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def devices(backend: str) -> list[str]:
    """Names of the devices that a backend computes on, such as "GPU: NVIDIA H100"."""
    if backend == "jax":
        import jax

        return [f"{device.platform.upper()}: {device.device_kind}" for device in jax.devices()]
    if backend == "torch":
        import torch

        count = torch.cuda.device_count()
        return [f"GPU: {torch.cuda.get_device_name(number)}" for number in range(count)] or ["CPU"]
    import tensorflow as tf

    gpus = tf.config.get_visible_devices("GPU")
    details = [tf.config.experimental.get_device_details(gpu).get("device_name", "unknown") for gpu in gpus]
    return [f"GPU: {name}" for name in details] or ["CPU"]
