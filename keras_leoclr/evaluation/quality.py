"""Properties of features: alignment, uniformity, rank, confused classes and nearest neighbours."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from keras_leoclr.data.parts import has_label
from keras_leoclr.data.pipeline import image_batches
from keras_leoclr.evaluation.batches import clean_view, labelled_batches
from keras_leoclr.evaluation.feature_checks import check_finite, check_same_images
from keras_leoclr.evaluation.feature_geometry import alignment, rankme, uniformity
from keras_leoclr.evaluation.features import extract_features
from keras_leoclr.evaluation.image_evaluators import FittedToFeatures
from keras_leoclr.evaluation.labels import kind_of
from keras_leoclr.evaluation.neighbour_search import nearest
from keras_leoclr.evaluation.neighbour_votes import knn_answers
from keras_leoclr.evaluation.scores import Score

RANKED = 25_600  # images whose features RankMe uses, the number that its paper finds sufficient


@dataclasses.dataclass(eq=False, repr=False)
class Quality(FittedToFeatures):
    """Measures of features that need no classifier, and the classes and images that lie close together.

    Args:
        backbone: (B, S, S, 3) -> (B, F), or feature maps.
        train_features: (N, F) features of unchanged training images.
        train_labels: (N,), or (N, C). An image with the label -1 is unlabelled and does not vote.
        test: source of test images and labels, see `data.load`. Images with the label -1 are unlabelled; they
            count for all results but the accuracies of classes and the confusion matrix.
        views: a `Preprocessing`, or views such as `LeOCLRViews`: size, mean and deviation of the images.
        crop_scale: range of the area of the random crops for the alignment, as a share of the image; (0.2, 1)
            by default.
        k: neighbours that vote for the accuracies of classes and the confusion matrix; 20 by default.
        temperature: temperature of the votes; 0.07 by default.
        neighbours: number of training images listed for each test image; 10 by default.
        batch_size: images per call of the backbone; 256 by default.
        seed: seed of the crops; 0 by default.
        test_set: features (M, F) and labels (M,) or (M, C) of `test`, as `extract_features` returns them;
            computed by default.

    `run` yields
    - quality/alignment between two random crops of each test image, and quality/alignment_original
      between each test image and a random crop of it, which is LeOCLR's pair;
    - quality/uniformity and quality/rankme of the features of unchanged test images; RankMe uses at most
      25,600 of them, which the seed draws;
    - quality/class_accuracy by kNN for each class, with `class`, and quality/worst_class, whose class is
      `worst`. The latter has the arrays `confusion` (C, C), where rows are the true classes, and `neighbours`
      (M, `neighbours`), the numbers of the nearest training images, nearest first. These are left out if no
      image has a label. With several labels per image, the scores of the classes are
      quality/average_precision with intervals, and there is no confusion matrix.
    """

    crop_scale: tuple[float, float] = (0.2, 1.0)
    k: int = 20
    temperature: float = 0.07
    neighbours: int = 10
    batch_size: int = 256
    seed: int = 0
    test_set: tuple[np.ndarray, np.ndarray] | None = None

    def __post_init__(self):
        super().__post_init__()
        self.crop_scale = tuple(self.crop_scale)

    def run(self) -> Iterator[Score]:
        clean, labels = self.test_set or extract_features(
            self.backbone, image_batches(self.test, self.views, self.batch_size)
        )
        check_finite("test_features", clean)
        crop = clean_view(self.views, self.crop_scale, flip_probability=0.5)
        features_of_crops = []
        for draw in (0, 1):
            batches = labelled_batches(self.test, crop, self.batch_size, 2 * self.seed + draw)
            features, own_labels = extract_features(self.backbone, batches)
            check_same_images(labels, own_labels)
            features_of_crops.append(features)
        first, second = features_of_crops
        crops = {"crop_scale": self.crop_scale, "alpha": 2, "seed": self.seed, "images": len(clean)}
        yield Score("quality/alignment", alignment(first, second), **crops)
        yield Score("quality/alignment_original", alignment(clean, first), **crops)
        if len(clean) > 1:  # A single image has no distance to another one.
            yield Score("quality/uniformity", uniformity(clean), t=2, images=len(clean))
        used = clean
        if len(clean) > RANKED:  # They are drawn, because the first ones may belong to a few classes.
            used = clean[np.random.default_rng(self.seed).permutation(len(clean))[:RANKED]]
        yield Score("quality/rankme", rankme(used), images=len(used), features=clean.shape[1])
        yield from self._classes(clean, labels)

    def _classes(self, clean, labels):
        listed = min(self.neighbours, len(self.train_features))
        lists = np.concatenate([found for *_, found in nearest(self.train_features, clean, listed)])
        voting, judged = has_label(self.train_labels), has_label(labels)
        if not (voting.any() and judged.any()):
            return
        voters, of_voters, labels = self.train_features[voting], self.train_labels[voting], labels[judged]
        kind = kind_of(of_voters, labels)
        answers = knn_answers(voters, of_voters, clean[judged], (self.k,), self.temperature)[self.k]
        how = {"k": min(self.k, len(voters)), "temperature": self.temperature}
        worst = None
        for score in kind.class_scores(answers, labels, of_voters, **how):
            if worst is None or score.value < worst.value:
                worst = score
            yield score
        if worst is None:  # No class has both training and test images.
            return
        arrays = {**kind.confusion(answers, labels, of_voters), "neighbours": lists}
        how["worst"] = worst.protocol["class"]
        yield Score("quality/worst_class", worst.value, None, None, arrays, **how)
