"""Linear classification of frozen features, fitted to all of them at once: `linear_probe`, `fit_linear`.

The protocol of MoCo and of LeOCLR's paper, a head trained by SGD on crops, is in `linear_on_crops`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_leoclr.checks import whole_number
from keras_leoclr.evaluation.feature_checks import check_features
from keras_leoclr.evaluation.labels import kind_of
from keras_leoclr.evaluation.softmax_regression import principal_directions
from keras_leoclr.evaluation.statistics import best_classes, mean_of_runs

# The candidates go from 1 down to 1e-6 in steps of the square root of 10.
WEIGHT_DECAYS = tuple(float(f"{10 ** (-half / 2):.3g}") for half in range(13))
PATIENCE = 3  # The search ends after so many decays without a gain, since smaller decays take longer.


@dataclasses.dataclass(frozen=True)
class LinearClassifier:
    """A linear classifier of standardised features.

    Attributes:
        mean: (F,), mean of the training features.
        std: (F,), standard deviation of the training features.
        weights: (F, C), weights for standardised features.
        bias: (C,), bias of each class.
        weight_decay: the weight decay that was chosen.
        held_out: value of `measure` in [0, 1] on the held-out part; -1 if there was no choice to make.
        measure: "top1", or "map" for several labels per image.
    """

    mean: np.ndarray
    std: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    weight_decay: float
    held_out: float
    measure: str = "top1"

    @property
    def choice(self) -> dict[str, float]:
        """The chosen weight decay, and `held_out_top1` or `held_out_map`, the value it was chosen by."""
        return {"weight_decay": self.weight_decay, f"held_out_{self.measure}": self.held_out}

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Computes logits (M, C) of features (M, F)."""
        return (features - self.mean) / self.std @ self.weights + self.bias

    def ranking(self, features: np.ndarray) -> np.ndarray:
        """The five best classes (M, min(5, C)) of features (M, F), best first."""
        return best_classes(self.scores(features))


def linear_probe(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    test_labels: np.ndarray,
    weight_decays: Sequence[float] = WEIGHT_DECAYS,
    folds: int = 1,
    held_out: float = 0.2,
    seed: int = 0,
) -> dict[str, float]:
    """Accuracy of a linear classifier that is fitted to all features at once, see `fit_linear`.

    The protocol of MoCo and of LeOCLR's paper, a head trained by SGD on crops, is `LinearProbe`.

    Args:
        train_features: (N, F) features of the training images.
        train_labels: (N,), integers >= 0; or (N, C), zeros and ones, for several labels per image.
        test_features: (M, F) features of the test images.
        test_labels: (M,), or (M, C), of the same kind as the training labels.
        weight_decays: candidates for the weight decay, >= 0; 1 to 1e-6 by default.
        folds: number of times that a part is held out for the choice, 1 by default; use more for small sets.
        held_out: share of each class that is held out, in (0, 1); 0.2 by default.
        seed: seed of the held-out parts; 0 by default.

    Returns:
        `{"top1", "top5", "learning_rate", "weight_decay", "held_out_top1"}`; accuracies are in [0, 1]. The
        learning rate is always 1, the full step of L-BFGS. With several labels per image
        `{"map", "average_precision", "left_out", "learning_rate", "weight_decay", "held_out_map"}`; see `knn`
        for the first three.
    """
    check_features(train_features, train_labels, test_features, test_labels)
    classifier = fit_linear(train_features, train_labels, weight_decays, folds, held_out, seed)
    kind = kind_of(train_labels)
    answers = kind.answers(classifier.scores(test_features))
    return {**kind.judged(answers, test_labels, train_labels), "learning_rate": 1.0, **classifier.choice}


