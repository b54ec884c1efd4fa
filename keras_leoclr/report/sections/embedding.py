"""The map of the embedding, and nearest neighbours."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from keras_leoclr.evaluation.labels import kind_of, kind_of_one
from keras_leoclr.report.reading import RunRecord
from keras_leoclr.report.rendering import data_uri

EXAMPLES = 12
MAPS = 4  # largest number of maps on a page, since each takes up to a megabyte
EXPLAINED = "embedding/explained"
NO_LABEL = "no label"


def maps(runs: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """The data from which the script of the page draws a map, for each backbone; JSON can hold it."""
    made = []
    for run, line in _embeddings(runs)[:MAPS]:
        found = _map(run, line)
        if found is not None:
            made.append(found | {"title": _title(runs, run, line)})
    return made


def _map(run, line):
    coordinates = run.array(line, "coordinates")
    sheet = run.picture(line, "pictures")
    tile, columns = line.get("tile"), line.get("columns")
    if coordinates is None or coordinates.ndim != 2 or len(coordinates) < 2:
        return None
    if not np.isfinite(coordinates).all():
        return None
    count = len(coordinates)
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    unit = np.round((coordinates - low) / np.where(high > low, high - low, 1), 4)
    made: dict[str, Any] = {"x": unit[:, 0].tolist(), "y": unit[:, 1].tolist()}
    for kind, size in (("predicted", 1), ("near", 2)):
        array = run.array(line, kind)
        if array is not None and array.ndim == size and len(array) == count:
            made[kind] = array.tolist()
    labels = run.array(line, "labels")
    if labels is not None and labels.ndim in (1, 2) and len(labels) == count:
        made["labels"] = [kind_of(labels).numbers(label) for label in labels]
    classes = [*itertools.chain.from_iterable(made.get("labels", [])), *made.get("predicted", [])]
    made["names"] = [run.class_name(label) for label in range(max(classes, default=-1) + 1)]
    if sheet is not None and isinstance(tile, int) and isinstance(columns, int) and tile > 0 and columns > 0:
        used = math.ceil(count / columns) * tile  # The neighbours below are left out; they have a section.
        made |= {"tile": tile, "columns": columns, "sheet": _encoded(sheet.crop((0, 0, sheet.width, used)))}
    share = f"{line['value']:.0%} of their variance"
    about = {
        "pca": "The axes are the two directions in which the features vary most (principal components); "
        f"they hold {share}.",
        "umap": "The places are those of UMAP, which keeps neighbours together; how far groups lie apart "
        f"says nothing. The two directions in which the features vary most hold {share}.",
    }
    made["note"] = f"{count} pictures. {about.get(line.get('projection'), '')}"
    if any(len(label) > 1 for label in made.get("labels", [])):
        made["note"] += " Colour and shape are those of the first of the picture's classes in their order."
    return made


class Neighbour(NamedTuple):
    """A training image near an example.

    Attributes:
        picture: the picture, encoded as an address.
        spoken: text for screen readers.
        name: name of its class; "" without labels.
        cosine: cosine similarity of its features and those of the example.
        sign: a character that says whether it has the class of the example; "" without labels.
        look: class of the style sheet that says the same.
    """

    picture: str
    spoken: str
    name: str
    cosine: str
    sign: str = ""
    look: str = "plain"


class Example(NamedTuple):
    """An image and its nearest neighbours."""

    picture: str
    name: str
    neighbours: list[Neighbour]


def neighbours(runs: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """The nearest training images of some examples, for each backbone."""
    made = []
    for run, line in _embeddings(runs):
        found = _neighbours(run, line)
        if found is not None:
            made.append(found | {"heading": _title(runs, run, line)})
    return made


def _neighbours(run, line):
    sheet = run.picture(line, "pictures")
    named = ("examples", "neighbours", "similarities", "coordinates")
    examples, near, similarities, coordinates = found = [run.array(line, name) for name in named]
    tile, columns = line.get("tile"), line.get("columns")
    if sheet is None or any(a is None for a in found) or not isinstance(tile, int) or not columns:
        return None
    labels, theirs, predicted = (
        run.array(line, kind) for kind in ("labels", "neighbour_labels", "predicted")
    )
    if labels is None or theirs is None:
        labels = theirs = None
    count, listed = len(coordinates), near.shape[1]

    def picture(number):
        left, top = number % columns * tile, number // columns * tile
        return _encoded(sheet.crop((left, top, left + tile, top + tile)))

    shown = []
    for row, example in enumerate(examples[:EXAMPLES].tolist()):
        around = []
        for place in range(listed):
            held, cosine = picture(count + row * listed + place), f"{similarities[row, place]:.2f}"
            if labels is None:
                around.append(Neighbour(held, f"neighbour {place + 1}", "", cosine))
                continue
            name = _class_name(run, theirs[row, place])
            if name == NO_LABEL:
                around.append(Neighbour(held, f"neighbour {place + 1}", name, cosine))
                continue
            if not kind_of(labels).numbers(labels[example]):
                around.append(Neighbour(held, name, name, cosine))
                continue
            right = bool(kind_of(labels).share_one(labels[example], theirs[row, place]))
            sign, look = ("✓ ", "right") if right else ("✗ ", "wrong")
            around.append(Neighbour(held, f"{look}: {name}", name, cosine, sign, look))
        own = f"picture {row + 1}" if labels is None else _class_name(run, labels[example])
        shown.append(Example(picture(example), own, around))
    words = "" if labels is None else _shares(labels, theirs, examples, predicted)
    return {"side": tile, "examples": shown, "words": words}


def _shares(labels, theirs, examples, predicted):
    kind = kind_of(labels)
    judged = kind.first(labels) >= 0
    known = (kind.first(theirs) >= 0) & judged[examples][:, None]
    words = ""
    if known.any():
        hits = kind.share_one(theirs, labels[examples][:, None])[known].mean()
        same, another = kind.agreement
        words = f"✓ {same}: {hits:.0%} of these {known.sum()} neighbours; ✗ {another}."
    if predicted is not None and judged.any():
        right = np.mean([answer in kind.numbers(own) for answer, own in zip(predicted, labels, strict=True)])
        right *= len(labels) / judged.sum()
        words += f" On the map, kNN names {right:.1%} of the {judged.sum()} pictures rightly."
    if not judged.all():
        words += f" {(~judged).sum()} pictures on the map have no label."
    return words.strip()


def _class_name(run, label):
    return ", ".join(map(run.class_name, kind_of_one(label).numbers(label))) or NO_LABEL


def _embeddings(runs):
    """(run, line of results) of each embedding; the pretrained ones come first."""
    found = []
    for run in runs:
        lines = {r.get("subject", ""): r for r in run.results if r["name"] == EXPLAINED}
        found += [(run, lines[subject]) for subject in sorted(lines, key=lambda s: s != "pretrained")]
    if len(runs) > 1:  # With several runs, pretrained backbones come before those without training.
        found.sort(key=lambda pair: pair[1].get("subject") != "pretrained")
        found = found[: max(len(runs), 2)]
    return found


def _title(runs, run, line):
    subject = line.get("subject", "backbone")
    return f"{run.name}: {subject}" if len(runs) > 1 else subject


def _encoded(image: Image.Image) -> str:
    """Encodes an image as an address: a PNG if it is grey, and otherwise a JPEG."""
    held = io.BytesIO()
    if image.mode == "L":
        image.save(held, "PNG", optimize=True)
        return data_uri(held.getvalue(), "png")
    image.convert("RGB").save(held, "JPEG", quality=85, subsampling=0)  # `optimize` would fail on noise.
    return data_uri(held.getvalue(), "jpeg")
