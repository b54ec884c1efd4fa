"""Evaluators of frozen features: kNN, linear, linear with few labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from keras_leoclr.evaluation.feature_checks import check_features, only_in_test
from keras_leoclr.evaluation.linear_on_features import WEIGHT_DECAYS, fit_linear, linear_probe_few_labels
from keras_leoclr.evaluation.neighbour_votes import knn_ranking
from keras_leoclr.evaluation.scores import Score, accuracy_scores
from keras_leoclr.evaluation.statistics import mean_of_runs, mean_per_class


class _OnFeatures:
    """What the evaluators share: four arrays, checked."""

    def __init__(self, train_features, train_labels, test_features, test_labels):
        check_features(train_features, train_labels, test_features, test_labels)
        self.sets = (train_features, train_labels, test_features, test_labels)
        unknown = only_in_test(train_labels, test_labels)
        self.notes = {"test_only_classes": unknown.tolist()} if len(unknown) else {}


class KNN(_OnFeatures):
    """kNN accuracy, see `evaluation.knn`.

    Args:
        train_features: (N, F).
        train_labels: (N,), integers >= 0.
        test_features: (M, F).
        test_labels: (M,), integers >= 0.
        k: numbers of neighbours, all judged in one pass; those above N are clipped, and both numbers
            written down.
        temperature: of the votes' weights, > 0.
        leave_one_out: judge the training images too, each by the others.

    `run` yields knn/top1 and knn/top5, for leave-one-out knn_train/top1 and knn_train/top5, by k.
    """

    def __init__(
        self,
        train_features: np.ndarray,
        train_labels: np.ndarray,
        test_features: np.ndarray,
        test_labels: np.ndarray,
        k: Sequence[int] = (20,),
        temperature: float = 0.07,
        leave_one_out: bool = False,
    ):
        super().__init__(train_features, train_labels, test_features, test_labels)
        self.k = tuple(k)
        self.temperature = temperature
        self.leave_one_out = leave_one_out

    def run(self) -> Iterator[Score]:
        train, labels, test, test_labels = self.sets
        yield from self._scores("knn", test, test_labels, len(train))
        if self.leave_one_out:
            yield from self._scores("knn_train", None, labels, len(train) - 1)

    def _scores(self, name, queries, labels, most):
        ranked = knn_ranking(self.sets[0], self.sets[1], queries, self.k, self.temperature)
        for k, classes in ranked.items():
            how = {"k": min(k, most), "temperature": self.temperature, **self.notes}
            if k > most:
                how["k_asked"] = k
            yield from accuracy_scores(name, classes, labels, **how)


class Linear(_OnFeatures):
    """Accuracy of softmax regression with a weight decay chosen on held-out training images.

    See `evaluation.fit_linear`.

    Args:
        train_features: (N, F).
        train_labels: (N,), integers >= 0.
        test_features: (M, F).
        test_labels: (M,), integers >= 0.
        weight_decays: candidates.
        seed: of the held-out part.

    `run` yields linear/top1, linear/top5 and linear/mean_per_class.
    """

    def __init__(
        self,
        train_features: np.ndarray,
        train_labels: np.ndarray,
        test_features: np.ndarray,
        test_labels: np.ndarray,
        weight_decays: Sequence[float] = WEIGHT_DECAYS,
        seed: int = 0,
    ):
        super().__init__(train_features, train_labels, test_features, test_labels)
        self.weight_decays = tuple(weight_decays)
        self.seed = seed

    def run(self) -> Iterator[Score]:
        train, labels, test, test_labels = self.sets
        classifier = fit_linear(train, labels, self.weight_decays, seed=self.seed)
        ranked = classifier.ranking(test)
        how = {
            "labels": "all",
            "solver": "lbfgs",
            "weight_decay": classifier.weight_decay,
            "weight_decays_tried": self.weight_decays,
            "held_out_top1": classifier.held_out_top1,
            "seed": self.seed,
            **self.notes,
        }
        yield from accuracy_scores("linear", ranked, test_labels, **how)
        value, interval = mean_per_class(ranked[:, 0] == test_labels, test_labels)
        yield Score("linear/mean_per_class", value, interval, **how)


class FewLabels(_OnFeatures):
    """Linear accuracy with a few labelled images per class, see `evaluation.linear_probe_few_labels`.

    Args:
        train_features: (N, F).
        train_labels: (N,), integers >= 0.
        test_features: (M, F).
        test_labels: (M,), integers >= 0.
        per_class: labelled images of each class.
        draws: how many times they are drawn.
        seed: of the draws.

    `run` yields linear_few/top1 and linear_few/top5, means over the draws; the interval is of that mean.
    """

    def __init__(
        self,
        train_features: np.ndarray,
        train_labels: np.ndarray,
        test_features: np.ndarray,
        test_labels: np.ndarray,
        per_class: int = 10,
        draws: int = 5,
        seed: int = 0,
    ):
        super().__init__(train_features, train_labels, test_features, test_labels)
        self.options = {"per_class": per_class, "draws": draws, "seed": seed}

    def run(self) -> Iterator[Score]:
        result = linear_probe_few_labels(*self.sets, **self.options)
        _, std, interval = mean_of_runs(result["top1_draws"])
        how = {**self.options, "top1_std": std, "solver": "lbfgs", **self.notes}
        yield Score("linear_few/top1", result["top1"], interval, **how)
        yield Score("linear_few/top5", result["top5"], **how)
