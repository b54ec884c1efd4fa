"""Several labels per image: mean average precision, and a separate classifier for each class."""

from __future__ import annotations

import warnings

import numpy as np
from scipy.sparse import csr_matrix
from scipy.special import expit

from keras_leoclr.evaluation import average_precision, binary_regression, label_draws
from keras_leoclr.evaluation.label_kinds import LabelKind
from keras_leoclr.evaluation.scores import Score, ranking_arrays


class SeveralLabels(LabelKind):
    """Labels (N, C): mean average precision, one sigmoid and binary cross-entropy for each class.

    A class that no training image or no test image has is left out of the mean, and the scores list it.
    """

    measures = ("map",)
    probe = "probe_map"
    agreement = ("a class in common", "none")
    target_dtype = "float32"
    decay_path = staticmethod(binary_regression.decay_path)
    held_out = staticmethod(label_draws.share_of_each_label)

    def check(self, name, labels, count):
        found = np.asarray(labels)
        if found.shape[0] != count or found.dtype.kind not in "iub" or found.min() < 0 or found.max() > 1:
            raise ValueError(
                f"`{name}_labels` with several labels per image must be zeros and ones (N, C), one row for "
                f"each of the {count} rows of `{name}_features`. Received: {found.dtype} {found.shape}, "
                f"from {found.min()} to {found.max()}"
            )

    def check_trainable(self, train_labels, test_labels):
        self.check_classes(train_labels, test_labels)

    def check_classes(self, train_labels, test_labels):
        left_out = self.left_out(train_labels, test_labels)
        if not self.can_be_judged(train_labels, test_labels):
            raise ValueError(
                "`train_labels` and `test_labels` must have a class that images of both have. "
                f"Received: none of {train_labels.shape[1]} classes"
            )
        if len(left_out):
            warnings.warn(
                f"{len(left_out)} of {train_labels.shape[1]} classes are left out of the mean average "
                "precision, as no training image or no test image has them: the classes "
                f"{', '.join(map(str, left_out[:10]))}{' and others' if len(left_out) > 10 else ''}.",
                stacklevel=4,
            )

    def left_out(self, *labels: np.ndarray) -> np.ndarray:
        """The numbers of the classes that are missing in at least one of the arrays of labels (N, C)."""
        return np.flatnonzero(~np.all([np.any(each, axis=0) for each in labels], axis=0))

    def can_be_judged(self, train_labels, test_labels):
        return len(self.left_out(train_labels, test_labels)) < train_labels.shape[1]

    def classes(self, *labels):
        return labels[0].shape[1]

    def counts(self, labels):
        sums = np.sum(labels, axis=0, dtype=int)
        return np.flatnonzero(sums), sums[sums > 0]

    def votes(self, neighbours, weights, labels):
        starts = np.arange(len(weights) + 1) * weights.shape[1]
        weights = np.asarray(weights, "float64")
        shares = weights / weights.sum(axis=1, keepdims=True)
        matrix = csr_matrix((shares.ravel(), neighbours.ravel(), starts), (len(weights), len(labels)))
        # Equal shares must not differ by rounding errors, because images with equal scores are judged
        # together.
        return np.round(matrix @ np.asarray(labels, "float64"), 9).astype("float32")

    def answers(self, scores):
        return scores

    def best(self, answers):
        return answers.argmax(axis=1)

    def first(self, labels):
        return np.where(np.any(labels, axis=-1), np.argmax(labels, axis=-1), -1)

    def numbers(self, labels):
        return np.flatnonzero(labels).tolist()

    def share_one(self, labels, others):
        return np.any(np.logical_and(labels, others), axis=-1)

    def judged(self, answers, labels, train_labels):
        left_out = self.left_out(train_labels, labels)
        each = average_precision.average_precisions(answers, labels)
        value = float(np.delete(each, left_out).mean())
        return {"map": value, "average_precision": each.tolist(), "left_out": left_out.tolist()}

    def value(self, scores, labels):
        value = average_precision.mean_average_precision(scores, labels)
        return -1.0 if np.isnan(value) else value

    def notes(self, labels, train_labels):
        left_out = self.left_out(train_labels, labels)
        return {"left_out": left_out.tolist()} if len(left_out) else {}

    def scores(self, name, answers, labels, train_labels, /, **how):
        yield self._score(name, answers, labels, train_labels, ranking_arrays(answers, labels), how)

    def curve(self, name, answers, labels, train_labels, /, **how):
        yield self._score(name, answers, labels, train_labels, None, how)

    def mean_scores(self, name, answers, labels, train_labels, /, **how):
        return iter(())  # Mean average precision already is the mean over the classes.

    def class_scores(self, answers, labels, train_labels, /, **how):
        each = average_precision.average_precisions(answers, labels)
        intervals = average_precision.class_intervals(answers, labels)
        for label in np.setdiff1d(np.arange(len(each)), self.left_out(train_labels, labels)):
            own = {"class": int(label), "images": int(np.sum(labels[:, label], dtype=int))}
            yield Score("quality/average_precision", each[label], intervals[label], **how, **own)

    def confusion(self, answers, labels, train_labels):
        return {}  # With several labels, an image of two classes does not mean that they are confused.

    def chance(self, labels):
        shares = np.mean(labels, axis=0)
        if not shares.any():
            return None
        return float(shares[shares > 0].mean()), "an order of the images that does not depend on them"

    def errors(self, logits, labels):
        return expit(logits) - labels

    def some(self, labels, per_class, rng):
        return label_draws.at_least_of_each_label(labels, per_class, rng)

    def keras_loss(self):
        import keras  # It is imported here because evaluating features does not need Keras.

        def summed_binary_crossentropy(labels, logits):
            each = keras.ops.binary_crossentropy(labels, logits, from_logits=True)
            return keras.ops.sum(each, axis=-1)

        return summed_binary_crossentropy

    def _score(self, name, answers, labels, train_labels, arrays, how):
        judged = np.ones(labels.shape[1], bool)
        judged[self.left_out(train_labels, labels)] = False
        value = average_precision.mean_average_precision(answers, labels, judged)
        spread = average_precision.mean_interval(answers, labels, judged)
        how = how | {"images": len(labels), "classes": int(judged.sum())} | self.notes(labels, train_labels)
        return Score(f"{name}/map", value, spread, None, arrays, **how)
