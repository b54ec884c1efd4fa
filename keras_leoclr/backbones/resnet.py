"""ResNet as torchvision builds it (v1.5), from stock Keras layers.

arXiv 1512.03385; v1.5 has the stride of a bottleneck in its 3 x 3 convolution.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers

from keras_leoclr.backbones.names import LAST, STEMS
from keras_leoclr.checks import shape_of_images, whole_number


def resnet18(
    input_shape: Sequence[int] = (224, 224, 3),
    stem: str = "imagenet",
    width: int = 64,
    name: str = "resnet18",
) -> keras.Model:
    """ResNet-18, with 512 features at width 64.

    Args:
        input_shape: (H, W, C) of the images; (224, 224, 3) by default.
        stem: first layers. "imagenet", the default: 7 x 7 convolution of stride 2 and max-pooling; "cifar":
            3 x 3 convolution of stride 1, no pooling; "patch": 3 x 3 convolution of stride 2; "solo_learn":
            like "cifar", but padded by 2 pixels, as in solo-learn's networks for CIFAR; "lightly": like
            "cifar", but without the first ReLU, which lightly's own ResNets lose when an `nn.Sequential` is
            made of their parts.
        width: number of channels of the first stage, 64 by default; each later stage has twice as many.
        name: name of the model.

    Returns:
        A model (B, H, W, C) -> (B, features).

    Example:
        ```python
        backbone = resnet18((32, 32, 3), stem="cifar")
        backbone.output_shape  # (None, 512)
        ```
    """
    return build_resnet(input_shape, (2, 2, 2, 2), _doubling(width), False, stem, name)


def resnet34(
    input_shape: Sequence[int] = (224, 224, 3),
    stem: str = "imagenet",
    width: int = 64,
    name: str = "resnet34",
) -> keras.Model:
    """ResNet-34, with 512 features at width 64. The arguments are those of `resnet18`."""
    return build_resnet(input_shape, (3, 4, 6, 3), _doubling(width), False, stem, name)


def resnet50(
    input_shape: Sequence[int] = (224, 224, 3),
    stem: str = "imagenet",
    width: int = 64,
    name: str = "resnet50",
) -> keras.Model:
    """ResNet-50, with 2048 features at width 64. The arguments are those of `resnet18`."""
    return build_resnet(input_shape, (3, 4, 6, 3), _doubling(width), True, stem, name)


def resnet101(
    input_shape: Sequence[int] = (224, 224, 3),
    stem: str = "imagenet",
    width: int = 64,
    name: str = "resnet101",
) -> keras.Model:
    """ResNet-101, with 2048 features at width 64. The arguments are those of `resnet18`."""
    return build_resnet(input_shape, (3, 4, 23, 3), _doubling(width), True, stem, name)


def resnet_small(
    input_shape: Sequence[int] = (28, 28, 3),
    widths: Sequence[int] = (32, 64, 128),
    blocks: int = 1,
    stem: str = "patch",
    name: str = "resnet_small",
) -> keras.Model:
    """A ResNet for small images on CPUs: `len(widths)` stages of basic blocks.

    Args:
        input_shape: (H, W, C) of the images; (28, 28, 3) by default.
        widths: channels of each stage, (32, 64, 128) by default; the last is the number of features.
        blocks: number of basic blocks per stage; 1 by default.
        stem: first layers, see `resnet18`; "patch" by default.
        name: name of the model.
    """
    if isinstance(widths, str) or not isinstance(widths, Sequence) or not widths:
        raise ValueError(f"`widths` must be a list of whole numbers >= 1. Received: widths={widths!r}")
    widths = tuple(whole_number("widths", width, 1) for width in widths)
    depths = (whole_number("blocks", blocks, 1),) * len(widths)
    return build_resnet(input_shape, depths, widths, False, stem, name)


def _doubling(width: int) -> tuple[int, ...]:
    return tuple(whole_number("width", width, 1) * 2**stage for stage in range(4))


def build_resnet(
    input_shape: Sequence[int],
    depths: Sequence[int],
    widths: Sequence[int],
    bottleneck: bool,
    stem: str,
    name: str,
) -> keras.Model:
    """Makes a ResNet of any size.

    Args:
        input_shape: (H, W, C) of the images.
        depths: number of blocks of each stage.
        widths: number of channels of each stage; bottleneck blocks return four times as many.
        bottleneck: True for bottleneck blocks (1 x 1, 3 x 3, 1 x 1), False for basic blocks (3 x 3, 3 x 3).
        stem: first layers, see `resnet18`.
        name: name of the model.
    """
    if stem not in STEMS:
        raise ValueError(f"`stem` must be one of {', '.join(map(repr, STEMS))}. Received: stem={stem!r}")
    inputs = keras.Input(shape_of_images("input_shape", input_shape), name="images")
    if stem == "imagenet":
        x = _conv_norm(inputs, widths[0], 7, 2, "stem")
        x = layers.ReLU(name="stem_relu")(x)
        x = layers.ZeroPadding2D(1, LAST, name="stem_pool_pad")(x)  # after ReLU, zero is the smallest value
        x = layers.MaxPooling2D(3, 2, data_format=LAST, name="stem_pool")(x)
    else:
        padding = 2 if stem == "solo_learn" else None
        x = _conv_norm(inputs, widths[0], 3, 2 if stem == "patch" else 1, "stem", padding)
        if stem != "lightly":
            x = layers.ReLU(name="stem_relu")(x)
    block = _bottleneck_block if bottleneck else _basic_block
    for stage, (depth, width) in enumerate(zip(depths, widths, strict=True), start=1):
        for index in range(depth):
            stride = 2 if stage > 1 and index == 0 else 1
            x = block(x, width, stride, f"stage{stage}_block{index + 1}")
    x = layers.GlobalAveragePooling2D(LAST, name="pool")(x)
    return keras.Model(inputs, x, name=name)


def _conv_norm(
    x: Any, filters: int, kernel_size: int, stride: int, name: str, padding: int | None = None
) -> Any:
    """Convolution without bias, then BatchNorm; all sides are padded by `padding`, or half the kernel."""
    # Keras' "same" padding is uneven at stride 2; at stride 1 it pads evenly and is faster on CPUs.
    same = stride == 1 and padding is None
    if not same and kernel_size > 1:
        x = layers.ZeroPadding2D(padding or kernel_size // 2, LAST, name=f"{name}_pad")(x)
    x = layers.Conv2D(
        filters,
        kernel_size,
        strides=stride,
        padding="same" if same else "valid",
        data_format=LAST,
        use_bias=False,
        kernel_initializer=keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal"),
        name=f"{name}_conv",
    )(x)
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(x)


def _shortcut(x: Any, filters: int, stride: int, name: str) -> Any:
    if stride == 1 and x.shape[-1] == filters:
        return x
    return _conv_norm(x, filters, 1, stride, f"{name}_shortcut")


def _basic_block(x: Any, width: int, stride: int, name: str) -> Any:
    y = _conv_norm(x, width, 3, stride, f"{name}_1")
    y = layers.ReLU(name=f"{name}_1_relu")(y)
    y = _conv_norm(y, width, 3, 1, f"{name}_2")
    y = layers.Add(name=f"{name}_add")([y, _shortcut(x, width, stride, name)])
    return layers.ReLU(name=f"{name}_relu")(y)


def _bottleneck_block(x: Any, width: int, stride: int, name: str) -> Any:
    y = _conv_norm(x, width, 1, 1, f"{name}_1")
    y = layers.ReLU(name=f"{name}_1_relu")(y)
    y = _conv_norm(y, width, 3, stride, f"{name}_2")
    y = layers.ReLU(name=f"{name}_2_relu")(y)
    y = _conv_norm(y, 4 * width, 1, 1, f"{name}_3")
    y = layers.Add(name=f"{name}_add")([y, _shortcut(x, 4 * width, stride, name)])
    return layers.ReLU(name=f"{name}_relu")(y)
