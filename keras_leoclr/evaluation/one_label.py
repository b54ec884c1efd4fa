"""One label per image: it is judged by accuracy and learned with softmax and cross-entropy."""

from __future__ import annotations

import warnings

import numpy as np

from keras_leoclr.evaluation import label_draws, softmax_regression
from keras_leoclr.evaluation.label_kinds import LabelKind
from keras_leoclr.evaluation.scores import Score, accuracy_scores
from keras_leoclr.evaluation.statistics import accuracies, best_classes, mean_per_class, per_class

MOST_FREQUENT = "always naming the most frequent class"


class OneLabel(LabelKind):
    """Labels (N,): accuracy of the best class and of the five best classes, softmax and cross-entropy."""

    measures = ("top1", "top5")
    probe = "online_linear_top1"
    agreement = ("the same class", "another one")
    target_dtype = "int32"
    decay_path = staticmethod(softmax_regression.decay_path)
    held_out = staticmethod(label_draws.share_of_each_class)

    def check(self, name, labels, count):
        if np.shape(labels) != (count,) or np.asarray(labels).dtype.kind not in "iu":
            raise ValueError(
                f"`{name}_labels` must be integers, one for each of the {count} rows of "
                f"`{name}_features`. Received: {np.asarray(labels).dtype} {np.shape(labels)}"
            )
        if np.min(labels) < 0:
            raise ValueError(f"`{name}_labels` must be >= 0. Received: {np.min(labels)}")

    def check_trainable(self, train_labels, test_labels):
        missing = np.setdiff1d(test_labels, train_labels)
        if len(missing):
            raise ValueError(
                f"`train` must have images of every class of `test`. Received: none of {missing[:5].tolist()}"
            )
        if len(np.unique(train_labels)) < 2:
            raise ValueError(f"`train` must have two classes or more. Received: only {train_labels[0]}")

    def check_classes(self, train_labels, test_labels):
        known = np.unique(train_labels)
        if len(known) < 2:
            raise ValueError(
                "`train_labels` must be of two classes or more. "
                f"Received: {len(train_labels)} times {known[0]}"
            )
        unknown = np.setdiff1d(test_labels, known)
        if len(unknown):
            images = int(np.isin(test_labels, unknown).sum())
            warnings.warn(
                f"{images} of {len(test_labels)} test images are of {len(unknown)} classes that "
                f"`train_labels` lacks, such as {unknown[0]}: they count as wrong, and no accuracy can be "
                f"above {1 - images / len(test_labels):.1%}.",
                stacklevel=4,
            )

    def can_be_judged(self, train_labels, test_labels):
        return len(np.unique(train_labels)) > 1 and len(test_labels) > 0

    def classes(self, *labels):
        return max(int(np.max(each)) for each in labels) + 1

    def counts(self, labels):
        return np.unique(labels, return_counts=True)

    def votes(self, neighbours, weights, labels):
        classes = self.classes(labels)
        cells = np.arange(len(weights))[:, None] * classes + labels[neighbours]
        votes = np.bincount(cells.ravel(), weights.ravel(), minlength=len(weights) * classes)
        return votes.reshape(-1, classes)

    def answers(self, scores):
        return best_classes(scores)

    def voted(self, votes, k):
        return best_classes(votes)[:, :k]  # No more than k classes have a vote; the order of others is none.

    def best(self, answers):
        return answers[:, 0]

    def first(self, labels):
        return labels

    def numbers(self, labels):
        return [int(labels)] if labels >= 0 else []

    def share_one(self, labels, others):
        return labels == others

    def judged(self, answers, labels, train_labels):
        return accuracies(answers, labels)

    def value(self, scores, labels):
        return float((scores.argmax(-1) == labels).mean())

    def notes(self, labels, train_labels):
        unknown = np.setdiff1d(labels, train_labels)
        return {"test_only_classes": unknown.tolist()} if len(unknown) else {}

    def scores(self, name, answers, labels, train_labels, /, **how):
        return accuracy_scores(name, answers, labels, **how, **self.notes(labels, train_labels))

    def curve(self, name, answers, labels, train_labels, /, **how):
        return accuracy_scores(name, answers, labels, (1,), **how)

    def mean_scores(self, name, answers, labels, train_labels, /, **how):
        value, interval = mean_per_class(answers[:, 0] == labels, labels)
        yield Score(f"{name}/mean_per_class", value, interval, **how, **self.notes(labels, train_labels))

    def class_scores(self, answers, labels, train_labels, /, **how):
        accuracy, counts = per_class(answers[:, 0] == labels, labels)
        for label in np.flatnonzero(counts):
            own = {"class": int(label), "images": int(counts[label])}
            yield Score("quality/class_accuracy", accuracy[label], **how, **own)

    def confusion(self, answers, labels, train_labels):
        classes = self.classes(labels, train_labels)
        cells = np.bincount(labels * classes + answers[:, 0], minlength=classes**2)
        return {"confusion": cells.reshape(classes, classes)}

    def chance(self, labels):
        labels = labels[labels >= 0]  # -1 marks an image without a label.
        if not len(labels):
            return None
        return float(np.bincount(labels).max() / len(labels)), MOST_FREQUENT

    def errors(self, logits, labels):
        probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        probabilities[np.arange(len(labels)), labels] -= 1.0
        return probabilities

    def some(self, labels, per_class, rng):
        counts = ((label, per_class) for label in np.unique(labels))
        return label_draws.of_each_class(labels, counts, rng)

    def keras_loss(self):
        import keras  # It is imported here because evaluating features does not need Keras.

        return keras.losses.SparseCategoricalCrossentropy(from_logits=True)
