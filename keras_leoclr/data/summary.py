"""Describes the content of a source in words, for the command `leoclr data`."""

from __future__ import annotations

import collections
import contextlib
import io
import os
import warnings
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from keras_leoclr import terminal
from keras_leoclr.checks import PixelRange
from keras_leoclr.data import decode, duplicates
from keras_leoclr.data.failures import Failures, ImageError, files, shown
from keras_leoclr.data.label_summary import of_labels
from keras_leoclr.data.loading import load
from keras_leoclr.data.readers import labels_csv
from keras_leoclr.data.readers.files import read_index
from keras_leoclr.data.readers.folder import FolderImages
from keras_leoclr.data.readers.folder_warnings import left_out
from keras_leoclr.data.readers.tfds import RecordImages
from keras_leoclr.data.source import Source
from keras_leoclr.tensorflow_host import tf, untuned

LISTED = 20  # number of files that would be skipped which are listed
SAMPLED = 1000  # number of pictures of a stream that are examined without `verify`
DECODED = 64  # number of pictures whose pixels are examined without `verify`
COMPARED = 10_000  # number of files among which copies are always searched
NARROW = 32  # Pictures that use no more than so many of the 256 levels are reported.


def summarize(
    name_or_path: str,
    split: str = "train",
    data_dir: str | None = None,
    verify: bool = False,
    near: bool = False,
) -> tuple[str, Failures]:
    """Describes a source of images, as text; see `describe`.

    Returns:
        The text, and the pictures that `on_error="skip"` would skip.
    """
    found = describe(name_or_path, split, data_dir, verify, near)
    return "\n".join(f"{title:<12}{text}" for title, text in found.lines.items()), found.failures


class Description(NamedTuple):
    """The content of a source.

    Attributes:
        lines: texts by title.
        count: number of pictures; negative if it is not known.
        failures: the pictures that `on_error="skip"` would skip.
        labels: for programs, see `of_labels`.
        duplicates: groups of names: "copies", files with the same content; "near", pictures that look nearly
            the same. What was not looked for is not there.
    """

    lines: dict[str, str]
    count: int
    failures: Failures
    labels: dict[str, Any]
    duplicates: dict[str, list[list[str]]]


def describe(
    name_or_path: str,
    split: str = "train",
    data_dir: str | None = None,
    verify: bool = False,
    near: bool = False,
) -> Description:
    """Describes a source of images.

    Args:
        name_or_path: see `load`.
        split: see `load`.
        data_dir: see `load`.
        verify: whether to decode every picture, with a progress bar. Otherwise (the default) only headers are
            read, for a stream those of the first 1,000 pictures.
        near: whether to search for pictures that look nearly the same, see `near_duplicates`, and for copies
            of files among any number of them; otherwise (the default) copies are searched among at most
            10,000.
    """
    if near:
        duplicates.imagehash_package()  # a missing one is told before any picture is read
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # The text says what the warnings would.
        source = load(name_or_path, split, data_dir, on_error="skip", max_failures=1.0)
        images, count = source.images, -1 if source.count is None else source.count
        levels = _Levels()
        if verify:
            for number, element in enumerate(terminal.progress(source, count, "Decoding", "pictures")):
                levels.see(element["image"].numpy(), _name_of(images, number))
        lines = {"source": f"{shown(name_or_path)}, split {split}"}
        lines["pictures"] = f"{count:,}" if count >= 0 else "number unknown"
        if isinstance(images, FolderImages):
            lines |= _of_folder(images)
            if not verify:
                levels.sample(images)
        elif isinstance(images, RecordImages) and images.image_shape == (None, None, 3):
            lines |= _of_encoded(
                images.encoded(tf.data.Dataset.range(images.count)), source.failures, verify, levels
            )
        elif source.encoded is not None:
            lines |= _of_encoded(source.encoded, source.failures, verify, levels)
        else:
            spec = source.element_spec["image"]
            lines["sizes"] = f"{' x '.join(str(side or '?') for side in spec.shape)}, {spec.dtype.name}"
            if spec.dtype != tf.uint8:
                lines["values"] = _values(source)
        if levels.narrow:
            lines["levels"] = levels.text()
        groups, of_groups = _duplicates(source, verify, near)
        lines |= of_groups
        of_source, labels = of_labels(source, verify)
        lines |= of_source
        lines["unreadable"] = _skipped(source.failures, verify)
    return Description(lines, count, source.failures, labels, groups)


def _duplicates(source: Source, verify: bool, near: bool) -> tuple[dict[str, Any], dict[str, str]]:
    """Groups of duplicates, and lines of text."""
    groups, lines, images = {}, {}, source.images
    if isinstance(images, FolderImages):
        if near or verify or images.count <= COMPARED:
            groups["copies"] = duplicates.copies(images)
            if groups["copies"]:
                lines["copies"] = duplicates.text_of(groups["copies"], "are the same file")
        else:
            lines["copies"] = f"not looked for among more than {COMPARED:,} files; --duplicates does"
    if near:
        groups["near"] = duplicates.near_duplicates(source)
        lines["near"] = duplicates.text_of(groups["near"], "look nearly the same")
    return groups, lines


