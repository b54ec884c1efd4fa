"""What became of the keys of a torch checkpoint, and the error of one that cannot be loaded."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable


class TorchWeightsError(ValueError):
    """A file that is no checkpoint, or does not fit the model. The model is unchanged."""


@dataclasses.dataclass(frozen=True)
class TorchReport:
    """What became of every key of a file.

    Attributes:
        path: the file.
        loaded: keys of the file that filled variables of the model.
        missing: keys that the model needs and the file lacks, named as in the file's layout.
        unexpected: keys of the encoder that the model has no place for.
        unused: keys that do not belong to the encoder, with the reason.
    """

    path: str
    loaded: tuple[str, ...]
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    unused: dict[str, str]

    def __str__(self) -> str:
        lines = [f"{self.path}: {len(self.loaded)} keys loaded"]
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
    """The first names, and how many more there are."""
    names = list(names)
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(map(str, names[:count])) + more


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its type where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
