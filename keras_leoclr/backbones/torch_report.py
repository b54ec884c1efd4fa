"""A report of which keys of a torch checkpoint were used, and the error if it cannot be loaded."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from keras_leoclr.data.failures import shown


class TorchWeightsError(ValueError):
    """The file is not a torch checkpoint, or does not fit the model. The model is unchanged."""


@dataclasses.dataclass(frozen=True)
class TorchReport:
    """Reports which keys of a file were used.

    Attributes:
        path: path of the file.
        loaded: keys of the file whose values were assigned to variables of the model.
        missing: keys that the model needs and the file does not have, named as in MoCo.
        unexpected: keys of the encoder that have no counterpart in the model.
        unused: key that does not belong to the encoder -> reason why it was not used.
        notes: sentences on what the shapes of the tensors did not tell; () by default.
    """

    path: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    unused: dict[str, str]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [f"{shown(self.path)}: {len(self.loaded)} keys loaded", *self.notes]
        for name in ("missing", "unexpected"):
            keys = getattr(self, name)
            if keys:
                lines.append(f"{name}: {some(keys)}")
        reasons: dict[str, list[str]] = {}
        for key, reason in self.unused.items():
            reasons.setdefault(reason, []).append(key)
        lines += [f"not used, {reason}: {some(keys)}" for reason, keys in reasons.items()]
        return "\n".join(lines)


def some(names: Iterable[str], count: int = 5) -> str:
    """Joins the first `count` names, and adds how many more there are."""
    names = list(names)
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(map(str, names[:count])) + more


def first_line(error: Exception) -> str:
    """Returns the first line of an error's message, or the name of its type if the message is empty."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
