"""Examines the installation: versions, processor, directories, and whether the packages can be imported.

It must work even if a package is broken. Therefore it imports only the standard library, and everything that
may crash runs in a separate process.
"""

from __future__ import annotations

import importlib.metadata as metadata
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from typing import Any

from keras_leoclr.commands.combinations import NAME, look_for_combinations
from keras_leoclr.runs.environment import cores, version_of

BACKENDS = ("tensorflow", "jax", "torch")
# These packages are imported one by one if this package itself cannot be imported.
PARTS = ("numpy", "keras", "tensorflow", "keras_cv", "tensorflow_datasets", "PIL")
CPU_FEATURES = ("sse4_2", "avx", "avx2", "fma", "avx512f", "amx_tile", "asimd")
VARIABLES = (
    "CUDA_VISIBLE_DEVICES",
    "KERAS_BACKEND",
    "KERAS_DISTRIBUTION_JOB_ADDRESSES",
    "JAX_PLATFORMS",
    "TF_CONFIG",
    "TF_FORCE_GPU_ALLOW_GROWTH",
    "TF_USE_LEGACY_KERAS",
    "TF_XLA_FLAGS",
    "XLA_FLAGS",
    "XLA_PYTHON_CLIENT_PREALLOCATE",
)
TRY = f"""
import json
import {", ".join(PARTS)}
import keras_leoclr
from keras_leoclr.runs.environment import devices
for name in keras_leoclr.__all__:
    getattr(keras_leoclr, name)
print(json.dumps({{"backend": keras.backend.backend(), "devices": devices(keras.backend.backend()),
                  "image_data_format": keras.config.image_data_format()}}))
"""
GIB = 2**30


def examine() -> dict[str, Any]:
    """Examines this installation.

    Returns:
        `python`, `system`, `packages` and `optional` (versions by name, None for missing packages),
        `backend`, `devices`, `cpu`, `directories`, `environment`, and two lists of sentences: `faults` (what
        will not work) and `warnings`.
    """
    faults: list[str] = []
    warnings: list[str] = []
    required, optional = _requirements(faults, warnings)
    found = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}, {platform.machine()}",
        "packages": {NAME: version_of(NAME)} | {name: version_of(name) for name in required},
        "optional": {name: version_of(name) for name in optional},
        "environment": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "cpu": _cpu(faults),
        "directories": _directories(faults, warnings),
    }
    if not (3, 10) <= sys.version_info[:2] <= (3, 12):
        faults.append(f"Python {found['python']}: 3.10, 3.11 and 3.12 are supported")
    tried = _try(faults)
    found["backend"] = tried.get("backend") or os.environ.get("KERAS_BACKEND") or "tensorflow"
    found["devices"] = tried.get("devices", [])
    look_for_combinations(found, tried, faults, warnings)
    return {**found, "faults": faults, "warnings": warnings}


def _requirements(faults: list[str], warnings: list[str]) -> tuple[list[str], list[str]]:
    """Names of the required packages and of those of the extras; reports versions that do not fit."""
    try:
        from packaging.requirements import Requirement

        listed = [Requirement(line) for line in metadata.requires(NAME) or []]
    except metadata.PackageNotFoundError:
        faults.append(f"{NAME} is not installed: pip install -e . in its folder")
        return [], []
    except Exception as error:
        faults.append(f"packaging, which Keras needs, cannot be used: {_first_line(error)}")
        return [], []
    required, optional = {}, {}
    for each in listed:
        extra = each.marker is not None and "extra" in str(each.marker)
        if extra:
            name = re.search(r"""extra == ["']([\w-]+)["']""", str(each.marker))
            if not each.marker.evaluate({"extra": name[1] if name else ""}):
                continue
        elif each.marker is not None and not each.marker.evaluate():
            continue
        (optional if extra else required).setdefault(each.name, each)
    for name, each in required.items():
        version = version_of(name)
        if version is None:
            faults.append(f'{name} is missing: pip install "{each.name}{each.specifier}"')
        elif not each.specifier.contains(version, prereleases=True):
            faults.append(f"{name} {version} does not fit: {NAME} needs {each.specifier}")
    for name, each in optional.items():
        version = version_of(name)
        if version is not None and not each.specifier.contains(version, prereleases=True):
            warnings.append(f"{name} {version} is not what {NAME} asks for: {each.specifier}")
    for name in ("torchvision", "jax", "keras-cv"):  # These require a certain version of another package.
        for line in (metadata.requires(name) or []) if version_of(name) else []:
            each = Requirement(line)
            version = version_of(each.name)
            applies = each.marker is None or each.marker.evaluate({"extra": ""})
            if applies and version and not each.specifier.contains(version, prereleases=True):
                warnings.append(
                    f"{name} {version_of(name)} needs {each.name}{each.specifier}, and {version} is "
                    f"installed: import {name} will fail or crash"
                )
    return list(required), [name for name in optional if name not in required]


