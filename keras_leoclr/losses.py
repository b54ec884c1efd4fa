"""InfoNCE, as pure functions of arrays."""

from __future__ import annotations

from typing import Any, NamedTuple

from keras import ops


class Contrast(NamedTuple):
    """What a query's comparison with its keys and the negatives yields.

    Attributes:
        loss: (B,), sum over the V positives of InfoNCE.
        positive_similarity: (B, V), cosine of the query and each of its keys.
        hardest_negative: (B,), largest cosine of the query and a negative.
    """

    loss: Any
    positive_similarity: Any
    hardest_negative: Any


def info_nce(query: Any, keys: Any, negatives: Any, temperature: float) -> Contrast:
    """InfoNCE of every query against each of its keys and a shared set of negatives.

    `sum_v -log( exp(q.k_v / T) / (exp(q.k_v / T) + sum_j exp(q.n_j / T)) )`: MoCo's loss
    (arXiv 1911.05722, equation 1), summed over the V keys as LeOCLR does (arXiv 2403.06813).

    Args:
        query: (B, D), unit rows.
        keys: (B, V, D), unit rows; all V are positives of the query.
        negatives: (K, D), unit rows.
        temperature: T > 0.
    """
    # divided before the product, not after it: B x D numbers instead of B x K
    logits = ops.matmul(query / temperature, ops.transpose(negatives))
    return _contrast(query, keys, logits, temperature)


def info_nce_in_batch(
    query: Any, keys: Any, temperature: float, batch_keys: Any = None, first: Any = 0
) -> Contrast:
    """InfoNCE with the keys of the batch's other images as negatives; no queue.

    Args:
        query: (B, D), unit rows.
        keys: (B, V, D), unit rows; row i holds the positives of query i and negatives of all others.
        temperature: T > 0.
        batch_keys: (N, V, D), keys of the whole batch, where `keys` are one device's part of it.
        first: row of `batch_keys` where `keys` begin.
    """
    batch_keys = keys if batch_keys is None else batch_keys
    views, dim = keys.shape[1], keys.shape[2]
    logits = ops.matmul(query / temperature, ops.transpose(ops.reshape(batch_keys, (-1, dim))))
    images = ops.repeat(ops.arange(ops.shape(batch_keys)[0]), views)
    own = images[None, :] == (first + ops.arange(ops.shape(query)[0]))[:, None]
    # -inf would make the gradient of the maximum NaN on some backends
    logits = ops.where(own, -1e9, logits)
    return _contrast(query, keys, logits, temperature)


def _contrast(query, keys, logits, temperature) -> Contrast:
    """The log-sum-exp of the negatives' logits (B, N) is taken once for all V positives."""
    positive = ops.sum(ops.expand_dims(query, 1) * keys, axis=-1)
    largest = ops.stop_gradient(ops.max(logits, axis=1))
    log_sum = ops.log(ops.sum(ops.exp(logits - largest[:, None]), axis=1)) + largest
    # -log(e^l / (e^l + e^s)) = softplus(s - l)
    loss = ops.sum(ops.softplus(log_sum[:, None] - positive / temperature), axis=1)
    return Contrast(loss, ops.stop_gradient(positive), largest * temperature)
