"""The sections of the page, one function each; all text that comes from a run is escaped here."""

from __future__ import annotations

import base64
import html
import io
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_leoclr.evaluation.comparison import comparison
from keras_leoclr.report import verdict as judge
from keras_leoclr.report.charts import Cell, Line, chart, table
from keras_leoclr.report.reading import RunRecord
from keras_leoclr.report.tables import COLUMNS, rows
from keras_leoclr.views.sheet import png

CURVES = {
    "loss_to_chance": "Loss, as a share of that of guessing",
    "loss": "Loss",
    "knn_top1": "kNN accuracy on held-out training images, %",
    "online_linear_top1": "Linear accuracy there, of a classifier trained alongside, %",
    "positive_similarity": "Cosine of a query and its keys",
    "negative_similarity": "Cosine of a query and the negatives",
    "feature_std": "Deviation of the queries",
    "contrast_accuracy": "Keys found among the negatives, %",
    "learning_rate": "Learning rate",
    "momentum": "Momentum of the key encoder",
    "images_per_second": "Images per second",
    "waiting": "Time spent waiting for data, %",
}
IN_PERCENT = ("knn_top1", "online_linear_top1", "contrast_accuracy", "waiting")
MARKS = {
    judge.YES: ("✓", "yes", "good"),
    judge.NO: ("✗", "no", "bad"),
    judge.OPEN: ("–", "open", "open"),
}
CHANGES = {  # name and what its strength is
    "centre_crop": ("Centre crop", "share of the area that is left"),
    "random_crop": ("Random crop", "share of the area that is left"),
    "shrink": ("Smaller picture", "share of the area that is left"),
    "occlusion": ("Covered", "share of the area that is covered"),
}
CLASSES = 30  # more do not fit into a table that can be read
EXAMPLES = 12
MAPS = 4  # on a page: each takes up to a megabyte

Section = Callable[[Sequence[RunRecord]], str]


def escape(value: Any) -> str:
    """Text for HTML, also inside of an attribute."""
    return html.escape(str(value))


def summary(runs: Sequence[RunRecord]) -> str:
    """The verdict of each run, its accuracies, and what is missing."""
    parts = []
    for run in runs:
        found = judge.verdict(run)
        sign, _, look = MARKS[found.mark]
        points = "".join(f"<li>{_mark(point.mark)} {escape(point.text)}</li>" for point in found.points)
        heading = f"<h3>{escape(run.name)}: {_about(run)}</h3>" if len(runs) > 1 else ""
        parts.append(
            f'{heading}<p class="verdict {look}"><span class="sign" aria-hidden="true">{sign}</span> '
            f'<strong>{escape(found.headline)}</strong></p><ul class="points">{points}</ul>'
        )
        parts.append(_accuracies(run))
        health = [r for r in run.results if r["name"].startswith("health/") and "advice" in r]
        if health:
            items = "".join(
                f"<li>Epoch {escape(r.get('epoch', '?'))}: {escape(r['advice'])}</li>" for r in health
            )
            parts.append(f"<h3>Warnings of the run</h3><ul>{items}</ul>")
    return "".join(parts)


def missing(runs: Sequence[RunRecord]) -> str:
    """What could not be read."""
    lines = [
        f"{run.name}: {sentence}" if len(runs) > 1 else sentence for run in runs for sentence in run.missing
    ]
    return f"<ul>{''.join(f'<li>{escape(line)}</li>' for line in lines)}</ul>" if lines else ""


def differences(runs: Sequence[RunRecord]) -> str:
    """Several runs in one table, with the differences from the first."""
    if len(runs) < 2:
        return ""
    try:
        head, *body = comparison([(run.name, run.workdir, run.results) for run in runs])
    except ValueError:  # nothing was evaluated
        return ""
    return (
        "<p>Percent, with 95 % intervals; differences are from the first column, and * marks one beyond "
        "chance (paired bootstrap over the test images where both have judged the same).</p>"
        + table(head, [(first, others) for first, *others in body], "Results of the runs")
    )


