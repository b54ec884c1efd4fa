"""Averages the feature maps of a backbone to one vector per image, and checks its shapes."""

from __future__ import annotations

from typing import Any

import keras

from keras_leoclr.backbones.names import LAST


def check_channels_last(backbone: Any) -> None:
    """Raises ValueError if a layer of a model takes its images as (B, C, H, W)."""
    layers = backbone._flatten_layers() if isinstance(backbone, keras.layers.Layer) else []
    wrong = [layer.name for layer in layers if getattr(layer, "data_format", None) == "channels_first"]
    if wrong:
        raise ValueError(
            '`backbone` must be made of layers with data_format="channels_last", as images are (B, H, W, C): '
            'call keras.config.set_image_data_format("channels_last") before it is made. '
            f"Received: {len(wrong)} layers with channels_first, such as {wrong[0]!r}"
        )


def with_pooled_features(backbone: keras.Model) -> keras.Model:
    """Returns the backbone itself if it returns (B, features), else a model that averages its feature maps.

    Raises:
        ValueError: if the model has layers that take (B, C, H, W), is not built, does not take (B, H, W, C),
            or does not return one vector or one feature map per image.
    """
    if not isinstance(backbone, keras.Model) or not backbone.built or not getattr(backbone, "inputs", None):
        raise ValueError(
            "`backbone` must be a Keras model with known inputs: functional, or Sequential with an "
            f"`Input`. Received: backbone={backbone!r}"
        )
    check_channels_last(backbone)
    inputs, outputs = backbone.input_shape, backbone.output_shape
    if not isinstance(inputs, tuple) or len(inputs) != 4 or inputs[0] is not None:
        raise ValueError(
            "`backbone` must take images of shape (None, H, W, C), with a free batch dimension. "
            f"Received: backbone.input_shape={inputs}"
        )
    if not isinstance(outputs, tuple) or len(outputs) not in (2, 4) or outputs[0] is not None:
        raise ValueError(
            "`backbone` must return features (None, F) or feature maps (None, h, w, F) per image. "
            f"Received: backbone.output_shape={outputs}"
        )
    if outputs[-1] is None:
        raise ValueError(
            f"`backbone` must have a known number of features. Received: backbone.output_shape={outputs}"
        )
    if len(outputs) == 2:
        return backbone
    images = keras.Input(inputs[1:], name="images")
    features = keras.layers.GlobalAveragePooling2D(LAST, name="pool")(backbone(images))
    return keras.Model(images, features, name=f"{backbone.name}_pooled")
