"""A run as one page to look at: table, curves and views, from the files of its workdir."""

from __future__ import annotations

import base64
import csv
import html
import json
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf

from keras_leoclr.results import Results

COLUMNS = {
    "knn/top1": "kNN (k = 20)",
    "linear/top1": "linear, all labels",
    "linear_few/top1": "linear, few labels",
}
CURVES = {
    "loss_to_chance": "loss / chance level (1: has learned nothing)",
    "knn_top1": "kNN accuracy on training images",
    "contrast_accuracy": "share of keys found among the negatives",
    "positive_similarity": "cosine of a query and its keys",
    "negative_similarity": "cosine of a query and the negatives",
    "feature_std": "deviation of the queries (0: collapsed)",
}
STYLE = """
:root { color-scheme: light dark; --line: #2f6fb0; --grid: #8884; }
@media (prefers-color-scheme: dark) { :root { --line: #7db4ee; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; } th, td { padding: .3rem .8rem; border-bottom: 1px solid var(--grid); }
td { text-align: right; } th { text-align: left; }
figure { margin: 0 0 1rem; }
.curves { display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); gap: 1rem; }
svg { width: 100%; height: auto; } img { max-width: 100%; image-rendering: pixelated; }
polyline { fill: none; stroke: var(--line); stroke-width: 2; } text { font-size: 11px; fill: currentColor; }
"""


def table(results: list[dict[str, Any]]) -> str:
    """Accuracies in percent, one line per subject, as plain text.

    Args:
        results: lines of `results.jsonl`.
    """
    rows = _rows(results)
    lines = ["accuracy on the test images, %".ljust(32) + "".join(f"{c:>22}" for c in COLUMNS.values())]
    lines += [subject.ljust(32) + "".join(f"{c:>22}" for c in cells) for subject, cells in rows]
    return "\n".join(lines)


def write_report(workdir: str | pathlib.Path) -> pathlib.Path:
    """Writes `report.html`: one file, no network, from what the run wrote.

    Args:
        workdir: folder of a run.

    Returns:
        Path of the page.

    Raises:
        FileNotFoundError: if the folder holds no run.
    """
    workdir = pathlib.Path(workdir)
    if not (workdir / "recipe.json").is_file():
        raise FileNotFoundError(f"`workdir` must hold a run (recipe.json). Received: {workdir}")
    recipe = json.loads((workdir / "recipe.json").read_text(encoding="utf-8"))
    history = _read_history(workdir / "history.csv")
    results = Results(workdir / "results.jsonl").read()
    title = f"{recipe['method']} on {recipe['dataset']}"
    parts = [f"<h1>{html.escape(title)}</h1>"]
    rows = _rows(results)
    if rows:
        parts.append("<h2>Accuracy on the test images, %</h2>" + _html_table(rows))
    curves = [_curve(name, text, history[name]) for name, text in CURVES.items() if name in history]
    if curves:
        parts.append(f"<h2>Training, by epoch</h2><div class=curves>{''.join(curves)}</div>")
    if (workdir / "views.png").is_file():
        image = base64.b64encode((workdir / "views.png").read_bytes()).decode()
        parts.append(
            "<h2>Views</h2><p>Each row: the query view, then the key views of one image.</p>"
            f'<img alt="query and key views of eight images" src="data:image/png;base64,{image}">'
        )
    settings = "".join(
        f"<tr><th>{html.escape(k)}</th><td>{html.escape(str(v))}</td></tr>" for k, v in recipe.items()
    )
    parts.append(f"<h2>Recipe</h2><table>{settings}</table>")
    page = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )
    path = workdir / "report.html"
    path.write_text(page, encoding="utf-8")
    return path


def write_views(views: Any, source: tf.data.Dataset, path: str | pathlib.Path, count: int = 8) -> None:
    """Writes a PNG with a row for each of the first images: query view, then key views.

    Args:
        views: layer `(images, seed) -> {"query", "keys"}`.
        source: dictionaries with `image`.
        path: of the PNG.
        count: images shown.
    """
    images = [element["image"] for element in source.take(count)]
    draws = views.draw(len(images), tf.zeros([2], tf.int32))
    made = [
        views.views_of_one(image, tf.nest.map_structure(lambda values, row=row: values[row], draws))
        for row, image in enumerate(images)
    ]
    rows = np.stack(
        [np.concatenate([view["query"][None], view["keys"]]) for view in made]
    )  # (N, 1 + V, S, S, 3)
    layer = views.key_view
    rows = np.clip((rows * np.array(layer.std) + np.array(layer.mean)) * 255.0, 0, 255).round()
    scale = max(1, 96 // layer.image_size)
    rows = rows.astype("uint8").repeat(scale, axis=2).repeat(scale, axis=3)
    rows = np.pad(rows, [(0, 0), (0, 0), (2, 2), (2, 2), (0, 0)], constant_values=255)
    sheet = np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)
    pathlib.Path(path).write_bytes(tf.io.encode_png(sheet).numpy())


def _rows(results):
    """[(subject, [cell, ...])] in the order of first appearance."""
    subjects = dict.fromkeys(r["subject"] for r in results if "subject" in r)
    rows = []
    for subject in subjects:
        cells = []
        for name in COLUMNS:
            # of several numbers of neighbours the one that the column names
            found = [
                r
                for r in results
                if r.get("subject") == subject and r["name"] == name and r.get("k", 20) == 20
            ]
            cells.append(_cell(found[-1]) if found else "-")
        rows.append((subject, cells))
    return rows


def _cell(result):
    spread = f" ± {100 * result['top1_std']:.1f}" if "top1_std" in result else ""
    return f"{100 * result['value']:.1f}{spread}"


def _html_table(rows):
    head = "".join(f"<th>{html.escape(c)}</th>" for c in COLUMNS.values())
    body = "".join(
        f"<tr><th>{html.escape(s)}</th>{''.join(f'<td>{html.escape(c)}</td>' for c in cells)}</tr>"
        for s, cells in rows
    )
    return f"<table><tr><th></th>{head}</tr>{body}</table>"


def _read_history(path):
    if not path.is_file():
        return {}
    with path.open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    names = lines[0].keys() if lines else []
    return {name: [float(line[name]) for line in lines if line[name] not in ("", "NA")] for name in names}


def _curve(name, text, values):
    """A line over the epochs as inline SVG, with its range written beside it."""
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    step = 280 / max(1, len(values) - 1)
    points = " ".join(f"{40 + i * step:.1f},{110 - 90 * (v - low) / span:.1f}" for i, v in enumerate(values))
    label = html.escape(f"{text}: {values[0]:.3f} in the first epoch, {values[-1]:.3f} in the last")
    return (
        f'<figure><figcaption>{html.escape(text)}</figcaption><svg viewBox="0 0 330 125" role="img" '
        f'aria-label="{label}"><text x="0" y="24">{high:.3f}</text><text x="0" y="114">{low:.3f}</text>'
        f'<polyline points="{points}"/></svg></figure>'
    )