def training(runs: Sequence[RunRecord]) -> str:
    """Curves over the epochs; of several runs on top of each other."""
    known = [name for run in runs for name in run.history]
    others = [name for name in dict.fromkeys(known) if name not in CURVES and not name.startswith("val_")]
    figures = []
    for name, title in {**CURVES, **{name: name for name in others}}.items():
        lines = [
            Line(run.name, run.history[name], number)
            for number, run in enumerate(runs)
            if name in run.history
        ]
        if not lines:
            continue
        resumed = [epoch + 0.5 for run in runs for epoch in _resumed(run)]
        step = min(
            (b[0] - a[0] for line in lines for a, b in zip(line.points, line.points[1:], strict=False)),
            default=1,
        )
        level = (1.0, "guessing") if name == "loss_to_chance" else None
        figures.append(
            chart(title, lines, "epoch", name in IN_PERCENT, level, resumed, gap=1.5 * max(step, 1))
        )
    if not figures:
        return ""
    note = "<p>A dashed vertical line: the run was resumed there.</p>" if any(map(_resumed, runs)) else ""
    return f'{note}<div class="charts">{"".join(figures)}</div>'


def views(runs: Sequence[RunRecord]) -> str:
    """What the encoders see of some pictures."""
    parts = []
    for run in runs:
        if run.strips:
            parts.append(
                (f"<h3>{escape(run.name)}</h3>" if len(runs) > 1 else "")
                + strips_html(run.strips, run.headings)
            )
    return "".join(parts)


def strips_html(strips: Sequence[bytes], headings: Sequence[str]) -> str:
    """Strips of `view_sheet` as a list of figures, and how to read them."""
    words = ", ".join(headings)
    order = f"From left to right: {escape(words)}. " if headings else ""
    figures = "".join(
        f'<li><img alt="Picture {number} with the boxes of its crops; then {escape(words) or "its views"}" '
        f'src="{data_uri(strip)}"></li>'
        for number, strip in enumerate(strips, 1)
    )
    return (
        f"<p>{order}The boxes on the picture are numbered and coloured like the crops that were cut there; "
        f'a crop may be mirrored.</p><ul class="strips">{figures}</ul>'
    )


def maps(runs: Sequence[RunRecord]) -> tuple[str, list[dict[str, Any]]]:
    """Where the images lie: an empty frame, and the data that the script fills it with."""
    data = []
    for run, line in _embeddings(runs)[:MAPS]:
        found = _map_data(run, line)
        if found is not None:
            title = line.get("subject", "backbone")
            data.append(found | {"title": f"{run.name}: {title}" if len(runs) > 1 else title})
    if not data:
        return "", []
    return MAP, data


MAP = """<p>Each mark is a picture; its place says how the backbone sees it. Point at a mark, or step from
mark to mark with the arrow keys, to see the picture; the wheel, the buttons and the keys + − 0 zoom, dragging
moves.</p>
<noscript><p>The map needs JavaScript, which this browser does not run.</p></noscript>
<div id="map-body" hidden>
<div class="controls"><label>Backbone <select id="map-which"></select></label>
<span class="zoom"><button type="button" id="map-in" aria-label="Zoom in">+</button>
<button type="button" id="map-out" aria-label="Zoom out">−</button>
<button type="button" id="map-reset">Whole map</button></span></div>
<fieldset id="map-classes"><legend>Classes</legend></fieldset>
<div class="map-frame"><div class="map-stage"><svg id="map-svg" viewBox="0 0 600 420" tabindex="0"
role="application" aria-label="Map of the pictures. Arrow keys step from picture to picture."
aria-describedby="map-card"></svg></div>
<div id="map-card" class="card" aria-live="polite"><p>No picture is chosen.</p></div></div>
<p id="map-note"></p></div>"""


def neighbours(runs: Sequence[RunRecord]) -> str:
    """The nearest training images of some images, right and wrong."""
    parts = []
    for run, line in _embeddings(runs):
        table = _neighbours_of(run, line)
        if table:
            title = escape(line.get("subject", "backbone"))
            name = f"{escape(run.name)}: {title}" if len(runs) > 1 else title
            parts.append(f"<h3>{name}</h3>{table}")
    return (
        "<p>Left a picture, then those of the bank that are most like it by cosine, nearest first.</p>"
        + "".join(parts)
        if parts
        else ""
    )


