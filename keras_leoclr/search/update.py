"""Makes the index of a folder, or brings an existing index up to date."""

from __future__ import annotations

import dataclasses
import os
import warnings

import numpy as np

from keras_leoclr import wording
from keras_leoclr.checks import output_file, whole_number
from keras_leoclr.data import channels, decode
from keras_leoclr.data.failures import Failures, shown
from keras_leoclr.data.readers.files import SUFFIXES, Index, scan_folder
from keras_leoclr.data.readers.folder import index_of, indexed_images
from keras_leoclr.data.readers.folder_warnings import warn_of_runs
from keras_leoclr.search.encoder import Encoder
from keras_leoclr.search.index_file import KINDS, IndexFileError, PictureIndex, faiss_package, vectors_of
from keras_leoclr.tensorflow_host import tf


@dataclasses.dataclass(frozen=True)
class Update:
    """The result of `update_index`.

    Attributes:
        index: the new index.
        kept, added, changed, removed: numbers of pictures, compared with the index before.
        skipped: pairs (path, reason) of the pictures that cannot be read.
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
    """Makes the index of a folder, or brings it up to date; features of unchanged pictures are kept.

    Args:
        folder: path of a folder with pictures, which may lie in subfolders of any depth.
        encoder: encoder that computes the features.
        path: path of the index. If it exists, it must belong to this folder and this backbone.
        kind: one of `KINDS`; "exact" by default.
        overwrite: whether to replace an existing file by a new index; False by default.
        on_error: what to do if a picture cannot be read: "raise" (the default) or "skip".
        max_failures: with "skip", largest share of the pictures that may fail, in [0, 1]; 0.01 by default.
        batch_size: number of images per call of the backbone; 64 by default.
        verbose: whether to show progress bars; False by default.

    Raises:
        IndexFileError: if `path` is the index of another folder, or was made with another backbone.
        ValueError: if a picture cannot be read (with "skip", if more fail than allowed), if there is no
            picture, or if no file can be written at `path`.
    """
    decode.check_options(on_error, decode.MAX_PIXELS, decode.WHITE, None, 1)
    whole_number("batch_size", batch_size, 1)
    output_file("output" if wording.of_flags() else "path", path)
    if kind not in KINDS:
        raise ValueError(f"`kind` must be one of {', '.join(KINDS)}. Received: kind={kind!r}")
    faiss_package()  # raises the error of a missing package before any picture is read
    folder, path = os.path.expanduser(folder), os.path.expanduser(path)
    if not os.path.isdir(folder):
        raise FileNotFoundError(f"`folder`: no such folder. Received: {shown(str(folder))}")
    root = os.path.abspath(os.fsencode(folder))
    old = None if overwrite or not os.path.exists(path) else PictureIndex.read(path)
    if old is not None:
        old.check_made_with(encoder)
        encoder = encoder.reading_as(old.backbone)
        if os.fsencode(old.folder) != root:
            raise IndexFileError(
                f"`output` must be a new file or the index of this folder. Received: {shown(str(path))}, "
                f"the index of {shown(old.folder)}; --overwrite replaces it"
            )
    before = old.files if old else {}
    states = scan_folder(root, SUFFIXES if encoder.pixels is None else channels.SUFFIXES).files
    same = [row for row, (name, state) in enumerate(before.items()) if states.get(name) == state]
    names = list(before)
    kept = {names[row]: before[names[row]] for row in same}
    parts = [] if not same else [old.vectors.reconstruct_n(0, len(before))[same]]
    failures = Failures(max_failures=max_failures)
    with wording.pictures_called("folder"):
        fresh, features = _new_features(root, kept, states, encoder, failures, on_error, batch_size, verbose)
    parts += [features] if fresh else []
    files = kept | {name: states[name] for name in fresh}
    vectors = vectors_of(kind, np.concatenate(parts))
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
    found = index_of(root, decode.MAX_PIXELS, verbose, encoder.pixels)
    warn_of_runs(root, found)
    failures.total = len(found.headers) + len(found.failures)
    new = {name: header for name, header in found.headers.items() if name not in kept and name in states}
    if not new and not found.failures and kept:
        return [], None
    part = Index(new if new or not kept else found.headers, found.failures, found.ignored, found.folders)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of labels, which are not used, and of what `Update.skipped` lists
        images = indexed_images(root, part, failures, skip=on_error == "skip", pixels=encoder.pixels)
        if not new:
            return [], None
        try:
            features = encoder.features(images, batch_size, verbose)
        except tf.errors.InvalidArgumentError:
            if not kept or not all(os.path.join(root, name) in failures for name in new):
                raise
            return [], None  # all new pictures are broken, so there is none that could replace a broken one
    # A source replaces a picture that cannot be decoded by another one; such rows are dropped here.
    good = [row for row, name in enumerate(new) if os.path.join(root, name) not in failures]
    names = list(new)
    return [names[row] for row in good], features[good]
