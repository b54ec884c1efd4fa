"""The file of an index, which holds the features of a folder's pictures.

An index is one file, an uncompressed ZIP archive of two members. `vectors.faiss` holds the features, which
have length 1, as faiss writes them. `index.json` holds the names of the pictures, the description of the
backbone, and the SHA-256 of `vectors.faiss`. Reading an index cannot run code.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_leoclr.data.failures import shown
from keras_leoclr.runs.files import whole_file, without_leftovers

if TYPE_CHECKING:
    from keras_leoclr.search.encoder import Encoder

FORMAT = 1
KINDS = {
    "exact": "compares with every picture",
    "hnsw": "a graph of neighbours (arXiv 1603.09320), for millions of pictures; may miss one",
}
NEIGHBOURS = 32  # number of neighbours that each picture has in the graph


class IndexFileError(ValueError):
    """The file is not an index, is damaged, or was made with another backbone or folder."""


@dataclasses.dataclass
class PictureIndex:
    """The features of a folder's pictures, for search.

    Attributes:
        folder: absolute path of the folder.
        kind: one of `KINDS`.
        backbone: description of the backbone, see `Encoder.about`.
        files: path relative to the folder -> (size in bytes, time of change in ns), in the order of the
            vectors.
        vectors: the index of faiss; vector i belongs to the i-th entry of `files`.
    """

    folder: str
    kind: str
    backbone: dict[str, Any]
    files: dict[bytes, tuple[int, int]]
    vectors: Any

    def write(self, path: str | os.PathLike) -> None:
        """Writes the file, whole or not at all."""
        data = faiss_package().serialize_index(self.vectors).tobytes()
        about = {
            "format": FORMAT,
            "folder": self.folder,
            "kind": self.kind,
            "backbone": self.backbone,
            "sha256": hashlib.sha256(data).hexdigest(),
            "files": [[os.fsdecode(name), *state] for name, state in self.files.items()],
        }
        with whole_file(without_leftovers(path)) as file, zipfile.ZipFile(file, "w") as archive:
            archive.writestr("index.json", json.dumps(about))
            archive.writestr("vectors.faiss", data)

    @classmethod
    def read(cls, path: str | os.PathLike) -> PictureIndex:
        """Reads an index from a file.

        Raises:
            FileNotFoundError: if the file does not exist.
            IndexFileError: if the file is not an index, or is damaged.
        """
        faiss = faiss_package()
        path = os.path.expanduser(path)
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
        """Raises IndexFileError if the features were computed with another backbone or image size."""
        mine, given = self.backbone, encoder.about
        if mine["checksum"] != given["checksum"]:
            raise IndexFileError(
                f"`backbone` must be the backbone that the index was made with, {mine['path']} "
                f"(checksum {mine['checksum'][:12]}). "
                f"Received: {given['path']} (checksum {given['checksum'][:12]})"
            )
        if mine["image_size"] != given["image_size"]:
            raise IndexFileError(
                f"`image_size` must be the image size that the index was made with, {mine['image_size']}. "
                f"Received: image_size={given['image_size']}"
            )
        ranges = [about.get("value_range") for about in (self.backbone, encoder.about)]
        if ranges[0] != ranges[1]:
            raise IndexFileError(
                f"`value_range` must be that which the index was made with, {ranges[0]}. "
                f"Received: value_range={ranges[1]}"
            )


def vectors_of(kind: str, features: np.ndarray) -> Any:
    """Makes an index of faiss from features.

    Args:
        kind: one of `KINDS`.
        features: (N, F) float array, rows of length 1.
    """
    faiss, width = faiss_package(), features.shape[1]
    inner = faiss.METRIC_INNER_PRODUCT  # equals the cosine for vectors of length 1
    index = faiss.IndexFlatIP(width) if kind == "exact" else faiss.IndexHNSWFlat(width, NEIGHBOURS, inner)
    index.add(np.ascontiguousarray(features, "float32"))
    return index


def default_path(folder: str | os.PathLike) -> pathlib.Path:
    """Returns the default path of the index of a folder, which is FOLDER.index beside the folder."""
    folder = pathlib.Path(os.path.abspath(os.path.expanduser(folder)))
    return folder.with_name(folder.name + ".index")


def faiss_package() -> Any:
    """Imports and returns the package faiss.

    Raises:
        ImportError: if it is missing; the message names the extra to install.
    """
    try:
        import faiss
    except ImportError as error:
        raise ImportError("an index of pictures needs faiss: pip install 'keras-leoclr[search]'") from error
    return faiss
