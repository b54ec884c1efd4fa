"""Finds the NVIDIA GPUs of the machine without a framework, and explains why a backend does not see them.

A backend of which only the package for CPUs is installed trains on the CPU without any message.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import os
import pathlib
import re
import shutil
import subprocess
from collections.abc import Mapping, MutableMapping

# For each backend, packages that only an installation for GPUs has, and the command that installs them.
PACKAGES = {
    "tensorflow": (("nvidia-cudnn-cu12",), 'pip install "keras-leoclr[cuda]"'),
    "jax": (("jax-cuda13-plugin", "jax-cuda12-plugin"), 'pip install "keras-leoclr[jax-cuda]"'),
    "torch": ((), "pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/cu130"),
}
# Oldest driver on Linux for each major version of CUDA (NVIDIA's release notes of CUDA, docs/gpu.md).
DRIVERS = {"12": 525, "13": 580}


@dataclasses.dataclass(frozen=True)
class System:
    """The NVIDIA GPUs of this machine.

    Attributes:
        names: name of each GPU, such as "NVIDIA H100 80GB HBM3".
        driver: version of the driver, such as "550.54.14"; None if it is not known.
        usable: whether the device files of the GPUs exist. They can be missing in a container.
    """

    names: tuple[str, ...] = ()
    driver: str | None = None
    usable: bool = True


def nvidia_gpus(root: str | os.PathLike = "/") -> System:
    """Looks for NVIDIA GPUs in `/dev` and `/proc`, and runs `nvidia-smi` if there are none.

    Args:
        root: folder that holds `dev` and `proc`; "/" by default. `nvidia-smi` is only run for "/".
    """
    root = pathlib.Path(root)
    files = [p for p in (root / "dev").glob("nvidia*") if re.fullmatch(r"nvidia\d+", p.name)]
    folder = root / "proc" / "driver" / "nvidia"
    names = [_field(path, r"^Model:\s*(.+?)\s*$") for path in sorted(folder.glob("gpus/*/information"))]
    driver = _field(folder / "version", r"Kernel Module.*?\s(\d+\.\d+(?:\.\d+)?)\s")
    known = [name or "an NVIDIA GPU" for name in names]
    if known:  # a container sees the `proc` of its host, but maybe not the devices
        return System(tuple(known), driver, bool(files))
    if files:
        return System(("an NVIDIA GPU",) * len(files), driver)
    if str(root) == "/" and shutil.which("nvidia-smi"):  # Linux on Windows (WSL) has neither
        return _asked()
    return System()


def _field(path: pathlib.Path, pattern: str) -> str | None:
    try:
        found = re.search(pattern, path.read_text(errors="replace"), re.M)
    except OSError:
        return None
    return found[1] if found else None


def _asked() -> System:
    ask = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(ask, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return System()
    rows = [line.rpartition(",") for line in done.stdout.splitlines() if "," in line]
    if done.returncode or not rows:
        return System()
    return System(tuple(name.strip() for name, _, _ in rows), rows[0][2].strip())


def quieten_tensorflow(
    system: System | None = None, environment: MutableMapping[str, str] = os.environ
) -> None:
    """Hides the error that TensorFlow logs where there is no GPU, about a driver that it does not find.

    Errors that TensorFlow raises are not affected, nor are the warnings of `unused_gpu`. On a machine with an
    NVIDIA GPU nothing is changed, so that its errors stay visible.

    Args:
        system: the GPUs; those of this machine by default.
        environment: environment variables; by default those of the process, which its children inherit.
    """
    found = nvidia_gpus() if system is None else system
    if not found.names:
        environment["TF_CPP_MIN_LOG_LEVEL"] = "3"


def unused_gpu(
    backend: str, system: System | None = None, environment: Mapping[str, str] = os.environ
) -> str | None:
    """Explains why a backend does not see an NVIDIA GPU of this machine, and what to do about it.

    Args:
        backend: the backend that sees no GPU: "tensorflow", "jax" or "torch".
        system: GPUs of the machine; None, the default, to look for them with `nvidia_gpus`.
        environment: environment variables; those of the process by default.

    Returns:
        A few sentences; None if the machine has no NVIDIA GPU.
    """
    system = nvidia_gpus() if system is None else system
    if not system.names:
        return None
    count = f"{len(system.names)} x {system.names[0]}" if len(system.names) > 1 else system.names[0]
    driver = f", driver {system.driver}" if system.driver else ""
    return f"There is an NVIDIA GPU that {backend} does not see ({count}{driver}): " + _why(
        backend, system, environment
    )


def is_hidden(backend: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether an environment variable hides the GPUs from a backend on purpose."""
    if environment.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return True
    return backend == "jax" and environment.get("JAX_PLATFORMS", "") == "cpu"


def _why(backend, system, environment):
    if is_hidden(backend, environment):
        hidden = "CUDA_VISIBLE_DEVICES" if environment.get("JAX_PLATFORMS", "") != "cpu" else "JAX_PLATFORMS"
        return f"{hidden} hides it. Unset {hidden} to train on it."
    if not system.usable:
        return (
            "this process has no device file /dev/nvidia0, as in a container without GPUs. Start the "
            "container with them, such as `docker run --gpus all`."
        )
    packages, command = PACKAGES[backend]
    versions = {name: version for name in packages if (version := _version_of(name))}
    if backend == "torch":
        version = _version_of("torch") or ""
        without, cuda = version.endswith("+cpu"), "13"
    else:
        without, cuda = not versions, "13" if "jax-cuda13-plugin" in versions else "12"
    if without:
        return f"{backend} was installed without CUDA, and computes on the CPU. Install it: {command}"
    least = DRIVERS[cuda]
    if system.driver and int(system.driver.split(".")[0]) < least:
        return (
            f"the driver is too old for CUDA {cuda}, which {backend} was installed with. Install a driver of "
            f"version {least} or later, or see docs/gpu.md for packages with an older CUDA."
        )
    return (
        f"{backend} was installed with CUDA {cuda}, and could not use it. Its messages at the start of the "
        "process say why; docs/gpu.md says which cards its package is made for."
    )


def _version_of(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
