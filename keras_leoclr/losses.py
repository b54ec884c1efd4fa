"""The InfoNCE loss and the diagnostics that are reported with it, as pure functions of arrays."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from keras import ops

DIAGNOSTICS = (
    "positive_similarity",
    "negative_similarity",
    "contrast_accuracy",
    "feature_std",
    "loss_to_chance",
)


class Contrast(NamedTuple):
    """The result of comparing queries with their keys and the negatives.

    Attributes:
        loss: (B,) tensor, InfoNCE loss of each query, summed over its V positives.
        positive_similarity: (B, V) tensor, cosine of each query and each of its keys.
        hardest_negative: (B,) tensor, largest cosine of each query and a negative.
    """

    loss: Any
    positive_similarity: Any
    hardest_negative: Any


def info_nce(query: Any, keys: Any, negatives: Any, temperature: float) -> Contrast:
    """Computes the InfoNCE loss of every query, with each of its keys and a shared set of negatives.

    The loss is `sum_v -log( exp(q.k_v / T) / (exp(q.k_v / T) + sum_j exp(q.n_j / T)) )`: MoCo's loss
    (arXiv 1911.05722, equation 1), summed over the V keys as LeOCLR does (arXiv 2403.06813).

    Args:
        query: (B, D) tensor, rows of length 1.
        keys: (B, V, D) tensor, rows of length 1; all V keys are positives of their query.
        negatives: (K, D) tensor, rows of length 1.
        temperature: T > 0.
    """
    # The queries are divided by T before the product: this divides B x D numbers instead of B x K.
    logits = ops.matmul(query / temperature, ops.transpose(negatives))
    return _contrast(query, keys, logits, temperature)


def info_nce_in_batch(
    query: Any, keys: Any, temperature: float, batch_keys: Any = None, first: Any = 0
) -> Contrast:
    """Computes the InfoNCE loss without a queue: the negatives are the keys of the batch's other images.

    Args:
        query: (B, D) tensor, rows of length 1.
        keys: (B, V, D) tensor, rows of length 1; row i holds the positives of query i, which are negatives of
            all other queries.
        temperature: T > 0.
        batch_keys: (N, V, D) tensor, keys of the whole batch, if `keys` are only one device's part of it;
            `keys` by default.
        first: number of the row of `batch_keys` where `keys` begin; 0 by default.
    """
    batch_keys = keys if batch_keys is None else batch_keys
    views, dim = keys.shape[1], keys.shape[2]
    logits = ops.matmul(query / temperature, ops.transpose(ops.reshape(batch_keys, (-1, dim))))
    images = ops.repeat(ops.arange(ops.shape(batch_keys)[0]), views)
    own = images[None, :] == (first + ops.arange(ops.shape(query)[0]))[:, None]
    # -1e9 and not -inf, which would make the gradient of the maximum NaN on some backends.
    logits = ops.where(own, -1e9, logits)
    return _contrast(query, keys, logits, temperature)


def check_batch_has_negatives(keys: Any) -> None:
    """Raises ValueError if the keys (B, V, D) of a batch come from a single image."""
    if keys.shape[0] == 1:
        raise ValueError(
            "`queue_size=0` takes the negatives from the batch, which must hold two images or more. "
            "Received: a batch of 1 image"
        )


def _contrast(query, keys, logits, temperature) -> Contrast:
    """Compares queries and keys; the log-sum-exp of the negatives' logits (B, N) serves all V positives."""
    positive = ops.sum(ops.expand_dims(query, 1) * keys, axis=-1)
    largest = ops.stop_gradient(ops.max(logits, axis=1))
    log_sum = ops.log(ops.sum(ops.exp(logits - largest[:, None]), axis=1)) + largest
    # -log(e^l / (e^l + e^s)) = softplus(s - l)
    loss = ops.sum(ops.softplus(log_sum[:, None] - positive / temperature), axis=1)
    return Contrast(loss, ops.stop_gradient(positive), largest * temperature)


def chance_level(num_key_views: int, negatives: Any) -> Any:
    """Returns the loss of a model that cannot tell keys from negatives, `V * log(N + 1)`.

    Args:
        num_key_views: V, number of key views of an image.
        negatives: N, number of negatives, as an int or a scalar tensor.
    """
    if isinstance(negatives, int):
        return num_key_views * math.log(negatives + 1)
    return num_key_views * ops.log(ops.cast(negatives + 1, "float32"))


def negatives_of(queue_size: int, num_key_views: int, batch_size: Any) -> Any:
    """Returns the number of negatives of a query: keys in the queue, or those of the batch's other images.

    Args:
        queue_size: K, number of keys in the queue; 0 without a queue.
        num_key_views: V, number of key views of an image.
        batch_size: B, number of images, as an int or a scalar tensor; None is allowed with a queue.

    Raises:
        ValueError: if `batch_size` is None without a queue.
    """
    if not queue_size and batch_size is None:
        raise ValueError(
            "`batch_size` must be given for a model without a queue, whose negatives are in the batch. "
            "Received: batch_size=None"
        )
    return queue_size or num_key_views * (batch_size - 1)


def diagnostics(
    query: Any, contrast: Contrast, mean_negative: Any, loss: Any, chance: Any, batch_size: Any = None
) -> dict[str, Any]:
    """Computes the scalars that `DIAGNOSTICS` names; `LeOCLR` explains each of them.

    Args:
        query: (B, D) tensor, rows of length 1.
        contrast: comparison of these queries with their keys and negatives.
        mean_negative: (D,) tensor, mean of the negatives; without a queue, mean of the keys of all images.
        loss: scalar tensor, mean of `contrast.loss`.
        chance: loss of guessing, see `chance_level`.
        batch_size: N, number of images whose keys `mean_negative` is the mean of, if there is no queue. A
            share of 1/N of them are the query's own keys, and their part is subtracted. None, the default,
            with a queue.
    """
    # The mean of the products q.n_j over all negatives is the product of q and the mean of the negatives.
    negative = ops.mean(ops.matmul(query, mean_negative[:, None]))
    if batch_size is not None:
        size = ops.cast(batch_size, "float32")
        negative = (negative * size - ops.mean(contrast.positive_similarity)) / (size - 1.0)
    correct = contrast.positive_similarity > contrast.hardest_negative[:, None]
    values = (
        ops.mean(contrast.positive_similarity),
        negative,
        ops.mean(ops.cast(correct, "float32")),
        ops.mean(ops.std(query, axis=0)),
        ops.stop_gradient(loss) / chance,
    )
    return dict(zip(DIAGNOSTICS, values, strict=True))
