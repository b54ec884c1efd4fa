"""Fields of settings: each has its help, group, choices and bounds, and its value is checked by them."""

from __future__ import annotations

import dataclasses
import functools
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from keras_leoclr.checks import setting_of

MOST_SEED = 2**32 - 1  # the largest seed that NumPy takes


def setting(
    default: Any,
    help: str,
    *,
    group: str,
    choices: tuple[str, ...] = (),
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    resumable: bool = False,
    since: str = "",
    auto: bool = False,
) -> Any:
    """A dataclass field whose `metadata` hold everything that is known of the setting.

    Args:
        default: the default value.
        help: text of the setting in `--help`.
        group: heading of the setting in `--help`.
        choices: the allowed values; () (the default) allows any.
        low: smallest allowed number, of a list the smallest for each of them; None for no bound.
        high: largest allowed number; None for no bound.
        above: number that the value must exceed; None for no bound.
        below: number that the value must be less than; None for no bound.
        resumable: whether a resumed run may change the setting (with `override`). That is so if the weights
            do not depend on it, except through schedules that are computed anew and through rounding. False
            by default.
        since: version of the package that introduced the setting; "" for those of 0.1.0. Runs of earlier
            versions were made with its default.
        auto: whether a list of numbers may be the word "auto" instead, which is replaced when a run begins.
    """
    known = {"help": help, "group": group, "choices": tuple(choices), "low": low, "high": high}
    known |= {"above": above, "below": below, "resumable": resumable, "since": since, "auto": auto}
    return dataclasses.field(default=default, metadata=known)


def meanings(settings: Any) -> dict[str, str]:
    """Returns the text of each setting in `--help` as a sentence, by the name of the setting."""
    texts = {field.name: field.metadata["help"] for field in dataclasses.fields(settings)}
    return {name: f"{text[0].upper()}{text[1:]}." for name, text in texts.items()}


def check(settings: Any) -> None:
    """Checks the values of a dataclass of settings by the types, choices and bounds of their fields.

    The values become those of their types: numbers of NumPy become Python's, lists become tuples.

    Args:
        settings: the settings. Values are replaced in place, also where the dataclass is frozen.

    Raises:
        ValueError: for the first value that is not allowed.
    """
    hints = _hints(type(settings))
    for field in dataclasses.fields(settings):
        given = getattr(settings, field.name)
        if not (field.metadata["choices"] and _broken_rule(field.metadata, given)):
            object.__setattr__(settings, field.name, _of_type(field, given, hints[field.name]))
        value = getattr(settings, field.name)
        if rule := _broken_rule(field.metadata, value):
            shown = repr(value) if isinstance(value, str) else value
            raise ValueError(f"`{field.name}` must {rule}. Received: {field.name}={shown}")


_hints = functools.cache(typing.get_type_hints)


def _of_type(field: dataclasses.Field, value: Any, kind: Any) -> Any:
    if value is None and field.default in ("", ()):  # Empty means that the setting is not given.
        return field.default
    takes_auto = field.metadata["auto"] or typing.get_origin(kind) is not tuple
    if isinstance(value, str) and value == "auto" and not takes_auto:
        raise ValueError(f"`{field.name}` must be numbers, not a word. Received: {field.name}={value!r}")
    return setting_of(field.name, value, kind)


def _broken_rule(known: Mapping[str, Any], value: Any) -> str:
    if value is None:  # None means that the setting is not given.
        return ""
    choices, low, high, above, below = (known[name] for name in ("choices", "low", "high", "above", "below"))
    if choices:
        return "" if isinstance(value, str) and value in choices else f"be one of {', '.join(choices)}"
    numbers = value if isinstance(value, tuple) else (value,)
    if low is not None and high is not None and not all(low <= number <= high for number in numbers):
        return f"lie in [{_shown(low)}, {_shown(high)}]"
    if low is not None and below is not None and not all(low <= number < below for number in numbers):
        return f"lie in [{low:g}, {below:g})"
    if low is not None and not all(number >= low for number in numbers):
        return f"be >= {low:g}"
    if high is not None and not all(number <= high for number in numbers):
        return f"be <= {high:g}"
    if above is not None and not all(number > above for number in numbers):
        return f"be > {above:g}"
    if below is not None and not all(number < below for number in numbers):
        return f"be < {below:g}"
    return ""


def _shown(bound: float) -> str:
    return str(bound) if isinstance(bound, int) else f"{bound:g}"


def resumable(kind: type) -> Iterator[str]:
    """Names of the settings that a resumed run may change, in the order of the fields."""
    return (field.name for field in dataclasses.fields(kind) if field.metadata["resumable"])


def without_later_defaults(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Drops the settings that later versions introduced and that have their default value.

    The remaining settings mean the same, and they equal those that an earlier version wrote.

    Args:
        kind: the dataclass of settings.
        values: settings by name.
    """
    later = {f.name: f.default for f in dataclasses.fields(kind) if f.metadata.get("since")}
    return {name: v for name, v in values.items() if name not in later or v != later[name]}


def from_json(kind: type, values: Mapping[str, Any]) -> Any:
    """Restores settings from JSON, where tuples became lists and a field may be missing.

    No field is a list itself.

    Args:
        kind: the dataclass of settings.
        values: what `json.loads` returned for the JSON of `dataclasses.asdict`.
    """
    return kind(**{n: tuple(value) if isinstance(value, list) else value for n, value in values.items()})
