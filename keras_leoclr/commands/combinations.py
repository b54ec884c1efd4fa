"""Versions, environment variables and devices that are known not to work together."""

from __future__ import annotations

import json
import re
from typing import Any

from keras_leoclr.nvidia import unused_gpu
from keras_leoclr.runs.environment import version_of

NAME = "keras-leoclr"


def look_for_combinations(
    found: dict[str, Any], tried: dict[str, Any], faults: list[str], warnings: list[str]
) -> None:
    """Checks whether installed versions and settings are known not to work together.

    Args:
        found: what `examine` has found so far.
        tried: what the imported packages reported: `backend`, `devices` and `image_data_format`; may be
            empty.
        faults: list of sentences about what will not work; new ones are appended.
        warnings: list of sentences about possible problems; new ones are appended.
    """
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


def _about_workers(backend: str, environment: dict[str, str], faults: list[str], warnings: list[str]) -> None:
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


def _about_devices(found: dict[str, Any], warnings: list[str]) -> None:
    backend, devices = found["backend"], found["devices"]
    gpus = [device for device in devices if re.search("gpu|cuda", device, re.I)]
    if devices and not gpus and (sentence := unused_gpu(backend, environment=found["environment"])):
        warnings.append(sentence)
    if gpus and backend != "tensorflow":
        warnings.append(
            "import keras_leoclr.data before you use TensorFlow: it hides the GPUs from TensorFlow, which "
            f"would take the memory that {backend} needs"
        )
    torch = found["optional"].get("torch") or ""
    features = found["cpu"]["features"]
    if backend == "torch" and torch.startswith("2.13.0") and "avx2" in features and "avx512f" not in features:
        warnings.append(
            "torch 2.13.0 on AVX2 corrupts memory in 1 x 1 convolutions of 4 channels: `widths` of 8 and more"
        )
