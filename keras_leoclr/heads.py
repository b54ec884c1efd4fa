"""The projection head, which maps features to the space in which the loss compares them."""

from __future__ import annotations

import keras
from keras import layers


def projection_head(feature_dim: int, hidden_dim: int, projection_dim: int, name: str) -> keras.Model:
    """MoCo v2's head: Linear, ReLU, Linear, without BatchNorm (arXiv 2003.04297, section 2).

    Args:
        feature_dim: width of the backbone's features.
        hidden_dim: width of the hidden layer.
        projection_dim: D, width of the output.
        name: name of the model.

    Returns:
        A model (B, feature_dim) -> (B, projection_dim); its output is float32 under any policy.
    """
    return keras.Sequential(
        [
            keras.Input((feature_dim,)),
            layers.Dense(hidden_dim, activation="relu", name="hidden"),
            layers.Dense(projection_dim, dtype="float32", name="projection"),
        ],
        name=name,
    )
