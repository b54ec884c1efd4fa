"""Linear classification of frozen features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from keras_leoclr.evaluation.knn import check_features, count_hits

LEARNING_RATES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
WEIGHT_DECAYS = (0.0, 1e-4, 1e-3, 1e-2, 1e-1)


def linear_probe(
    train_features: np.ndarray,
    train_labels: np.ndarray,
    test_features: np.ndarray,
    test_labels: np.ndarray,
    learning_rates: Sequence[float] = LEARNING_RATES,
    weight_decays: Sequence[float] = WEIGHT_DECAYS,
    epochs: int = 50,
    batch_size: int = 256,
    folds: int = 1,
    held_out: float = 0.2,
    seed: int = 0,
) -> dict[str, float]:
    """Accuracy of a linear classifier on features.

    Features are standardised with the training set's mean and deviation. A softmax classifier is
    trained by SGD with Nesterov momentum 0.9 and a cosine schedule, for every pair of a learning rate
    and a weight decay at once. The pair is chosen on a class-balanced part that is held out of the
    training set; the classifier is then trained anew on all of it. The test set takes no part in the
    choice.

    Args:
        train_features: (N, F).
        train_labels: (N,), integers >= 0.
        test_features: (M, F).
        test_labels: (M,), integers >= 0.
        learning_rates: candidates, > 0.
        weight_decays: candidates, >= 0, coefficients of half the squared weights.
        epochs: passes over the training set.
        batch_size: features per step.
        folds: how many times a part is held out for the choice; more for small training sets.
        held_out: share of each class that is held out, in (0, 1).
        seed: of the held-out parts and of the order of the batches.

    Returns:
        `{"top1", "top5", "learning_rate", "weight_decay", "held_out_top1"}`; accuracies in [0, 1].
    """
    check_features(train_features, train_labels, test_features, test_labels)
    if len(learning_rates) == 0 or min(learning_rates) <= 0:
        raise ValueError(f"`learning_rates` must be numbers > 0. Received: {learning_rates}")
    if len(weight_decays) == 0 or min(weight_decays) < 0:
        raise ValueError(f"`weight_decays` must be numbers >= 0. Received: {weight_decays}")
    if not 0 < held_out < 1:
        raise ValueError(f"`held_out` must be in (0, 1). Received: held_out={held_out}")
    classes = int(max(train_labels.max(), test_labels.max())) + 1
    mean, std = train_features.mean(0), np.maximum(train_features.std(0), 1e-6)
    train, test = ((x - mean) / std for x in (train_features, test_features))
    rates, decays = (g.ravel() for g in np.meshgrid(learning_rates, weight_decays, indexing="ij"))
    rng = np.random.default_rng(seed)

    def fit(rows, rates, decays):
        return _train(
            train[rows], train_labels[rows], classes, rates, decays, epochs, min(batch_size, len(rows)), rng
        )

    accuracy = np.zeros(len(rates))
    for _ in range(folds):
        validation = _balanced_sample(train_labels, held_out, rng)
        weights, bias = fit(np.flatnonzero(~validation), rates, decays)
        scores = np.einsum("nf,hfc->hnc", train[validation], weights, optimize=True) + bias
        accuracy += (scores.argmax(-1) == train_labels[validation]).mean(-1) / folds
    best = int(accuracy.argmax())
    weights, bias = fit(np.arange(len(train)), rates[best : best + 1], decays[best : best + 1])
    top1, top5 = count_hits(test @ weights[0] + bias[0], test_labels)
    return {
        "top1": top1 / len(test),
        "top5": top5 / len(test),
        "learning_rate": float(rates[best]),
        "weight_decay": float(decays[best]),
        "held_out_top1": float(accuracy[best]),
    }


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
        `{"top1", "top5", "top1_std"}`, means over the draws and the standard deviation of `top1`.
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
        "top1_std": float(np.std(top1, ddof=1)) if draws > 1 else 0.0,
    }


def _balanced_sample(labels, share, rng) -> np.ndarray:
    """Boolean mask of `share` of every class, at least one of each class with two or more."""
    mask = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        count = max(1, round(share * len(rows))) if len(rows) > 1 else 0
        mask[rows[:count]] = True
    return mask


def _train(features, labels, classes, rates, decays, epochs, batch_size, rng):
    """Softmax regression for H pairs of rate and decay at once.

    Returns:
        weights (H, F, C) and biases (H, 1, C).
    """
    features = features.astype("float32")
    count, width = features.shape
    pairs = len(rates)
    # the last row is the bias
    inputs = np.concatenate([features, np.ones((count, 1), "float32")], axis=1)
    targets = np.eye(classes, dtype="float32")[labels]
    weights = np.zeros((width + 1, pairs, classes), "float32")
    velocity = np.zeros_like(weights)
    rates = np.asarray(rates, "float32")[:, None]
    decay = np.broadcast_to(np.asarray(decays, "float32")[:, None], weights.shape).copy()
    decay[-1] = 0.0
    steps = max(1, count // batch_size)
    for epoch in range(epochs):
        order = rng.permutation(count)
        for step in range(steps):
            rows = order[step * batch_size : (step + 1) * batch_size]
            rate = rates * 0.5 * (1.0 + np.cos(np.pi * (epoch * steps + step) / (epochs * steps)))
            x = inputs[rows]
            logits = (x @ weights.reshape(width + 1, -1)).reshape(len(rows), pairs, classes)
            logits -= logits.max(-1, keepdims=True)
            np.exp(logits, out=logits)
            logits /= logits.sum(-1, keepdims=True)
            logits -= targets[rows][:, None]
            gradient = (x.T @ logits.reshape(len(rows), -1)).reshape(weights.shape) / len(rows)
            gradient += decay * weights
            velocity *= 0.9
            velocity -= rate * gradient
            weights += 0.9 * velocity - rate * gradient
    weights = weights.transpose(1, 0, 2)
    return weights[:, :-1], weights[:, -1:]
