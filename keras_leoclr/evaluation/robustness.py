"""Accuracy on changed test images: cropped, shrunk, occluded or corrupted."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from keras_leoclr.data.parts import has_label
from keras_leoclr.evaluation import corruptions
from keras_leoclr.evaluation.batches import clean_view, labelled_batches
from keras_leoclr.evaluation.feature_checks import check_features
from keras_leoclr.evaluation.features import extract_features
from keras_leoclr.evaluation.image_evaluators import FittedToFeatures
from keras_leoclr.evaluation.labels import kind_of
from keras_leoclr.evaluation.linear_on_features import fit_linear
from keras_leoclr.evaluation.neighbour_votes import knn_answers
from keras_leoclr.evaluation.scores import Score
from keras_leoclr.tensorflow_host import tf
from keras_leoclr.views.preprocessing import Preprocessing

SHARES = {
    "centre_crop": (0.75, 0.5, 0.25, 0.1),  # share of the image's area that is left
    "random_crop": (0.75, 0.5, 0.25, 0.1),
    "shrink": (0.75, 0.5, 0.25, 0.1),
    "occlusion": (0.05, 0.1, 0.2, 0.4, 0.6),  # share of the image's area that is covered
}


def strengths(changes: Sequence[str] | None, views: Preprocessing) -> dict[str, tuple[float, ...]]:
    """The strengths of each change, weakest first.

    Args:
        changes: names of changes; None, or none, for all.
        views: size and channels of the images.

    Raises:
        ValueError: if a name is unknown.
    """
    known = {**SHARES, **corruptions.strengths(views.image_size, len(views.mean))}
    if unknown := sorted(set(changes or ()) - set(known)):
        raise ValueError(f"`changes` must be some of {', '.join(known)}. Received: {', '.join(unknown)}")
    return {name: known[name] for name in changes or known}


@dataclasses.dataclass(eq=False, repr=False)
class Robustness(FittedToFeatures):
    """Accuracy of kNN and linear classifiers as a function of the strength of a change to the test images.

    Both classifiers are fitted to features of unchanged training images.

    Args:
        backbone: (B, S, S, 3) -> (B, F), or feature maps.
        train_features: (N, F) features of unchanged training images.
        train_labels: (N,), or (N, C) for several labels per image.
        test: source of test images and labels, see `data.load`.
        views: a `Preprocessing`, or views such as `LeOCLRViews`: size, mean and deviation of the images.
        changes: any of centre_crop, random_crop, shrink, occlusion and, see `evaluation.corruptions`,
            gaussian_noise, shot_noise, gaussian_blur, contrast, brightness, jpeg; None (the default) for all.
        k: number of neighbours that vote; 20 by default.
        temperature: temperature of the votes; 0.07 by default.
        batch_size: images per call of the backbone; 256 by default.
        seed: seed of the crops, patches and noise, and of the linear classifier's held-out part; 0 by
            default.
        verbose: whether to show progress bars; false by default.
        test_set: features (M, F) and labels (M,) or (M, C) of the unchanged images of `test`, as
            `extract_features` returns them; computed by default.

    `run` yields robustness/knn/top1 and robustness/linear/top1. Those of the unchanged images have the
    `change` "none". Those of each change have `change`, `strength`, `severity` (1 is the weakest) and
    `clean`, the value for unchanged images. robustness/knn/mean and robustness/linear/mean follow, the means
    over its strengths. With several labels per image, mean average precision replaces accuracy:
    robustness/knn/map and robustness/linear/map.
    """

    changes: Sequence[str] | None = None
    k: int = 20
    temperature: float = 0.07
    batch_size: int = 256
    seed: int = 0
    verbose: bool = False
    test_set: tuple[np.ndarray, np.ndarray] | None = None

    def __post_init__(self):
        super().__post_init__()
        self.strengths = strengths(self.changes, self.views)
        self.train_features, self.train_labels = self._known(self.train_features, self.train_labels)
        self.changes = tuple(self.strengths)

    def run(self) -> Iterator[Score]:
        clean_set = self.test_set or self._features(clean_view(self.views))
        features, labels = self._known(*clean_set)
        check_features(self.train_features, self.train_labels, features, labels)
        linear = fit_linear(self.train_features, self.train_labels, seed=self.seed)
        clean = {}
        for score in self._scores(linear, features, labels, change="none", strength=0.0, severity=0):
            clean[score.name] = score.value
            yield score
        for change, values in self.strengths.items():
            curves = {name: [] for name in clean}
            for severity, strength in enumerate(values, 1):
                features, labels = self._known(*self._features(self._view(change, strength)))
                how = {"change": change, "strength": strength, "severity": severity}
                for score in self._scores(linear, features, labels, **how):
                    score.protocol["clean"] = clean[score.name]
                    curves[score.name].append(score.value)
                    yield score
            for name, curve in curves.items():
                how = {"change": change, "clean": clean[name], "strengths": values, "seed": self.seed}
                yield Score(f"{name.rpartition('/')[0]}/mean", np.mean(curve), **how)

    @staticmethod
    def _known(features, labels):
        """The features and labels of the images that have a label."""
        known = has_label(labels)
        return (features, labels) if known.all() else (features[known], labels[known])

    def _features(self, view):
        batches = labelled_batches(self.test, view, self.batch_size, self.seed)
        return extract_features(self.backbone, batches, self.verbose)

    def _scores(self, linear, features, labels, **how):
        kind, k = kind_of(labels), self.k
        votes = knn_answers(self.train_features, self.train_labels, features, (k,), self.temperature)[k]
        of_knn = {"k": min(k, len(self.train_features)), "temperature": self.temperature}
        of_linear = {"weight_decay": linear.weight_decay}
        how["seed"] = self.seed
        answers = kind.answers(linear.scores(features))
        yield from kind.curve("robustness/knn", votes, labels, self.train_labels, **of_knn, **how)
        yield from kind.curve("robustness/linear", answers, labels, self.train_labels, **of_linear, **how)

    def _view(self, change, strength):
        """A function that makes changed images: it resizes to pixels, applies the change and normalises."""
        if change == "random_crop":
            return clean_view(self.views, (strength, strength))
        mean, std = (255.0 * np.array(three) for three in (self.views.mean, self.views.std))
        whole = clean_view(self.views, normalised=False)

        def view(images, seed):
            pixels = whole(images, seed)
            if change == "occlusion":
                pixels = corruptions.occlude(pixels, strength, seed, mean)
            elif change == "centre_crop":
                pixels = corruptions.centre_crop(pixels, strength)
            elif change == "shrink":
                pixels = corruptions.shrink(pixels, strength, mean)
            else:
                pixels = corruptions.corrupt(pixels, change, strength, seed)
            return (pixels - tf.cast(mean, tf.float32)) / tf.cast(std, tf.float32)

        view.least_pixels = whole.least_pixels
        return view
