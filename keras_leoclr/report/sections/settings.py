"""Sections of settings: the recipe, and the environment with the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keras_leoclr.report.reading import RunRecord
from keras_leoclr.report.tables import Cell, Table, cells

DIFFERS = " (differs)"  # after the name of a setting that is not the same in all runs


def setting_text(value: Any) -> str:
    """Formats a setting for the page."""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return "none" if value in (None, "") else str(value)


def recipe(runs: Sequence[RunRecord], meanings: Mapping[str, str] | None = None) -> dict[str, Any] | None:
    """The settings; those of several runs are side by side, with different settings first.

    Args:
        runs: the runs.
        meanings: a sentence for each setting, by its name, which stands in the last column; None (the
            default) leaves the column out. A setting that is not among them has an empty cell there.
    """
    names = dict.fromkeys(name for run in runs for name in run.recipe)
    if not names:
        return None
    differing, same = [], []
    for name in names:
        values = [_value(name, run.recipe) for run in runs]
        if len(set(values)) > 1:
            differing.append((f"{name}{DIFFERS}", cells(values, "differs")))
        else:
            same.append((name, cells(values)))
    body = differing + same
    if not meanings:
        return _section("setting", runs, body, "Settings") | {"closed": _closed(body)}
    body = [
        (name, [*values, Cell(meanings.get(name.removesuffix(DIFFERS), ""), "about")])
        for name, values in body
    ]
    made = _section("setting", runs, body, "Settings", "what it means")
    return made | {"closed": _closed(body)}


def _closed(body):
    """The line that stands in the place of the table until it is opened."""
    return f"Show all {len(body)} settings"


def _value(name, recipe):
    """The text of a setting, with its unit, and whether it has an effect."""
    if name not in recipe:
        return "–"
    if name == "test_split" and not recipe.get("evaluate", True):
        return "not used, as evaluate is False"
    text = setting_text(recipe[name])
    return f"{text} per 256 images" if name == "learning_rate" else text


def environment(runs: Sequence[RunRecord]) -> dict[str, Any] | None:
    """The versions, backend and devices of each run, and the checksum of its data."""
    if not any(run.about for run in runs):
        return None
    found: dict[str, list[str]] = {}
    for number, run in enumerate(runs):
        for name, value in _environment(run).items():
            found.setdefault(str(name), ["–"] * len(runs))[number] = setting_text(value)
    return _section(
        "what", runs, [(name, cells(texts)) for name, texts in found.items()], "Environment and data"
    )


def _environment(run):
    about = run.about.get("environment")
    found = dict(about) if isinstance(about, dict) else {}
    packages = found.pop("packages", {})
    found |= packages if isinstance(packages, dict) else {}
    found = {"backend": run.about.get("backend", "–"), **found}
    found["deterministic"] = run.about.get("deterministic", "–")
    began = run.about.get("initial_weights")
    if isinstance(began, dict):
        found["began with"] = f"{began.get('path')}, SHA-256 {began.get('sha256')}"
    if "views_on" in run.about:
        found["views made on the"] = run.about["views_on"]
    for epoch in run.resumed:
        found["resumed in epoch"] = f"{found.get('resumed in epoch', '')} {epoch + 1:g}".strip()
    data = run.about.get("data")
    for split, identity in (data if isinstance(data, dict) else {}).items():
        if isinstance(identity, dict):
            parts = [f"{key} {value}" for key, value in identity.items() if key != "split"]
            found[f"data, {split}"] = ", ".join(parts)
    return found


def _section(what, runs, body, name, *further):
    look = "left settings" if further else "left"
    table = Table([what, *(run.name for run in runs), *further], body, name, look)
    return {"words": "", "table": table}
