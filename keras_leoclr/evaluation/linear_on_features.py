"""Linear classification of frozen features, fitted to all of them at once: `linear_probe`, `fit_linear`.

The protocol of MoCo and the paper, a head trained by SGD on crops of images, is in `linear_on_crops`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_leoclr.checks import whole_number
from keras_leoclr.evaluation.feature_checks import check_features
from keras_leoclr.evaluation.softmax_regression import decay_path, principal_directions
from keras_leoclr.evaluation.statistics import accuracies, best_classes, mean_of_runs

# 1 to 1e-6 in steps of the square root of 10
WEIGHT_DECAYS = tuple(float(f"{10 ** (-half / 2):.3g}") for half in range(13))
PATIENCE = 3  # decays in a row that bring nothing end the search: the smaller, the slower


@dataclasses.dataclass(frozen=True)
class LinearClassifier:
    """A softmax classifier of standardised features.

    Attributes:
        mean: (F,), of the training features.
        std: (F,), their standard deviation.
        weights: (F, C), for standardised features.
        bias: (C,).
        weight_decay: the one that was chosen.
        held_out_top1: accuracy in [0, 1] on the held-out part that it was chosen by; -1 if there was no
            choice.
    """

    mean: np.ndarray
    std: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    weight_decay: float
    held_out_top1: float

    def ranking(self, features: np.ndarray) -> np.ndarray:
        """The five best classes (M, min(5, C)) of features (M, F), best first."""
        return best_classes((features - self.mean) / self.std @ self.weights + self.bias)


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

    `LinearProbe` is the protocol of MoCo and the paper instead: a head trained by SGD on crops of images.

    Args:
        train_features: (N, F).
        train_labels: (N,), integers >= 0.
        test_features: (M, F).
        test_labels: (M,), integers >= 0.
        weight_decays: candidates, >= 0.
        folds: how many times a part is held out for the choice; more for small training sets.
        held_out: share of each class that is held out, in (0, 1).
        seed: of the held-out parts.

    Returns:
        `{"top1", "top5", "learning_rate", "weight_decay", "held_out_top1"}`; accuracies in [0, 1]. The
        learning rate is that of L-BFGS's full step, 1: there is none to choose.
    """
    check_features(train_features, train_labels, test_features, test_labels)
    classifier = fit_linear(train_features, train_labels, weight_decays, folds, held_out, seed)
    return {
        **accuracies(classifier.ranking(test_features), test_labels),
        "learning_rate": 1.0,
        "weight_decay": classifier.weight_decay,
        "held_out_top1": classifier.held_out_top1,
    }


def fit_linear(
    features: np.ndarray,
    labels: np.ndarray,
    weight_decays: Sequence[float] = WEIGHT_DECAYS,
    folds: int = 1,
    held_out: float = 0.2,
    seed: int = 0,
) -> LinearClassifier:
    """Fits a softmax classifier to standardised features, its weight decay chosen on a held-out part.

    Features are standardised with their mean and deviation. For every weight decay,

        mean cross-entropy + weight_decay / 2 * sum(weights ** 2)

    is minimised on all but a class-balanced part of the training set; the decay with the best accuracy
    there, of equal ones the largest, is used on all of it; three in a row that are no better end the
    search, which goes from the largest down. This is scikit-learn's `LogisticRegression`
    with `C = 1 / (weight_decay * N)`.

    Args:
        features: (N, F).
        labels: (N,), integers >= 0.
        weight_decays: candidates, >= 0.
        folds: how many times a part is held out for the choice.
        held_out: share of each class that is held out, in (0, 1).
        seed: of the held-out parts.
    """
    if len(weight_decays) == 0 or min(weight_decays) < 0:
        raise ValueError(f"`weight_decays` must be numbers >= 0. Received: {weight_decays}")
    if not 0 < held_out < 1:
        raise ValueError(f"`held_out` must be in (0, 1). Received: held_out={held_out}")
    whole_number("folds", folds, 1)
    decays = sorted(map(float, weight_decays), reverse=True)
    mean, std = features.mean(0), np.maximum(features.std(0), 1e-6)
    centred = np.asarray((features - mean) / std, "float32")
    directions, variances = principal_directions(centred)
    inputs = centred @ directions
    classes = int(np.max(labels)) + 1
    rng = np.random.default_rng(seed)
    parts = [balanced_sample(labels, held_out, rng) for _ in range(folds if len(decays) > 1 else 0)]
    paths = [decay_path(inputs[~part], variances, labels[~part], classes, decays) for part in parts]
    best, best_accuracy, start = 0, -1.0, None
    for number, solutions in enumerate(zip(*paths, strict=True)):
        accuracy = np.mean(
            [
                ((inputs[part] @ weights[:-1] + weights[-1]).argmax(-1) == labels[part]).mean()
                for part, weights in zip(parts, solutions, strict=True)
            ]
        )
        if accuracy > best_accuracy:
            best, best_accuracy, start = number, float(accuracy), solutions[-1]
        elif number - best == PATIENCE:
            break
    (weights,) = decay_path(inputs, variances, labels, classes, decays[best : best + 1], start)
    return LinearClassifier(mean, std, directions @ weights[:-1], weights[-1], decays[best], best_accuracy)


def linear_probe_few_labels(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    test_labels: np.ndarray,
    per_class: int = 10,
    draws: int = 5,
    seed: int = 0,
) -> dict[str, float]:
    """`linear_probe` on a few labelled images per class, mean over random draws of them.

    Args:
        train_features: (N, F).
        train_labels: (N,), integers >= 0.
        test_features: (M, F).
        test_labels: (M,), integers >= 0.
        per_class: labelled images of each class, at most as many as the smallest class has.
        draws: how many times they are drawn.
        seed: of the draws.

    Returns:
        `{"top1", "top5", "top1_std", "top1_draws"}`: means over the draws, the standard deviation of
        `top1`, and `top1` of each draw.
    """
    check_features(train_features, train_labels, test_features, test_labels)
    labels, counts = np.unique(train_labels, return_counts=True)
    if not 2 <= per_class <= counts.min():
        raise ValueError(
            f"`per_class` must be from 2 to {counts.min()}, the size of the smallest class. "
            f"Received: per_class={per_class}"
        )
    rng = np.random.default_rng(seed)
    results = []
    for draw in range(draws):
        rows = np.concatenate(
            [rng.choice(np.flatnonzero(train_labels == c), per_class, replace=False) for c in labels]
        )
        results.append(
            linear_probe(
                train_features[rows],
                train_labels[rows],
                test_features,
                test_labels,
                folds=5,
                seed=seed + draw,
            )
        )
    top1 = [r["top1"] for r in results]
    return {
        "top1": float(np.mean(top1)),
        "top5": float(np.mean([r["top5"] for r in results])),
        "top1_std": mean_of_runs(top1)[1],
        "top1_draws": top1,
    }


def balanced_sample(labels: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Boolean mask of `share` of every class, at least one of each class with two or more."""
    mask = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        count = max(1, round(share * len(rows))) if len(rows) > 1 else 0
        mask[rows[:count]] = True
    return mask
