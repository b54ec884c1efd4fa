"""Feature maps averaged to one vector per image."""

from __future__ import annotations

import keras


def with_pooled_features(backbone: keras.Model) -> keras.Model:
    """The backbone itself if it returns (B, features), else a model that averages its feature maps.

    Raises:
        ValueError: if the model is not built, does not take (B, H, W, C), or does not return one
            vector or one feature map per image.
    """
    if not isinstance(backbone, keras.Model) or not backbone.built or not getattr(backbone, "inputs", None):
        raise ValueError(
            "`backbone` must be a Keras model with known inputs: functional, or Sequential with an "
            f"`Input`. Received: backbone={backbone!r}"
        )
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
    features = keras.layers.GlobalAveragePooling2D(name="pool")(backbone(images))
    return keras.Model(images, features, name=f"{backbone.name}_pooled")