def _cpu(faults: list[str]) -> dict[str, Any]:
    features, memory = [], None
    try:
        words = set(re.findall(r"\w+", pathlib.Path("/proc/cpuinfo").read_text()))
        features = [name for name in CPU_FEATURES if name in words]
        memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB, 1)
    except (OSError, ValueError):
        pass
    if platform.machine() == "x86_64" and features and "avx" not in features:
        faults.append("this CPU has no AVX, which TensorFlow's, JAX' and torch's packages need")
    return {"cores": cores(), "memory_gib": memory, "features": features}


def _directories(faults: list[str], warnings: list[str]) -> dict[str, Any]:
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    places = {
        "here": os.getcwd,
        "data": lambda: os.environ.get("TFDS_DATA_DIR") or os.path.expanduser("~/tensorflow_datasets"),
        "cache": lambda: os.path.join(cache, "keras_leoclr"),
        "temporary": tempfile.gettempdir,
    }
    found = {}
    for name, find in places.items():
        try:
            path = find()
        except OSError as error:  # It was deleted; or there is none that can be written, as on a full disk.
            faults.append(f"no folder can be used ({name}): {_first_line(error)}")
            continue
        there = pathlib.Path(path)
        # `Path.exists` raises an error within folders that may not be read.
        while not os.path.exists(there) and there != there.parent:
            there = there.parent
        if not os.path.exists(there):  # a relative path in a folder that was deleted
            continue
        free = shutil.disk_usage(there).free / GIB
        found[name] = {"path": path, "exists": os.path.exists(path), "free_gib": round(free, 1)}
        if not os.access(there, os.W_OK):
            warnings.append(f"{there} cannot be written ({name})")
        if free < 0.1:
            faults.append(f"{there} is full: {free * 1024:.0f} MiB free ({name})")
        elif free < 2:
            warnings.append(
                f"{there} has {free:.1f} GiB free ({name}); checkpoints of a ResNet-50 take 0.3 each"
            )
    return found


# === In processes of their own ===


def _try(faults: list[str]) -> dict[str, Any]:
    """Imports the package and asks for devices; imports that fail are added to `faults`."""
    backend = os.environ.get("KERAS_BACKEND") or "tensorflow"  # Keras ignores an empty one.
    if backend not in BACKENDS:
        faults.append(f"KERAS_BACKEND must be one of {', '.join(BACKENDS)}. Received: {backend!r}")
        return {}
    said, why = _python(TRY)
    if why is None:
        return json.loads(said.strip().splitlines()[-1])
    parts = (*PARTS, *([backend] if backend not in PARTS else []))
    broken = {part: wrong for part in parts if (wrong := _python(f"import {part}")[1])}
    for part, wrong in broken.items():
        faults.append(f"import {part} fails: {wrong}")
    if not broken:
        faults.append(f"import keras_leoclr fails: {why}")
    return {}


def _python(code: str) -> tuple[str, str | None]:
    """Runs a program and returns its output, and None or a text on its failure."""
    environment = {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ}
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, env=environment
        )
    except subprocess.TimeoutExpired:
        return "", "it does not end within 300 seconds"
    if done.returncode == 0:
        return done.stdout, None
    if done.returncode < 0:
        return "", f"ended by {signal.Signals(-done.returncode).name}"
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return "", lines[-1].strip() if lines else f"exit status {done.returncode}"


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
