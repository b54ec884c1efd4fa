"""Decides which precision a run computes in, and checks that its devices support it."""

from __future__ import annotations

import dataclasses
import os

import keras

from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.training.recipe import Recipe

BFLOAT16_SINCE = (8, 0)  # compute capability of NVIDIA's Ampere GPUs


def decided(
    recipe: Recipe, workdir: str | os.PathLike | None = None, overwrite: bool = False
) -> tuple[Recipe, list[str]]:
    """Returns the recipe with a precision that the devices support, and lines that give the reason.

    `auto` means the precision that the run in `workdir` began with. For a new run it means mixed_bfloat16 if
    all GPUs compute in it, and otherwise float32.

    Args:
        recipe: the settings.
        workdir: folder of the run, if there is one.
        overwrite: whether a run that is already in the folder is restarted; false by default.

    Raises:
        ValueError: if a GPU does not compute in the precision that was asked for, or that the run began with.
    """
    if recipe.precision != "auto":
        check(recipe.precision)
        return recipe, []
    run = None if workdir is None or overwrite else RunFolder(workdir)
    if run is not None and run.holds_run:
        begun = run.recipe().get("precision", "float32")
        check(begun, f"the run in {workdir} began with it")
        return dataclasses.replace(recipe, precision=begun), []
    policy, reason = of_devices()
    lines = [] if policy == "float32" and not _gpus() else [f"precision {policy}: {reason}"]
    return dataclasses.replace(recipe, precision=policy), lines


def of_devices() -> tuple[str, str]:
    """The precision of a new run on the devices that the backend sees, and the reason."""
    found = _gpus()
    if not found:
        return "float32", "there is no GPU"
    lacking = [name for name, capability in found if capability < BFLOAT16_SINCE]
    if lacking:
        return "float32", f"{lacking[0]} does not compute in bfloat16; mixed_float16 may be faster"
    return "mixed_bfloat16", f"{found[0][0]} computes in bfloat16; weights, keys and loss stay float32"


def check(policy: str, why: str = "") -> None:
    """Raises ValueError if a GPU does not support a precision; CPUs support all of them, if slowly.

    Args:
        policy: "float32", "mixed_bfloat16" or "mixed_float16".
        why: origin of the setting, for the message.
    """
    lacking = [name for name, capability in _gpus() if capability < BFLOAT16_SINCE]
    if policy == "mixed_bfloat16" and lacking:
        raise ValueError(
            "`precision` mixed_bfloat16 needs GPUs of compute capability 8.0 or more, such as an A100 or an "
            "RTX 3060; take mixed_float16 or float32. "
            f"Received: precision='mixed_bfloat16'{', ' + why if why else ''}, on {lacking[0]}"
        )


def _gpus() -> list[tuple[str, tuple[int, int]]]:
    """Name and compute capability of each GPU that the backend sees; other accelerators get a high one."""
    backend = keras.backend.backend()
    if backend == "torch":
        import torch

        count = torch.cuda.device_count()
        return [(torch.cuda.get_device_name(i), torch.cuda.get_device_capability(i)) for i in range(count)]
    if backend == "jax":
        import jax

        devices = [device for device in jax.devices() if device.platform != "cpu"]
        return [(d.device_kind, _version(getattr(d, "compute_capability", "99.0"))) for d in devices]
    import tensorflow as tf

    details = map(tf.config.experimental.get_device_details, tf.config.list_physical_devices("GPU"))
    return [(d.get("device_name", "the GPU"), tuple(d.get("compute_capability", (99, 0)))) for d in details]


def _version(text: str) -> tuple[int, int]:
    major, _, minor = str(text).partition(".")
    return int(major), int(minor or 0)
