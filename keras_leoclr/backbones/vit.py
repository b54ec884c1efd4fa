"""Vision transformers as timm builds them, from stock Keras layers (arXiv 2010.11929)."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers, ops

from keras_leoclr.backbones.names import LAST
from keras_leoclr.checks import whole_number

POOLS = ("token", "mean")


def vit_tiny(
    patch_size: int = 16,
    image_size: int = 224,
    pool: str = "token",
    channels: int = 3,
    name: str = "vit_tiny",
) -> keras.Model:
    """ViT-Ti, with 12 blocks, 3 heads and 192 features.

    Args:
        patch_size: P, side of a patch in pixels, which must divide `image_size`; 16 by default.
        image_size: S, side of the square images in pixels; 224 by default.
        pool: "token", the default, to use the class token as features; "mean" for the mean of the patches'
            tokens. With "mean" there is no class token, and the last normalisation comes after the mean.
        channels: C, number of channels of the images; 3 by default.
        name: name of the model.

    Returns:
        A model (B, S, S, C) -> (B, features).
    """
    return build_vit(patch_size, image_size, 192, 12, 3, pool, channels, name)


def vit_small(
    patch_size: int = 16,
    image_size: int = 224,
    pool: str = "token",
    channels: int = 3,
    name: str = "vit_small",
) -> keras.Model:
    """ViT-S, with 12 blocks, 6 heads and 384 features. The arguments are those of `vit_tiny`."""
    return build_vit(patch_size, image_size, 384, 12, 6, pool, channels, name)


def vit_base(
    patch_size: int = 16,
    image_size: int = 224,
    pool: str = "token",
    channels: int = 3,
    name: str = "vit_base",
) -> keras.Model:
    """ViT-B, with 12 blocks, 12 heads and 768 features. The arguments are those of `vit_tiny`."""
    return build_vit(patch_size, image_size, 768, 12, 12, pool, channels, name)


def build_vit(
    patch_size: int,
    image_size: int,
    dim: int,
    depth: int,
    num_heads: int,
    pool: str = "token",
    channels: int = 3,
    name: str = "vit",
) -> keras.Model:
    """Makes a vision transformer of any size: pre-norm blocks, learned position embeddings, MLPs of 4 * dim.

    Args:
        patch_size: side of a patch in pixels, which must divide `image_size`.
        image_size: side of the square images in pixels.
        dim: number of features, a multiple of `num_heads`.
        depth: number of blocks.
        num_heads: number of attention heads of a block.
        pool: "token" (the default) or "mean", see `vit_tiny`.
        channels: number of channels of the images; 3 by default.
        name: name of the model.
    """
    if pool not in POOLS:
        raise ValueError(f"`pool` must be one of {', '.join(map(repr, POOLS))}. Received: pool={pool!r}")
    for argument, value in (("patch_size", patch_size), ("image_size", image_size), ("channels", channels)):
        whole_number(argument, value, 1)
    if image_size % patch_size:
        raise ValueError(
            "`image_size` must be a multiple of `patch_size`. "
            f"Received: image_size={image_size}, patch_size={patch_size}"
        )
    if dim % num_heads:
        raise ValueError(
            f"`dim` must be a multiple of `num_heads`. Received: dim={dim}, num_heads={num_heads}"
        )
    inputs = keras.Input((image_size, image_size, channels), name="images")
    patches = layers.Conv2D(
        dim,
        patch_size,
        strides=patch_size,
        data_format=LAST,
        kernel_initializer=_initializer(),
        name="patch_embed",
    )(inputs)
    count = (image_size // patch_size) ** 2
    tokens = layers.Reshape((count, dim), name="patches")(patches)
    if pool == "token":
        # The class token is a learned vector. As a stock layer it is an Embedding with one row.
        first = ops.zeros_like(tokens[:, :1, 0], dtype="int32")
        token = layers.Embedding(1, dim, embeddings_initializer=_initializer(), name="class_token")(first)
        tokens = layers.Concatenate(axis=1, name="tokens")([token, tokens])
        count += 1
    # Token i gets row i of the embedding; the rows are looked up once for the whole batch.
    positions = ops.cumsum(ops.ones_like(tokens[:1, :, 0], dtype="int32"), axis=1) - 1
    embedding = layers.Embedding(count, dim, embeddings_initializer=_initializer(), name="pos_embed")(
        positions
    )
    x = layers.Add(name="embedded")([tokens, embedding])
    for index in range(depth):
        x = _block(x, dim, num_heads, f"block{index + 1}")
    if pool == "token":
        x = layers.LayerNormalization(epsilon=1e-6, name="norm")(x)
        x = x[:, 0]
    else:
        x = layers.GlobalAveragePooling1D(LAST, name="pool")(x)
        x = layers.LayerNormalization(epsilon=1e-6, name="norm")(x)
    return keras.Model(inputs, x, name=name)


def _block(x: Any, dim: int, num_heads: int, name: str) -> Any:
    y = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm1")(x)
    attention = layers.MultiHeadAttention(
        num_heads, dim // num_heads, kernel_initializer=_initializer(), name=f"{name}_attention"
    )
    x = layers.Add(name=f"{name}_add1")([x, attention(y, y)])
    y = layers.LayerNormalization(epsilon=1e-6, name=f"{name}_norm2")(x)
    y = layers.Dense(4 * dim, kernel_initializer=_initializer(), name=f"{name}_mlp1")(y)
    y = layers.Activation("gelu", name=f"{name}_gelu")(y)
    y = layers.Dense(dim, kernel_initializer=_initializer(), name=f"{name}_mlp2")(y)
    return layers.Add(name=f"{name}_add2")([x, y])


def _initializer() -> keras.initializers.Initializer:
    return keras.initializers.TruncatedNormal(stddev=0.02)
