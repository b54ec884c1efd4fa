"""Assigns the weights of a torch checkpoint to the variables of a model: all of them, or none."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np

from keras_leoclr.backbones.torch_files import PREFIXES, Checkpoint
from keras_leoclr.backbones.torch_layout import Entry
from keras_leoclr.backbones.torch_report import TorchReport, TorchWeightsError, some


def fill(
    entries: Sequence[Entry],
    checkpoint: Checkpoint,
    allow_missing: Iterable[str],
    allow_unexpected: Iterable[str],
) -> TorchReport:
    """Assigns the tensors of a checkpoint to all variables, or to none if the file does not fit.

    Args:
        entries: entries of the model, see `torch_layout`.
        checkpoint: content of the file.
        allow_missing: keys, or beginnings of keys, that may be missing in the file.
        allow_unexpected: keys, or beginnings of keys, of the encoder that may be ignored.

    Raises:
        TorchWeightsError: if the file does not fit; nothing is assigned then.
    """
    arrays, original = checkpoint.arrays, checkpoint.original
    keys = {entry.key for entry in entries}
    used_prefixes = {prefix for prefix in PREFIXES.values() if any(key.startswith(prefix) for key in keys)}
    missing = [entry.key for entry in entries if entry.key not in arrays]
    unexpected, unused = [], {}
    for key in arrays:
        if key in keys:
            continue
        reason = _why_unused(key, used_prefixes, any(".fc." in k for k in keys))
        if reason:
            unused[original[key]] = reason
        else:
            unexpected.append(key)
    wrong = [e for e in entries if e.key in arrays and tuple(arrays[e.key].shape) != e.shape]
    missing_names = [key for key in missing if not _allowed(key, allow_missing)]
    unexpected_names = [key for key in unexpected if not _allowed(key, allow_unexpected)]
    if wrong or missing_names or unexpected_names:
        lines = [f"{checkpoint.path} must fit the model. Nothing was loaded. Received:"]
        if wrong:
            shown = [f"{e.key} {tuple(arrays[e.key].shape)}, model {e.shape}" for e in wrong]
            lines.append(f"- other shapes (another architecture or width): {some(shown)}")
        if missing_names:
            lines.append(f"- missing in the file: {some(missing_names)}; `allow_missing` can name them")
        if unexpected_names:
            lines.append(
                f"- without a place in the model: {some(unexpected_names)}; `allow_unexpected` can name them"
            )
        raise TorchWeightsError("\n".join(lines))
    values = []
    for entry in entries:
        if entry.key in arrays:
            made = entry.to_keras(arrays[entry.key])
            values += zip(entry.variables, made, strict=True)
    for variable, value in values:
        variable.assign(np.asarray(value).astype(variable.dtype if "int" in variable.dtype else "float32"))
    return TorchReport(
        checkpoint.path,
        loaded=tuple(original[e.key] for e in entries if e.key in arrays),
        missing=tuple(missing),
        unexpected=tuple(original[key] for key in unexpected),
        unused=unused,
    )


def _why_unused(key: str, used_prefixes: set, with_head: bool) -> str | None:
    """Returns the reason why a key may stay unused; None if it should have a place in the model."""
    if key.endswith("num_batches_tracked"):
        return "BatchNorm's step counter"
    prefix = next((p for p in PREFIXES.values() if key.startswith(p)), None)
    if prefix is None:
        return "not part of an encoder"
    if prefix not in used_prefixes:
        return "the other encoder"
    inner = key.removeprefix(prefix)
    if not with_head and re.match(r"(fc|head|classifier)\.", inner):
        return "classifier or projection head"
    return None


def _allowed(key: str, names: Iterable[str]) -> bool:
    bare = re.sub(r"^encoder_[qk]\.", "", key)
    return any(key.startswith(name) or bare.startswith(name) for name in names)
