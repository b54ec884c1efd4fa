"""Similar pictures: an index of a folder's features, and the nearest ones to other pictures.

An index is one file, a ZIP archive that is not compressed: `vectors.faiss`, the features of unit length as
faiss writes them, and `index.json`, which says whose they are, of what backbone, with the former's SHA-256.
Nothing in it is code.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import json
import os
import pathlib
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from keras_leoclr.backbones.feature_pyramid import resized
from keras_leoclr.backbones.starting import RANDOM, starting_backbone
from keras_leoclr.data import decode
from keras_leoclr.data.failures import Failures, ImageError, shown
from keras_leoclr.data.readers.files import Index, read_index, scan_folder
from keras_leoclr.data.readers.folder import FolderImages, indexed_images
from keras_leoclr.evaluation.features import checksum, extract_features
from keras_leoclr.evaluation.neighbour_search import unit_rows
from keras_leoclr.runs.files import whole_file
from keras_leoclr.tensorflow_host import tf
from keras_leoclr.views.preprocessing import Preprocessing

FORMAT = 1
KINDS = {
    "exact": "compares with every picture",
    "hnsw": "a graph of neighbours (arXiv 1603.09320), for millions of pictures; may miss one",
}
NEIGHBOURS = 32  # of a picture in the graph
SHARPNESS = (
    4  # large JPEGs are decoded at a fraction of their size, at least so many times that of the backbone
)


class IndexFileError(ValueError):
    """A file is no index, is damaged, or was made otherwise."""


@dataclasses.dataclass(frozen=True)
class Encoder:
    """A backbone, and what an index says of it.

    Attributes:
        backbone: (B, S, S, 3) raw images -> (B, features).
        about: `{"path", "checksum", "image_size"}`.
    """

    backbone: keras.Model
    about: dict[str, Any]

    @classmethod
    def load(cls, path: str | os.PathLike, image_size: int = 0) -> Encoder:
        """From a file, a run's folder or torch weights, see `starting_backbone`.

        Args:
            path: of the backbone.
            image_size: side of the images, pixels; 0 for the backbone's own.
        """
        if path == RANDOM:
            raise ValueError("`backbone` must be a file or the folder of a run. Received: backbone='random'")
        backbone = starting_backbone(path)
        size = image_size or backbone.input_shape[1]
        if not size:
            raise ValueError("`image_size` must be given for a backbone of any size. Received: none")
        number = checksum(backbone)
        if (size, size) != tuple(backbone.input_shape[1:3]):
            backbone = resized(backbone, (size, size, 3))
        return cls(backbone, {"path": os.path.abspath(path), "checksum": number, "image_size": int(size)})

    def features(self, images: FolderImages, batch_size: int = 64, verbose: bool = False) -> np.ndarray:
        """Features (N, F) of unit length, float32."""
        size = self.about["image_size"]
        raw = Preprocessing(size, mean=(0.0,) * 3, std=(1 / 255,) * 3)  # values stay in [0, 255]
        pictures = images.fetch(
            tf.data.Dataset.range(images.count), (SHARPNESS * size) ** 2, os.cpu_count() or 1
        )
        pictures = pictures.apply(tf.data.experimental.assert_cardinality(images.count))
        batches = pictures.map(lambda element: (raw.preprocess(element["image"][None])[0], 0)).batch(
            batch_size
        )
        return unit_rows(extract_features(self.backbone, batches.prefetch(2), verbose)[0])


@dataclasses.dataclass
class PictureIndex:
    """The features of a folder's pictures.

    Attributes:
        folder: absolute path.
        kind: one of `KINDS`.
        backbone: see `Encoder.about`.
        files: path relative to the folder -> (size in bytes, time of change in ns), in the vectors' order.
        vectors: faiss' index; its numbers are the places in `files`.
    """

    folder: str
    kind: str
    backbone: dict[str, Any]
    files: dict[bytes, tuple[int, int]]
    vectors: Any

    def write(self, path: str | os.PathLike) -> None:
        """Writes the file, whole or not at all."""
        data = _faiss().serialize_index(self.vectors).tobytes()
        about = {
            "format": FORMAT,
            "folder": self.folder,
            "kind": self.kind,
            "backbone": self.backbone,
            "sha256": hashlib.sha256(data).hexdigest(),
            "files": [[os.fsdecode(name), *state] for name, state in self.files.items()],
        }
        with whole_file(path) as file, zipfile.ZipFile(file, "w") as archive:
            archive.writestr("index.json", json.dumps(about))
            archive.writestr("vectors.faiss", data)

    @classmethod
    def read(cls, path: str | os.PathLike) -> PictureIndex:
        """Reads a file.

        Raises:
            FileNotFoundError: if there is none.
            IndexFileError: if it is not what `write` wrote.
        """
        faiss = _faiss()
        if not os.path.isfile(path):
            raise FileNotFoundError(f"`index`: no such file. Received: {shown(str(path))}")
        try:
            with zipfile.ZipFile(path) as archive:
                about = json.loads(archive.read("index.json"))
                data = archive.read("vectors.faiss")
            if about["format"] != FORMAT or hashlib.sha256(data).hexdigest() != about["sha256"]:
                raise ValueError("another format" if about["format"] != FORMAT else "the checksum differs")
            files = {os.fsencode(name): (size, changed) for name, size, changed in about["files"]}
            vectors = faiss.deserialize_index(np.frombuffer(data, np.uint8))
            if vectors.ntotal != len(files):
                raise ValueError(f"{len(files)} files and {vectors.ntotal} vectors")
            return cls(about["folder"], about["kind"], about["backbone"], files, vectors)
        except (zipfile.BadZipFile, KeyError, TypeError, ValueError, RuntimeError, EOFError) as error:
            raise IndexFileError(
                f"`index` must be a file that `leoclr index` wrote. Received: {shown(str(path))} ({error})"
            ) from error

    def paths(self) -> list[str]:
        """Absolute path of each picture."""
        return [os.path.join(self.folder, os.fsdecode(name)) for name in self.files]

    def check_made_with(self, encoder: Encoder) -> None:
        """Raises IndexFileError if the features are another backbone's."""
        for name, words in (("checksum", "the backbone"), ("image_size", "the image size")):
            if self.backbone[name] != encoder.about[name]:
                raise IndexFileError(
                    f"`backbone` must be {words} that the index was made with, {self.backbone['path']} "
                    f"({name} {str(self.backbone[name])[:12]}). "
                    f"Received: {encoder.about['path']} ({name} {str(encoder.about[name])[:12]})"
                )


