"""The record of the images of a run: their number, and size, time and checksum of their files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any

from keras_leoclr import evaluation
from keras_leoclr.data.failures import ImageError
from keras_leoclr.data.readers.archives import open_file, state_of
from keras_leoclr.data.readers.arrays import BUNDLED
from keras_leoclr.data.readers.bundled_scenes import is_scenes
from keras_leoclr.data.readers.folder import FolderImages, labels_digest
from keras_leoclr.evaluation.run_evaluation import RANDOM
from keras_leoclr.runs.data_record import DataChange, DataRecord, Files, changes

SAMPLED = 200  # number of files of a split whose checksum is recorded
READ = 1 << 16  # bytes at the beginning and at the end of a file that its checksum covers


class RunData:
    """The current images of a run.

    Args:
        sources: sources by the name of their split.
        dataset: name or path that they were loaded from.

    Attributes:
        record: what is recorded about them.
    """

    def __init__(self, sources: Mapping[str, Any], dataset: str):
        self.record = DataRecord()
        self._places: dict[str, dict[str, str]] = {}
        for split, source in sources.items():
            self.record.about[split] = evaluation.data_identity(source, dataset, split)
            places = _places(source, dataset)
            if places and source.images is not None and _labels_beside(source.images):
                self.record.about[split]["labels"] = labels_digest(source.images)
            if places:
                self._places[split] = places
                self.record.files[split] = _files(places)

    def check_apart(self, workdir: str | os.PathLike, dataset: str, overwrite: bool) -> None:
        """Refuses to use a folder for the run if images of the data set lie in it.

        A run may share its folder with the data set only if the folder is the data set as a whole. If a run
        in the folder is to be deleted, no image may lie in it, because a class may be named like a folder of
        the run.

        Raises:
            ValueError: if images could be deleted, or left out when the run is resumed.
        """
        workdir = os.path.realpath(workdir)
        places = [path for split in self._places.values() for path in split.values()]
        whole = os.path.realpath(os.path.expanduser(dataset))
        inside = not is_name(dataset) and os.path.exists(whole) and _lies_in(whole, workdir)
        if inside and not overwrite:
            return
        if inside or any(_lies_in(os.path.realpath(path), workdir) for path in places):
            raise ValueError(
                "`workdir` must not be a folder of the images that are trained on"
                + (", in which `overwrite` would delete files" if overwrite else "")
                + f". Received: workdir={workdir}, dataset={dataset!r}"
            )

    def changes_since(self, before: DataRecord) -> dict[str, DataChange]:
        """Compares the images with those of an earlier record, by split."""
        return changes(before, self.record, lambda split, name: _checksum(self._places[split][name]))


def same_place(first: str, second: str) -> bool:
    """Whether two paths lead to the same folder or file; names of known data sets are not paths."""
    if is_name(first) or is_name(second):
        return False
    places = [os.path.expanduser(path) for path in (first, second)]
    return all(map(os.path.exists, places)) and os.path.samefile(*places)


def is_name(dataset: str) -> bool:
    """Whether this is the name of a data set, and not of files of the user, even if such a path exists."""
    return dataset in (*BUNDLED, RANDOM) or is_scenes(dataset) or dataset.startswith("tfds:")


def _places(source: Any, dataset: str) -> dict[str, str]:
    """The path of each file by its name; {} if the images are not files."""
    from keras_leoclr.data.readers.tfrecord import tfrecord_files

    if isinstance(source.images, FolderImages):
        start = len(os.fsdecode(source.images.root).rstrip(os.sep)) + 1
        return {path[start:]: path for path in source.images.paths}
    if source.encoded is None or dataset.startswith("tfds:"):
        return {}
    return {os.path.basename(path): path for path in tfrecord_files(os.path.expanduser(dataset))}


def _labels_beside(images: Any) -> bool:
    """Whether the labels of files are not told by the names of these."""
    return images.several_labels or (getattr(images, "mixture", None) is not None and images.labelled)


def _files(places: dict[str, str]) -> Files:
    files = {}
    for number, (name, path) in enumerate(places.items()):
        files[name] = [*state_of(path), _checksum(path) if number < SAMPLED else None]
    return files


def _checksum(path: str) -> str | None:
    """Checksum of the size, the beginning and the end of a file; None if it cannot be read."""
    try:
        with open_file(path) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            digest = hashlib.blake2b(f"{size}\0".encode(), digest_size=12)
            digest.update(file.read(READ))
            if size > READ:
                file.seek(max(READ, size - READ))
                digest.update(file.read(READ))
    except (OSError, ImageError):
        return None
    return digest.hexdigest()


def _lies_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(os.path.join(folder, ""))