class _Levels:
    """Counts the 8-bit pictures that use few of the 256 levels."""

    def __init__(self):
        self.seen = 0
        self.narrow: list[tuple[str, int, int]] = []

    def see(self, image: np.ndarray, name: str) -> None:
        self.seen += 1
        low, high = image.min(), image.max()
        if image.dtype == np.uint8 and int(high) - int(low) < NARROW:
            self.narrow.append((name, int(low), int(high)))

    def sample(self, images: FolderImages) -> None:
        for number in np.random.default_rng(0).permutation(images.count)[:DECODED]:
            with contextlib.suppress(ImageError):  # `verify` reports such pictures.
                self.see(images.read(int(number), least_pixels=2**12), _name_of(images, int(number)))

    def text(self) -> str:
        name, low, high = self.narrow[0]
        return (
            f"{len(self.narrow):,} of {self.seen:,} pictures that were decoded use {NARROW} of 256 levels or "
            f"fewer, such as {shown(name)} ({low} to {high}): nearly of one colour, as values of 12 bits in "
            "files of 16 are"
        )


def _name_of(images: Any, number: int) -> str:
    return images.paths[number] if isinstance(images, FolderImages) else f"picture {number}"


def _values(source: Source) -> str:
    seen = PixelRange("name_or_path", enough=np.inf)
    for element in source.dataset.take(SAMPLED).as_numpy_iterator():
        seen.see(element["image"][None])
    return f"{seen.low:.4g} to {seen.high:.4g} in the first {seen.count:,}"


def _of_folder(images: FolderImages) -> dict[str, str]:
    root = os.fsdecode(images.root)
    found = images.mixture
    if found is None:
        found = read_index(root, decode.MAX_PIXELS, without=images.without)
    headers = [found.headers[os.path.relpath(os.fsencode(path), images.root)] for path in images.paths]
    lines = _of_headers(headers)
    if found.runs:
        lines["left out"] = left_out(found.runs)
    if images.several_labels:  # these files were read
        names = [
            name for name in (labels_csv.NAME, labels_csv.CLASSES) if os.path.isfile(os.path.join(root, name))
        ]
        found.ignored.subtract(os.path.splitext(name)[1] for name in names)
        found.ignored += collections.Counter()  # without those that are none now
    if found.ignored:
        lines["ignored"] = f"{files(sum(found.ignored.values()))}: {_counts(found.ignored)}"
    return lines


def _of_encoded(
    encoded: tf.data.Dataset, failures: Failures, verify: bool, levels: _Levels
) -> dict[str, str]:
    headers = []
    looked_at = untuned(encoded.take(-1 if verify else SAMPLED))
    for number, element in enumerate(looked_at.as_numpy_iterator()):
        if not verify and number < DECODED:
            with contextlib.suppress(ImageError):  # `verify` reports such pictures.
                pixels = decode.decode_image(io.BytesIO(element["image"]), least_pixels=2**12)
                levels.see(pixels, os.fsdecode(element["name"]))
        try:
            headers.append(decode.read_header(io.BytesIO(element["image"])))
        except ImageError as error:
            failures.add(element["name"], str(error))
    of = "" if verify else f" (of the first {SAMPLED:,})"
    return {title: text + of for title, text in _of_headers(headers).items()}


def _of_headers(headers: Iterable[decode.Header]) -> dict[str, str]:
    headers = list(headers)
    if not headers:
        return {}
    sizes = np.array([(h.height, h.width) if h.orientation >= 5 else (h.width, h.height) for h in headers])
    least, middle, most = sizes.min(0), np.median(sizes, 0).astype(int), sizes.max(0)
    return {
        "width": f"min {least[0]}, median {middle[0]}, max {most[0]}",
        "height": f"min {least[1]}, median {middle[1]}, max {most[1]}",
        "formats": _counts(h.format for h in headers),
        "modes": _counts(h.mode for h in headers),
        "rotated": f"{sum(h.orientation > 1 for h in headers):,}, as their EXIF orientation says",
    }


def _skipped(failures: Failures, verify: bool) -> str:
    if not failures.count:
        return "none" + ("" if verify else " by their headers; --verify decodes every picture")
    items = failures.items()
    lines = [f"{failures.count:,}", *(f"  {shown(path)}: {reason}" for path, reason in items[:LISTED])]
    if len(items) > LISTED:
        lines.append(f"  and {len(items) - LISTED:,} more")
    return "\n".join(lines)


def _counts(values: Any) -> str:
    return ", ".join(f"{shown(kind)} {count:,}" for kind, count in collections.Counter(values).most_common())