def retrieval(runs: Sequence[RunRecord]) -> str:
    """From a crop to its original, by the size of the crop."""
    figures = []
    for rank in (1, 5):
        lines = _lines(runs, f"retrieval/recall@{rank}", "crop_scale")
        if lines:
            place = "nearest" if rank == 1 else "among the five nearest"
            figures.append(
                chart(f"Original is {place} to its crop, %", lines, "area of the crop, share", percent=True)
            )
    if not figures:
        return ""
    count = {r.get("images") for run in runs for r in run.results if r["name"].startswith("retrieval/")}
    among = escape(" or ".join(map(str, sorted(filter(None, count)))))
    return f'<p>Among {among} images.</p><div class="charts">{"".join(figures)}</div>'


def robustness(runs: Sequence[RunRecord]) -> str:
    """Accuracy on changed test images."""
    figures = []
    changes = dict.fromkeys(
        r["change"]
        for run in runs
        for r in run.results
        if r["name"] == "robustness/knn/top1" and isinstance(r.get("change"), str) and r["change"] != "none"
    )
    for change in changes:
        title, x_label = CHANGES.get(change, (change.replace("_", " ").capitalize(), "severity"))
        key = "strength" if change in CHANGES else "severity"
        lines = _lines(runs, "robustness/knn/top1", key, change=change)
        if lines:
            figures.append(chart(f"{title}: kNN accuracy, %", lines, x_label, percent=True))
    return f'<div class="charts">{"".join(figures)}</div>' if figures else ""


def confusion(runs: Sequence[RunRecord]) -> str:
    """Which classes are taken for which, by kNN."""
    parts = []
    for run in runs:
        for subject in run.subjects:
            matrix = run.array(run.last("quality/worst_class", subject=subject), "confusion")
            if matrix is None or matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
                continue
            name = f"{run.name}: {subject}" if len(runs) > 1 else subject
            parts.append(f"<h3>{escape(name)}</h3>{_matrix(matrix, _class_names(run), name)}")
    return "".join(parts)


def recipe(runs: Sequence[RunRecord]) -> str:
    """The settings; of several runs side by side, marked where they differ."""
    names = dict.fromkeys(name for run in runs for name in run.recipe)
    if not names:
        return ""
    shown = {
        name: [setting_text(run.recipe[name]) if name in run.recipe else "–" for run in runs]
        for name in names
    }
    different = [name for name in names if len(set(shown[name])) > 1]
    ordered = [*different, *(name for name in names if name not in different)]
    body = []
    for name in ordered:
        differs = name in different
        cells = [Cell(value, "differs" if differs else "") for value in shown[name]]
        body.append((f"{name} (differs)" if differs else name, cells))
    return table(["setting", *(run.name for run in runs)], body, "Settings", "left")


def environment(runs: Sequence[RunRecord]) -> str:
    """Versions, backend, devices, and the fingerprint of the data."""
    rows: dict[str, list[str]] = {}
    for number, run in enumerate(runs):
        about = run.about.get("environment")
        found = dict(about) if isinstance(about, dict) else {}
        packages = found.pop("packages", {})
        found |= packages if isinstance(packages, dict) else {}
        found = {"backend": run.about.get("backend", "–"), **found}
        found["deterministic"] = run.about.get("deterministic", "–")
        for epoch in _resumed(run):
            found["resumed in epoch"] = f"{found.get('resumed in epoch', '')} {epoch + 1:g}".strip()
        data = run.about.get("data")
        for split, identity in (data if isinstance(data, dict) else {}).items():
            if isinstance(identity, dict):
                text = ", ".join(f"{key} {value}" for key, value in identity.items() if key != "split")
                found[f"data, {split}"] = text
        for name, value in found.items():
            rows.setdefault(str(name), ["–"] * len(runs))[number] = setting_text(value)
    if not any(run.about for run in runs):
        return ""
    body = list(rows.items())
    return table(["what", *(run.name for run in runs)], body, "Environment and data", "left")


# === Parts ===