def fit_linear(
    features: np.ndarray,
    labels: np.ndarray,
    weight_decays: Sequence[float] = WEIGHT_DECAYS,
    folds: int = 1,
    held_out: float = 0.2,
    seed: int = 0,
) -> LinearClassifier:
    """Fits a linear classifier to standardised features; its weight decay is chosen on a held-out part.

    Features are standardised with their mean and standard deviation. For every weight decay,

        mean cross-entropy + weight_decay / 2 * sum(weights ** 2)

    is minimised on the training set without a held-out, class-balanced part. The decay with the best accuracy
    on that part, the largest of equal ones, is then used on the whole training set. The search goes from the
    largest decay down and ends after three decays in a row without a gain. The classifier is that of
    scikit-learn's `LogisticRegression` with `C = 1 / (weight_decay * N)`.

    With several labels per image, the cross-entropy is the sum of the binary cross-entropies of the classes:
    each class is a logistic regression. All share one weight decay, the one with the best mean average
    precision on the held-out part.

    Args:
        features: (N, F) features of the training images.
        labels: (N,), integers >= 0; or (N, C), zeros and ones, for several labels per image.
        weight_decays: candidates for the weight decay, >= 0; 1 to 1e-6 by default.
        folds: number of times that a part is held out for the choice; 1 by default.
        held_out: share of each class that is held out, in (0, 1); 0.2 by default.
        seed: seed of the held-out parts; 0 by default.
    """
    if len(weight_decays) == 0 or min(weight_decays) < 0:
        raise ValueError(f"`weight_decays` must be numbers >= 0. Received: {weight_decays}")
    if not 0 < held_out < 1:
        raise ValueError(f"`held_out` must be in (0, 1). Received: held_out={held_out}")
    whole_number("folds", folds, 1)
    decays = sorted(map(float, weight_decays), reverse=True)
    features = _in_float32(features)
    mean, std = features.mean(0), np.maximum(features.std(0), 1e-6)
    centred = np.asarray((features - mean) / std, "float32")
    directions, variances = principal_directions(centred)
    inputs = centred @ directions
    kind = kind_of(labels)
    classes = kind.classes(labels)
    rng = np.random.default_rng(seed)
    parts = [kind.held_out(labels, held_out, rng) for _ in range(folds if len(decays) > 1 else 0)]
    parts = [part for part in parts if part.any()]  # Nothing is held out if each class has a single image.
    paths = [kind.decay_path(inputs[~part], variances, labels[~part], classes, decays) for part in parts]
    best, best_value, start = 0, -1.0, None
    for number, solutions in enumerate(zip(*paths, strict=True)):
        value = np.mean(
            [
                kind.value(inputs[part] @ weights[:-1] + weights[-1], labels[part])
                for part, weights in zip(parts, solutions, strict=True)
            ]
        )
        if value > best_value:
            best, best_value, start = number, float(value), solutions[-1]
        elif number - best == PATIENCE:
            break
    (weights,) = kind.decay_path(inputs, variances, labels, classes, decays[best : best + 1], start)
    weights, bias = directions @ weights[:-1], weights[-1]
    return LinearClassifier(mean, std, weights, bias, decays[best], best_value, kind.measure)


def _in_float32(features: np.ndarray) -> np.ndarray:
    """The features; those in half precision as float32, since sums over them would overflow or be rounded."""
    low = features.dtype.itemsize < 4 and features.dtype.kind not in "iub"
    return np.asarray(features, "float32") if low else features


def linear_probe_few_labels(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    test_labels: np.ndarray,
    per_class: int = 10,
    draws: int = 5,
    seed: int = 0,
) -> dict[str, float]:
    """Runs `linear_probe` on a few labelled images per class and averages over random draws of them.

    With several labels per image, classes are processed from the rarest to the most frequent; for each,
    images that have it are drawn until `per_class` of the drawn images do. Images that were drawn for an
    earlier class count, so a class has `per_class` positive images or more. All labels of a drawn image are
    used.

    Args:
        train_features: (N, F) features of the training images.
        train_labels: (N,), integers >= 0; or (N, C), zeros and ones, for several labels per image.
        test_features: (M, F) features of the test images.
        test_labels: (M,), or (M, C), of the same kind as the training labels.
        per_class: labelled images of each class, at most as many as the smallest class has; 10 by default.
        draws: number of times that labelled images are drawn; 5 by default.
        seed: seed of the draws; 0 by default.

    Returns:
        `{"top1", "top5", "top1_std", "top1_draws", "labelled_images"}`: means over the draws, the standard
        deviation of `top1`, `top1` of each draw, and the mean number of labelled images. With several labels
        per image, `map` replaces `top1` and `top5`.
    """
    check_features(train_features, train_labels, test_features, test_labels)
    kind = kind_of(train_labels)
    smallest = kind.counts(train_labels)[1].min()
    if not 2 <= per_class <= smallest:
        raise ValueError(
            f"`per_class` must be from 2 to {smallest}, the size of the smallest class. "
            f"Received: per_class={per_class}"
        )
    whole_number("draws", draws, 1)
    rng = np.random.default_rng(seed)
    results, sizes = [], []
    for draw in range(draws):
        rows = kind.some(train_labels, per_class, rng)
        part = train_features[rows], train_labels[rows]
        results.append(linear_probe(*part, test_features, test_labels, folds=5, seed=seed + draw))
        sizes.append(len(rows))
    means = {name: float(np.mean([result[name] for result in results])) for name in kind.measures}
    each = [result[kind.measure] for result in results]
    spread = {f"{kind.measure}_std": mean_of_runs(each)[1], f"{kind.measure}_draws": each}
    return {**means, **spread, "labelled_images": float(np.mean(sizes))}
