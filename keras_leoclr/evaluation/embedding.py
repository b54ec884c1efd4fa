"""A map of images by their features, and the nearest neighbours of images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from PIL import Image

from keras_leoclr.checks import whole_number
from keras_leoclr.data.channels import as_rgb
from keras_leoclr.data.parts import has_label
from keras_leoclr.data.source import Source
from keras_leoclr.data.source_arguments import as_source, with_unknown_labels
from keras_leoclr.evaluation.batches import clean_view, labelled_batches
from keras_leoclr.evaluation.feature_checks import check_finite
from keras_leoclr.evaluation.features import extract_features
from keras_leoclr.evaluation.labels import kind_of
from keras_leoclr.evaluation.neighbour_search import nearest, unit_rows
from keras_leoclr.evaluation.neighbour_votes import knn_answers
from keras_leoclr.evaluation.scores import Score
from keras_leoclr.tensorflow_host import tf

PROJECTIONS = ("pca", "umap")
LARGEST_TILE = 48  # side in pixels of a picture in the sheet of small pictures
NEAR = 5


class Embedding:
    """A map of images by their features, and the nearest neighbours of some of them.

    Labels are not needed. If there are labels, they are recorded beside the prediction of the kNN
    classifier; images with the label -1 are unlabelled and do not vote. With several labels per image, the
    prediction is the class with the largest share of the votes.

    Args:
        backbone: (B, S, S, 3) -> (B, F), or feature maps.
        bank: source of the images in which neighbours are searched, see `data.load`.
        queries: source of the images on the map. None takes images of `bank`, and neighbours are then
            searched among the other images.
        views: a `Preprocessing`, or views such as `LeOCLRViews`: size, mean and deviation of the images.
        images: most images on the map, >= 2, drawn by `seed`; 600 by default.
        bank_images: most images of the bank, >= 1, drawn by `seed`; 5000 by default.
        examples: number of images on the map whose neighbours are listed, >= 1, of as many classes as
            possible; 12 by default.
        neighbours: number of neighbours listed for each example, >= 1; 6 by default.
        projection: "pca" (the default), the two directions of largest variance of the unit features, or
            "umap" (arXiv 1802.03426, package umap-learn, with cosine distance).
        k: number of neighbours that vote; 20 by default.
        temperature: temperature of the votes; 0.07 by default.
        batch_size: images per call of the backbone; 256 by default.
        seed: seed of the draws; 0 by default.
        bank_set: features (N, F) and labels (N,) or (N, C) of all images of `bank`, as `extract_features`
            returns them; by default the features of the images that are used are computed.
        query_set: features and labels of all images of `queries`, likewise.

    `run` yields embedding/explained, the share of the variance that lies in the first two principal
    directions. Its arrays are, for N images on the map and E examples:

    - `coordinates` (N, 2), the points of the map;
    - `rows` (N,), the numbers of the images among the queries;
    - `near` (N, 5), the nearest images among the N;
    - `examples` (E,), the numbers of the examples among the N;
    - `neighbours` and `similarities` (E, `neighbours`), numbers in the bank and cosines;
    - if there are labels, `labels` and `predicted` (N,), and `neighbour_labels`; labels have one more axis
      (C,) if an image has several;
    - `pictures`, a sheet of small pictures, first the N images and then the neighbours of each example.
      The protocol has the side `tile` of a picture in pixels and the number `columns` of pictures in a row.

    Raises:
        ImportError: if `projection` is "umap" and umap-learn is not installed.
    """

    def __init__(
        self,
        backbone: keras.Model,
        bank: Source | tf.data.Dataset,
        queries: Source | tf.data.Dataset | None,
        views: Any,
        images: int = 600,
        bank_images: int = 5000,
        examples: int = 12,
        neighbours: int = 6,
        projection: str = "pca",
        k: int = 20,
        temperature: float = 0.07,
        batch_size: int = 256,
        seed: int = 0,
        bank_set: tuple[np.ndarray, np.ndarray] | None = None,
        query_set: tuple[np.ndarray, np.ndarray] | None = None,
    ):
        self.images = whole_number("images", images, 2)
        self.bank_images = whole_number("bank_images", bank_images, 1)
        self.examples = whole_number("examples", examples, 1)
        self.neighbours = whole_number("neighbours", neighbours, 1)
        if projection not in PROJECTIONS:
            raise ValueError(
                f"`projection` must be one of {', '.join(PROJECTIONS)}. Received: projection={projection!r}"
            )
        if projection == "umap":
            _umap()  # A missing package is reported at once, not after the features were computed.
        self.projection = projection
        self.backbone, self.views = backbone, views
        self.bank = as_source(bank, "bank")
        self.queries = None if queries is None else as_source(queries, "queries")
        if self.bank.count is None or (self.queries or self.bank).count is None:
            raise ValueError(
                "`bank` and `queries` must have a known number of images, of which the map draws some. "
                "Received: a stream of unknown length"
            )
        self.k, self.temperature = k, temperature
        self.batch_size, self.seed = batch_size, seed
        self.bank_set = bank_set
        self.query_set = bank_set if queries is None else query_set

    def run(self) -> Iterator[Score]:
        rows, bank_rows = self._rows()
        queries = self.bank if self.queries is None else self.queries
        features, labels = self._features(queries, rows, self.query_set)
        bank, bank_labels = self._features(self.bank, bank_rows, self.bank_set)
        labelled = self.bank.labelled and queries.labelled
        voting = has_label(bank_labels)
        labelled = labelled and bool(voting.any() and has_label(labels).any())
        coordinates, explained = project(features, self.projection, self.seed)
        examples = spread(
            kind_of(labels).first(labels) if labelled else np.zeros(len(labels), int), self.examples
        )
        listed = min(self.neighbours, len(bank))
        found = list(nearest(bank, features[examples], listed))
        similarities, neighbours = (np.concatenate([part[i] for part in found]) for i in (1, 2))
        near = np.concatenate([part[2] for part in nearest(features, None, min(NEAR, len(features) - 1))])
        arrays = {
            "coordinates": coordinates.astype("float32"),
            "rows": rows,
            "near": near,
            "examples": examples,
            "neighbours": bank_rows[neighbours],
            "similarities": similarities,
        }
        how = {"projection": self.projection, "images": len(rows), "bank_images": len(bank_rows)}
        how |= {"seed": self.seed}
        if labelled:
            kind = kind_of(labels, bank_labels)
            voters = (bank[voting], bank_labels[voting])
            votes = kind.best(knn_answers(*voters, features, (self.k,), self.temperature)[self.k])
            arrays |= {"labels": labels, "predicted": votes, "neighbour_labels": bank_labels[neighbours]}
            how |= {"k": min(self.k, int(voting.sum())), "temperature": self.temperature}
            how |= {"class_names": list(queries.class_names)}
        used, places = np.unique(bank_rows[neighbours], return_inverse=True)
        tiles = np.concatenate([self._tiles(queries, rows), self._tiles(self.bank, used)[places.ravel()]])
        columns = int(np.ceil(np.sqrt(len(tiles))))
        arrays["pictures"] = contact_sheet(tiles, columns)
        yield Score(
            "embedding/explained", explained, None, None, arrays, tile=tiles.shape[1], columns=columns, **how
        )

    def _rows(self):
        """The numbers of the images that are on the map and in the bank."""
        rng = np.random.default_rng(self.seed)
        count = self.bank.count
        if self.queries is None:
            shown = min(self.images, max(2, count // 2))
            order = rng.permutation(count)[: shown + self.bank_images]
            rows, bank_rows = order[:shown], order[shown:]
        else:
            rows = rng.permutation(self.queries.count)[: self.images]
            bank_rows = rng.permutation(count)[: self.bank_images]
        if len(rows) < 2 or not len(bank_rows):
            raise ValueError(
                "`bank` and `queries` must have 3 images or more together, 2 for the map and 1 as a "
                "neighbour. "
                f"Received: {len(rows) + len(bank_rows)}"
            )
        return np.sort(rows), np.sort(bank_rows)

    def _features(self, source, rows, known):
        if known is None:
            view = clean_view(self.views)
            batches = labelled_batches(_drawn(source, rows, view), view, self.batch_size)
            features, labels = extract_features(self.backbone, batches)
        else:
            features, labels = (array[rows] for array in known)
        check_finite("features", features)
        return features, labels

    def _tiles(self, source, rows):
        """Small pictures (N, side, side, 3) uint8 of images."""
        side = min(self.views.image_size, LARGEST_TILE)
        view = clean_view(self.views, normalised=False)
        tiles = []
        for images, _ in labelled_batches(_drawn(source, rows, view), view, self.batch_size):
            for image in np.clip(np.asarray(images), 0, 255).round().astype("uint8"):
                small = Image.fromarray(as_rgb(image)).resize((side, side), Image.Resampling.LANCZOS)
                tiles.append(np.asarray(small))
        return np.stack(tiles)


def _drawn(source, rows, view):
    """The images of some rows, as they are read for a view; the labels are -1 if the source has none."""
    return with_unknown_labels(source.subset(rows).reduced(view.least_pixels))


def project(features: np.ndarray, projection: str = "pca", seed: int = 0) -> tuple[np.ndarray, float]:
    """Projects features to points of the plane.

    Args:
        features: (N, F), N >= 2; they are scaled to length 1 here.
        projection: "pca" (the default) or "umap".
        seed: seed of UMAP; 0 by default.

    Returns:
        Points (N, 2), and the share of the variance in the first two principal directions, in [0, 1].
    """
    centred = unit_rows(features).astype("float64")
    centred -= centred.mean(axis=0)
    left, scales, right = np.linalg.svd(centred, full_matrices=False)
    two = np.zeros((len(centred), 2))
    # The sign of a principal direction is arbitrary. It is fixed by making the largest weight positive.
    signs = np.sign(np.take_along_axis(right[:2], np.abs(right[:2]).argmax(axis=1)[:, None], 1))[:, 0]
    two[:, : len(signs)] = left[:, :2] * scales[:2] * np.where(signs == 0, 1, signs)
    total = float((scales**2).sum())
    explained = float((scales[:2] ** 2).sum() / total) if total > 0 else 1.0
    if projection == "umap":
        neighbours = min(15, len(features) - 1)
        mapper = _umap()(n_neighbors=neighbours, metric="cosine", random_state=seed, n_jobs=1)
        two = mapper.fit_transform(np.asarray(features, "float32"))
    return two, explained


def _umap():
    try:
        from umap import UMAP
    except ImportError as error:
        raise ImportError(
            '`projection` "umap" needs the package umap-learn: pip install "keras-leoclr[report]"'
        ) from error
    return UMAP


def spread(labels: np.ndarray, count: int) -> np.ndarray:
    """Selects `count` images, taking one from each class in turn; within a class, numbers ascend.

    Args:
        labels: (N,) labels of the images.
        count: number of images, at most N.
    """
    turn = np.zeros(len(labels), int)  # number of images of the same class that come before an image
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        turn[own] = np.arange(len(own))
    return np.lexsort((labels, turn))[:count]


def contact_sheet(tiles: np.ndarray, columns: int) -> np.ndarray:
    """Puts tiles (N, s, s, 3) into one picture (rows * s, columns * s, 3), row by row, on black."""
    count, side = tiles.shape[:2]
    rows = -(-count // columns)
    whole = np.zeros((rows * columns, *tiles.shape[1:]), tiles.dtype)
    whole[:count] = tiles
    return (
        whole.reshape(rows, columns, side, side, -1).swapaxes(1, 2).reshape(rows * side, columns * side, -1)
    )