def data_uri(content: bytes, kind: str = "png") -> str:
    """A picture inside of the page."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _about(run):
    return (
        f"{escape(run.recipe.get('method', 'a run'))} on {escape(run.recipe.get('dataset', 'unknown data'))}"
    )


def _mark(kind):
    sign, word, look = MARKS[kind]
    inner = f'<span aria-hidden="true">{sign}</span><span class="unseen">{word}:</span>'
    return f'<span class="sign {look}">{inner}</span>'


def setting_text(value: Any) -> str:
    """A setting as it is shown."""
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return "none" if value in (None, "") else str(value)


def _resumed(run):
    found = run.about.get("resumed", [])
    return (
        [at[0] for at in found if isinstance(at, list) and at and isinstance(at[0], (int, float))]
        if isinstance(found, list)
        else []
    )


def _accuracies(run):
    found = rows(run.results)
    found = [(subject, cells) for subject, cells in found if any(cells)]
    if not found:
        return ""
    body = []
    for subject, results in found:
        cells = [Cell("–") if result is None else _accuracy(result) for result in results]
        body.append((subject, cells))
    told = "<p>Accuracy on the test images in percent, with its 95 % interval.</p>"
    return told + table(["", *COLUMNS.values()], body, "Accuracies")


def _accuracy(result):
    interval = f"({100 * result['low']:.1f} to {100 * result['high']:.1f})" if "low" in result else ""
    return Cell(f"{100 * result['value']:.1f}", small=interval)


def _class_names(run):
    line = next((r for r in reversed(run.results) if r["name"] == "embedding/explained"), {})
    names = line.get("class_names")
    return [str(name) for name in names] if isinstance(names, list) else []


def _name(names, label):
    return names[label] if 0 <= label < len(names) else f"class {label}"


def _embeddings(runs):
    """(run, line) of the maps: the pretrained ones first."""
    found = []
    for run in runs:
        lines = {r.get("subject", ""): r for r in run.results if r["name"] == "embedding/explained"}
        found += [(run, lines[subject]) for subject in sorted(lines, key=lambda s: s != "pretrained")]
    if len(runs) > 1:  # what was learned, before what was there without learning
        found.sort(key=lambda pair: pair[1].get("subject") != "pretrained")
        found = found[: max(len(runs), 2)]
    return found


def _map_data(run, line):
    coordinates = run.array(line, "coordinates")
    sheet = run.picture(line, "pictures")
    tile, columns = line.get("tile"), line.get("columns")
    if (
        coordinates is None
        or coordinates.ndim != 2
        or not np.isfinite(coordinates).all()
        or len(coordinates) < 2
    ):
        return None
    count = len(coordinates)
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    unit = (coordinates - low) / np.where(high > low, high - low, 1)
    data: dict[str, Any] = {"x": np.round(unit[:, 0], 4).tolist(), "y": np.round(unit[:, 1], 4).tolist()}
    for kind, size in (("labels", 1), ("predicted", 1), ("near", 2)):
        array = run.array(line, kind)
        if array is not None and array.ndim == size and len(array) == count:
            data[kind] = array.tolist()
    labels = data.get("labels", [])
    names = _class_names(run)
    data["names"] = [_name(names, label) for label in range(max(labels) + 1)] if labels else []
    if sheet is not None and isinstance(tile, int) and isinstance(columns, int) and tile > 0 and columns > 0:
        used = math.ceil(count / columns) * tile  # what the neighbours take below is shown by themselves
        data |= {"tile": tile, "columns": columns, "sheet": _encoded(sheet.crop((0, 0, sheet.width, used)))}
    explained = f"{line['value']:.0%} of the variance lies in the two directions with the largest variance"
    about = {
        "pca": f"Directions: principal components; {explained}.",
        "umap": f"Projection: UMAP; {explained}.",
    }
    data["note"] = f"{count} pictures. {about.get(line.get('projection'), '')}"
    return data


def _encoded(image):
    if image.mode == "L":
        return data_uri(png(image))
    held = io.BytesIO()
    image.convert("RGB").save(held, "JPEG", quality=85, subsampling=0)  # `optimize` fails on noise
    return data_uri(held.getvalue(), "jpeg")


def _neighbours_of(run, line):
    sheet = run.picture(line, "pictures")
    found = {
        name: run.array(line, name) for name in ("examples", "neighbours", "similarities", "coordinates")
    }
    tile, columns = line.get("tile"), line.get("columns")
    if sheet is None or any(a is None for a in found.values()) or not isinstance(tile, int) or not columns:
        return ""
    labels, theirs, predicted = (
        run.array(line, kind) for kind in ("labels", "neighbour_labels", "predicted")
    )
    labelled = labels is not None and theirs is not None
    names, count, listed = _class_names(run), len(found["coordinates"]), found["neighbours"].shape[1]

    def picture(number, text):
        left, top = number % columns * tile, number // columns * tile
        content = _tile_uri(sheet.crop((left, top, left + tile, top + tile)))
        return f'<img alt="{escape(text)}" width="{tile}" height="{tile}" src="{content}">'

    body = []
    for row, example in enumerate(found["examples"][:EXAMPLES].tolist()):
        own = _name(names, int(labels[example])) if labelled else f"picture {row + 1}"
        cells = f'<figure class="own">{picture(example, own)}<figcaption>{escape(own)}</figcaption></figure>'
        for place in range(listed):
            cosine = f"{found['similarities'][row, place]:.2f}"
            text, look, sign = f"neighbour {place + 1}", "", ""
            if labelled:
                right = int(theirs[row, place]) == int(labels[example])
                text = _name(names, int(theirs[row, place]))
                look, sign = (" right", "✓ ") if right else (" wrong", "✗ ")
                spoken = f"{'right' if right else 'wrong'}: {text}"
            else:
                spoken = text
            cells += (
                f'<figure class="{look.strip() or "plain"}">'
                f"{picture(count + row * listed + place, f'{spoken}, cosine {cosine}')}"
                f'<figcaption><span aria-hidden="true">{sign}</span>{escape(text) if labelled else ""} '
                f"<small>{cosine}</small></figcaption></figure>"
            )
        body.append(f"<li>{cells}</li>")
    told = ""
    if labelled:
        hits = (theirs == labels[found["examples"]][:, None]).mean()
        told = f"<p>✓ the same class: {hits:.0%} of these {theirs.size} neighbours; ✗ another one."
        if predicted is not None:
            told += (
                f" On the map, kNN names {(predicted == labels).mean():.1%} of the {count} pictures rightly."
            )
        told += "</p>"
    return f'{told}<ol class="neighbours">{"".join(body)}</ol>'


def _tile_uri(image):
    return data_uri(png(image)) if image.mode == "L" else _encoded(image)


def _lines(runs, name, key, **wanted):
    lines = []
    for run in runs:
        for subject in run.subjects:
            points = {}
            for r in run.results:
                if (
                    r["name"] == name
                    and r.get("subject") == subject
                    and all(r.get(k) == v for k, v in wanted.items())
                ):
                    if isinstance(r.get(key), (int, float)):
                        points[r[key]] = (r[key], r["value"], *((r["low"], r["high"]) if "low" in r else ()))
            if points and (len(runs) == 1 or subject in ("pretrained", "random")):
                label = f"{run.name}: {subject}" if len(runs) > 1 else subject
                lines.append(Line(label, [points[x] for x in sorted(points)], len(lines)))
    return lines


def _matrix(matrix, names, title):
    total = np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    shares = matrix / total
    wrong = shares - np.diag(np.diag(shares))
    order = np.argsort(-wrong, axis=None, kind="stable")[:5]
    worst = []
    for place in order.tolist():
        row, column = divmod(place, len(matrix))
        if wrong[row, column] > 0:
            pair = f"{_name(names, row)} taken for {_name(names, column)}"
            worst.append(f"<li>{escape(pair)}: {wrong[row, column]:.0%}</li>")
    told = (
        f"<p>Most frequent mistakes, as shares of the true class:</p><ul>{''.join(worst)}</ul>"
        if worst
        else ""
    )
    if len(matrix) > CLASSES:
        return told
    body = []
    for row, counts in enumerate(matrix.tolist()):
        cells = []
        for column, value in enumerate(counts):
            level = min(9, math.ceil(10 * shares[row, column]) - 1)
            look = f"h{level}" if value else "none"
            cells.append(Cell(str(value), f"{look} own" if row == column else look))
        body.append((_name(names, row), cells))
    head = ["", *(_name(names, column) for column in range(len(matrix)))]
    caption = f"Rows: true class; columns: answer of kNN; {title}"
    return told + table(head, body, f"Confusion, {title}", "confusion", caption)


def as_json(data: Any) -> str:
    """JSON that cannot end the script element that it stands in."""
    text = json.dumps(data, ensure_ascii=True, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
