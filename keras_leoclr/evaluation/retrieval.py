"""Retrieval of an image by one of its crops, which is what LeOCLR is trained for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from keras_leoclr.data.source import Source
from keras_leoclr.data.source_arguments import as_source, with_unknown_labels
from keras_leoclr.evaluation.batches import clean_view, labelled_batches
from keras_leoclr.evaluation.feature_checks import check_finite, check_same_images
from keras_leoclr.evaluation.features import extract_features
from keras_leoclr.evaluation.neighbour_search import nearest
from keras_leoclr.evaluation.scores import Score
from keras_leoclr.evaluation.statistics import wilson
from keras_leoclr.tensorflow_host import tf

CROP_SCALES = (0.08, 0.2, 0.4, 0.6, 0.8, 1.0)


class Retrieval:
    """Recall of the original image among N images, given a random crop of it.

    LeOCLR (arXiv 2403.06813) pulls the features of a crop towards those of its original. This evaluator
    counts how often the original is the nearest image to its crop, by cosine.

    Args:
        backbone: (B, S, S, 3) -> (B, F), or feature maps.
        source: source of images, see `data.load`; labels are not used.
        views: a `Preprocessing`, or views such as `LeOCLRViews`: size, mean and deviation of the images.
        crop_scales: areas of the crops as shares of the image, in (0, 1]; the aspect ratio is 3/4 to 4/3
            if it fits. 1 is the whole image and serves as a check: all images without duplicates are found.
        batch_size: images per call of the backbone; 256 by default.
        seed: seed of the crops; 0 by default.
        verbose: whether to show progress bars; false by default.
        originals: features (N, F) of the whole images; computed by default.

    `run` yields retrieval/recall@1 and retrieval/recall@5 for each crop scale, with `crop_scale` and
    `images`, which is N. A random choice would reach 1 / N and 5 / N.
    """

    def __init__(
        self,
        backbone: keras.Model,
        source: Source | tf.data.Dataset,
        views: Any,
        crop_scales: Sequence[float] = CROP_SCALES,
        batch_size: int = 256,
        seed: int = 0,
        verbose: bool = False,
        originals: np.ndarray | None = None,
    ):
        if not len(crop_scales) or not all(0 < scale <= 1 for scale in crop_scales):
            raise ValueError(f"`crop_scales` must be numbers in (0, 1]. Received: crop_scales={crop_scales}")
        self.backbone = backbone
        self.source = as_source(source)
        self.views = views
        self.crop_scales = tuple(crop_scales)
        self.batch_size, self.seed, self.verbose = batch_size, seed, verbose
        self.originals = originals

    def run(self) -> Iterator[Score]:
        originals, labels = self.originals, None
        if originals is None:
            originals, labels = self._features(clean_view(self.views))
        check_finite("features", originals)
        count = len(originals)
        for scale in self.crop_scales:
            crops, own_labels = self._features(clean_view(self.views, (scale, scale)))
            labels = own_labels if labels is None else labels
            check_same_images(labels, own_labels)
            check_finite("features", crops)
            found = np.concatenate([rows for *_, rows in nearest(originals, crops, min(5, count))])
            own = found == np.arange(count)[:, None]
            for k in (1, 5):
                hits = own[:, :k].any(axis=1)
                how = {"crop_scale": scale, "seed": self.seed, "similarity": "cosine"}
                yield Score(
                    f"retrieval/recall@{k}", hits.mean(), wilson(int(hits.sum()), count), hits, None, **how
                )

    def _features(self, view):
        source = with_unknown_labels(self.source.reduced(view.least_pixels))
        batches = labelled_batches(source, view, self.batch_size, self.seed)
        return extract_features(self.backbone, batches, self.verbose)