@dataclasses.dataclass(frozen=True)
class Update:
    """What `update_index` did.

    Attributes:
        index: the index.
        kept, added, changed, removed: numbers of pictures.
        skipped: (path, reason) of those that cannot be read.
    """

    index: PictureIndex
    kept: int
    added: int
    changed: int
    removed: int
    skipped: list[tuple[str, str]]


def update_index(
    folder: str | os.PathLike,
    encoder: Encoder,
    path: str | os.PathLike,
    kind: str = "exact",
    overwrite: bool = False,
    on_error: str = "raise",
    max_failures: float = 0.01,
    batch_size: int = 64,
    verbose: bool = False,
) -> Update:
    """Makes the index of a folder, or brings one up to date: unchanged pictures are not read again.

    Args:
        folder: pictures at any depth.
        encoder: makes the features.
        path: of the index; if it exists, it must be of this folder and this backbone.
        kind: one of `KINDS`.
        overwrite: make it anew, whatever is there.
        on_error: at a picture that cannot be read, "raise" or "skip".
        max_failures: with "skip", largest share of pictures that may fail, in [0, 1].
        batch_size: images per call of the backbone.
        verbose: whether to show progress bars.

    Raises:
        IndexFileError: if `path` is another folder's, or made with another backbone.
        ValueError: if a picture cannot be read, more than allowed, or there is none.
    """
    decode.check_options(on_error, decode.MAX_PIXELS, decode.WHITE, None, 1)
    if kind not in KINDS:
        raise ValueError(f"`kind` must be one of {', '.join(KINDS)}. Received: kind={kind!r}")
    faiss = _faiss()
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"`folder`: no such folder. Received: {shown(str(folder))}")
    root = os.path.abspath(os.fsencode(folder))
    old = None if overwrite or not os.path.exists(path) else PictureIndex.read(path)
    if old is not None:
        old.check_made_with(encoder)
        if os.fsencode(old.folder) != root:
            raise IndexFileError(
                f"`output` must be a new file or the index of this folder. Received: {shown(str(path))}, "
                f"the index of {shown(old.folder)}; --overwrite replaces it"
            )
    before = old.files if old else {}
    states = scan_folder(root).files
    same = [row for row, (name, state) in enumerate(before.items()) if states.get(name) == state]
    names = list(before)
    kept = {names[row]: before[names[row]] for row in same}
    parts = [] if not same else [old.vectors.reconstruct_n(0, len(before))[same]]
    failures = Failures(max_failures=max_failures)
    fresh, features = _new_features(root, kept, states, encoder, failures, on_error, batch_size, verbose)
    parts += [features] if fresh else []
    files = kept | {name: states[name] for name in fresh}
    vectors = _faiss_index(faiss, kind, np.concatenate(parts))
    index = PictureIndex(os.fsdecode(root), kind, encoder.about, files, vectors)
    index.write(path)
    changed = sum(name in before for name in fresh)
    return Update(
        index,
        kept=len(kept),
        added=len(fresh) - changed,
        changed=changed,
        removed=sum(name not in files for name in before),
        skipped=failures.items(),
    )


