"""`leoclr doctor`: what is installed, and what of it will not work.

It must answer where a package is broken: nothing but the standard library is imported here, and whatever
is to be tried runs in a process of its own, which may crash.
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

from keras_leoclr.commands.command import JSON, Command
from keras_leoclr.commands.flags import Given
from keras_leoclr.runs.environment import cores, version_of

TEXT = """leoclr doctor [--json]

Prints versions, backend, devices, directories and CPU, tries whether the packages can be imported (in
processes of their own, which takes some seconds), and says what will not work and what to look out for.

Exit status: 0, or 1 if something will not work."""

NAME = "keras-leoclr"
BACKENDS = ("tensorflow", "jax", "torch")
# what is tried one by one when the package itself cannot be imported
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
TRY = """
import json
import keras, keras_leoclr
from keras_leoclr.runs.environment import devices
print(json.dumps({"backend": keras.backend.backend(), "devices": devices(),
                  "image_data_format": keras.config.image_data_format()}))
"""
GIB = 2**30


def examine() -> dict[str, Any]:
    """Looks at this installation.

    Returns:
        `python`, `system`, `packages` and `optional` (versions by name, None for what is missing), `backend`,
        `devices`, `cpu`, `directories`, `environment`, and lists of sentences: `faults` (will not work) and
        `warnings`.
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
    _known_combinations(found, tried, faults, warnings)
    return {**found, "faults": faults, "warnings": warnings}


def text(found: dict[str, Any]) -> str:
    """What `examine` returns, to be read."""
    missing = [name for name, version in found["optional"].items() if version is None]
    present = {name: version for name, version in found["optional"].items() if version}
    rows = [("python", found["python"]), ("system", found["system"])]
    rows += [(name, version or "missing") for name, version in found["packages"].items()]
    rows += [("optional", ", ".join(f"{name} {version}" for name, version in present.items()) or "none")]
    rows += [("not there", ", ".join(missing))] if missing else []
    rows += [("backend", found["backend"]), ("devices", ", ".join(found["devices"]) or "not known")]
    cpu = found["cpu"]
    rows += [("cpu", f"{cpu['cores']} cores, {cpu['memory_gib']} GiB, {' '.join(cpu['features'])}")]
    for name, place in found["directories"].items():
        rows.append(
            (name, f"{place['path']}: {place['free_gib']} GiB free{'' if place['exists'] else ', none yet'}")
        )
    rows += list(found["environment"].items())
    width = max(len(name) for name, _ in rows) + 2
    lines = [f"{name:{width}}{value}" for name, value in rows]
    lines += [f"\nFAULT    {sentence}" for sentence in found["faults"]]
    lines += [f"\nwarning  {sentence}" for sentence in found["warnings"]]
    return "\n".join(
        [*lines, "" if found["faults"] or found["warnings"] else "\nNothing to object to."]
    ).rstrip()


def _requirements(faults, warnings):
    """Names of the packages that are needed and of those of the extras; those that do not fit are noted."""
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
    for name in ("torchvision", "jax", "keras-cv"):  # what pins another package exactly, or from below
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


def _cpu(faults):
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


def _directories(faults, warnings):
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    places = {
        "here": os.getcwd(),
        "data": os.environ.get("TFDS_DATA_DIR") or os.path.expanduser("~/tensorflow_datasets"),
        "cache": os.path.join(cache, "keras_leoclr"),
        "temporary": tempfile.gettempdir(),
    }
    found = {}
    for name, path in places.items():
        there = pathlib.Path(path)
        while not there.exists():
            there = there.parent
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


def _try(faults):
    """Imports the package and asks for devices; what does not import is noted."""
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
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


def _python(code):
    """Output of a program, and None or what went wrong."""
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


def _first_line(error):
    return f"{type(error).__name__}: {error}".splitlines()[0]


# === What is known not to go together ===


def _known_combinations(found, tried, faults, warnings):
    backend, optional, environment = found["backend"], found["optional"], found["environment"]
    if backend in ("jax", "torch") and optional.get(backend) is None and version_of(backend) is None:
        faults.append(f'KERAS_BACKEND is {backend}, which is missing: pip install "{NAME}[{backend}]"')
    if tried.get("image_data_format", "channels_last") != "channels_last":
        warnings.append("image_data_format is channels_first; views and backbones are made for channels_last")
    if environment.get("TF_USE_LEGACY_KERAS", "0").lower() in ("1", "true"):
        warnings.append("TF_USE_LEGACY_KERAS makes tf.keras Keras 2: models of the two do not mix")
    for name in ("keras-nightly", "tf-nightly", "tensorflow-cpu", "keras-core"):
        if name in ("keras-nightly", "tf-nightly", "tensorflow-cpu") and version_of(name):
            warnings.append(f"{name} {version_of(name)} lies over the files of the package that it replaces")
    _about_workers(backend, environment, faults, warnings)
    _about_devices(found, warnings)
    flags_of_xla = environment.get("XLA_FLAGS", "")
    count = re.search(r"xla_force_host_platform_device_count=(\d+)", flags_of_xla)
    if count and int(count[1]) > 1:
        warnings.append(
            f"XLA_FLAGS splits the CPU into {count[1]} devices: right for tests, slow for training"
        )
    elif flags_of_xla:
        warnings.append("XLA_FLAGS is set; a flag that this version does not know ends the process")


def _about_workers(backend, environment, faults, warnings):
    if "TF_CONFIG" in environment:
        try:
            json.loads(environment["TF_CONFIG"])
        except json.JSONDecodeError as error:
            faults.append(f"TF_CONFIG is not JSON: {error}")
        if backend != "tensorflow":
            warnings.append(f"TF_CONFIG names workers, which are TensorFlow's; the backend is {backend}")
        else:
            warnings.append(
                "TF_CONFIG is set: MultiWorkerMirroredStrategy waits for all workers, and the model has to "
                "be made outside of the strategy's scope (docs/scaling.md)"
            )
    if backend == "torch" and "KERAS_DISTRIBUTION_JOB_ADDRESSES" in environment:
        faults.append("torch trains on one device; several processes are refused (docs/scaling.md)")


def _about_devices(found, warnings):
    backend, devices = found["backend"], found["devices"]
    gpus = [device for device in devices if re.search("gpu|cuda", device, re.I)]
    driver = pathlib.Path("/dev/nvidia0").exists() or shutil.which("nvidia-smi") is not None
    if devices and driver and not gpus:
        hidden = found["environment"].get("CUDA_VISIBLE_DEVICES")
        why = (
            "CUDA_VISIBLE_DEVICES hides it"
            if hidden in ("", "-1")
            else f"{backend} was installed without CUDA"
        )
        warnings.append(
            f"there is an NVIDIA GPU that {backend} does not see: {why}, or the driver is too old"
        )
    if gpus and backend != "tensorflow":
        warnings.append(
            f"import keras_leoclr before you use TensorFlow: it hides the GPUs from TensorFlow, which would "
            f"take the memory that {backend} needs"
        )
    torch = found["optional"].get("torch") or ""
    features = found["cpu"]["features"]
    if backend == "torch" and torch.startswith("2.13.0") and "avx2" in features and "avx512f" not in features:
        warnings.append(
            "torch 2.13.0 on AVX2 corrupts memory in 1 x 1 convolutions of 4 channels: `widths` of 8 and more"
        )


def _run(given: Given) -> int:
    found = examine()
    print(json.dumps(found, indent=2) if given["json"] else text(found))
    return 1 if found["faults"] else 0


COMMAND = Command(
    name="doctor", arguments="", summary="check this installation", text=TEXT, run=_run, flags=(JSON,)
)