def _new_features(root, kept, states, encoder, failures, on_error, batch_size, verbose):
    """Names of the pictures that are not in `kept` and can be read, and their features."""
    found = read_index(root, decode.MAX_PIXELS, progress=verbose)
    failures.total = len(found.headers) + len(found.failures)
    new = {name: header for name, header in found.headers.items() if name not in kept and name in states}
    if not new and not found.failures and kept:
        return [], None
    part = Index(new if new or not kept else found.headers, found.failures, found.ignored, found.folders)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of labels, which are not used, and of what `Update.skipped` lists
        images = indexed_images(root, part, failures, skip=on_error == "skip")
        if not new:
            return [], None
        try:
            features = encoder.features(images, batch_size, verbose)
        except tf.errors.InvalidArgumentError:
            if not kept or not all(os.path.join(root, name) in failures for name in new):
                raise
            return [], None  # each of the few new ones is broken, so that none could take its place
    # a picture that broke when it was decoded was replaced by another: its row goes
    good = [row for row, name in enumerate(new) if os.path.join(root, name) not in failures]
    return [list(new)[row] for row in good], features[good]


def _faiss_index(faiss: Any, kind: str, vectors: np.ndarray) -> Any:
    width = vectors.shape[1]
    inner = faiss.METRIC_INNER_PRODUCT  # of unit vectors: the cosine
    index = faiss.IndexFlatIP(width) if kind == "exact" else faiss.IndexHNSWFlat(width, NEIGHBOURS, inner)
    index.add(np.ascontiguousarray(vectors, "float32"))
    return index


@dataclasses.dataclass(frozen=True)
class Hit:
    """A similar picture.

    Attributes:
        path: absolute.
        similarity: cosine of the features, in [-1, 1].
        itself: whether it is the file that was searched for.
    """

    path: str
    similarity: float
    itself: bool


def search(
    index: PictureIndex,
    encoder: Encoder,
    queries: Sequence[str | os.PathLike],
    k: int = 10,
    on_error: str = "raise",
) -> Iterator[tuple[str, list[Hit] | str]]:
    """The most similar pictures to others.

    Args:
        index: of a folder.
        encoder: the one that made the index.
        queries: picture files, in the folder or not.
        k: number of pictures, at most all.
        on_error: at a query that cannot be read, "raise" or "skip".

    Yields:
        Path of the query, and its hits, nearest first; with "skip" the reason why there are none.

    Raises:
        IndexFileError: if the index was made with another backbone.
        ValueError: if a query cannot be read.
    """
    index.check_made_with(encoder)
    if k < 1:
        raise ValueError(f"`k` must be >= 1. Received: k={k}")
    paths = index.paths()
    for query in map(os.fspath, queries):
        try:
            images = _one_picture(query)
        except ImageError as error:
            if on_error == "raise":
                raise ValueError(decode.advice(query, str(error))) from error
            yield query, str(error)
            continue
        similarity, rows = index.vectors.search(encoder.features(images), min(k, len(index.files)))
        yield (
            query,
            [
                Hit(paths[row], float(value), _same_file(query, paths[row]))
                for value, row in zip(similarity[0], rows[0], strict=True)
                if row >= 0  # a graph may find fewer
            ],
        )


def _one_picture(path: str) -> FolderImages:
    """A source of one picture, decoded on the same way as those of an index."""
    folder, name = os.path.split(os.path.abspath(os.fsencode(path)))
    try:
        with open(os.path.join(folder, name), "rb") as file:
            header = decode.read_header(file)
    except OSError as error:
        raise ImageError(f"cannot be opened: {error.strerror}") from error
    images = FolderImages(folder, Index({name: header}, {}, collections.Counter(), []), Failures(1))
    images.read(0)  # a damaged one fails here, with its reason
    return images


def _same_file(first: str, second: str) -> bool:
    try:
        return os.path.samefile(first, second)
    except OSError:  # the one in the folder may be gone
        return False


def as_json(found: Iterable[tuple[str, list[Hit] | str]]) -> list[dict[str, Any]]:
    """What `search` yields, as JSON can hold it."""
    return [
        {"query": query, "skipped": hits}
        if isinstance(hits, str)
        else {"query": query, "hits": [dataclasses.asdict(hit) for hit in hits]}
        for query, hits in found
    ]


def default_path(folder: str | os.PathLike) -> pathlib.Path:
    """Where the index of a folder lies if nothing else is said: beside it."""
    folder = pathlib.Path(os.path.abspath(folder))
    return folder.with_name(folder.name + ".index")


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise ImportError("an index of pictures needs faiss: pip install 'keras-leoclr[search]'") from error
    return faiss
