"""The two encoders: how they are made from a backbone, and how the key encoder follows the query encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
from keras import ops
from keras.optimizers.schedules import LearningRateSchedule

from keras_leoclr import torch_updates
from keras_leoclr.backbones.copying import copy_of, copy_weights
from keras_leoclr.backbones.kernels import with_fast_kernels
from keras_leoclr.checks import number
from keras_leoclr.distribution import step
from keras_leoclr.heads import projection_head


class EncoderPair(NamedTuple):
    """Query encoder and key encoder, which start with the same weights.

    Attributes:
        query: model from images (B, H, W, C) to projections (B, D), which are not normalised to length 1.
        key: model of the same architecture, with layers and variables of its own.
        faster_query: the query encoder with faster kernels for training; it shares the variables of `query`.
        faster_key: the key encoder with faster kernels for training; it shares the variables of `key`.
        variables: pairs of the query encoder's and the key encoder's variable, for each variable that is
            trained at the moment.
    """

    query: keras.Model
    key: keras.Model
    faster_query: keras.Model
    faster_key: keras.Model
    variables: list[tuple[keras.Variable, keras.Variable]]


def encoder_pair(backbone: keras.Model, hidden_dim: int | None, projection_dim: int) -> EncoderPair:
    """Makes both encoders, each of a backbone and a projection head.

    Args:
        backbone: model from images (B, H, W, C) to features (B, F). The query encoder uses this model itself,
            the key encoder a copy of it.
        hidden_dim: width of the heads' hidden layer; None for F.
        projection_dim: D, length of a projection.

    Raises:
        ValueError: if the backbone stores weights in half precision.
    """
    query, faster_query = _encoder(backbone, hidden_dim, projection_dim, "query_encoder")
    key, faster_key = _encoder(copy_of(backbone), hidden_dim, projection_dim, "key_encoder")
    copy_weights(query.layers[-1], key.layers[-1])  # the heads
    variables = list(zip(query.trainable_variables, key.trainable_variables, strict=True))
    low = sorted({v.dtype for _, v in followed_pairs(query, key)} & {"float16", "bfloat16"})
    if low:
        raise ValueError(
            "`backbone` must keep its weights in float32: in half precision a moving average of momentum "
            f"0.999 stands still. Use the policy mixed_{low[0]}. Received: weights in {low[0]}"
        )
    return EncoderPair(query, key, faster_query, faster_key, variables)


def followed_pairs(query: keras.Model, key: keras.Model) -> list[tuple[keras.Variable, keras.Variable]]:
    """Returns pairs of the query encoder's and the key encoder's variable, for all that can be trained.

    Variables that are frozen at the moment are included, because they may be trained later. The moving
    statistics of BatchNorm, states of seed generators and statistics of the data are not.
    """
    # `trainable_variables` leaves out frozen layers; Keras' private `_trainable_variables` includes them.
    layers = zip(query._flatten_layers(), key._flatten_layers(), strict=True)
    pairs = (
        pair
        for one, other in layers
        for pair in zip(one._trainable_variables, other._trainable_variables, strict=True)
    )
    return list({id(pair[0]): pair for pair in pairs}.values())


def _encoder(backbone, hidden_dim, projection_dim, name):
    width = backbone.output_shape[-1]
    head = projection_head(width, hidden_dim or width, projection_dim, f"{name}_head")

    def encoder(backbone):
        images = keras.Input(backbone.input_shape[1:], name="images")
        return keras.Model(images, head(backbone(images)), name=name)

    return encoder(backbone), encoder(with_fast_kernels(backbone, grouped=True))


class MovingAverage:
    """Moves the key encoder's variables towards the query encoder's: `k = momentum * k + (1 - momentum) * q`.

    Args:
        query: the query encoder, which must be an attribute of the model already.
        key: the key encoder, which must be one too; its variables are frozen here.
        momentum: number in [0, 1], or a schedule of it by the number of weight updates.
        add_weight: method `add_weight` of the model. The momentum is a variable of the model, so that it can
            change without compiling the step anew.
    """

    def __init__(
        self,
        query: keras.Model,
        key: keras.Model,
        momentum: float | LearningRateSchedule,
        add_weight: Callable[..., keras.Variable],
    ):
        self.schedule = momentum if isinstance(momentum, LearningRateSchedule) else None
        first = float(ops.convert_to_numpy(self.schedule(0))) if self.schedule else momentum
        self.initial = number("momentum", first, 0, 1)
        # The key encoder is frozen only now, when it is an attribute of the model: Keras lists the variables
        # that are trained at that moment before the others, and checkpoints number them in this order.
        # Variables that are frozen at first are followed as well, because what is trained may change before
        # every `compile`.
        self._encoders = query, key
        self.variables = followed_pairs(query, key)
        self._freeze_keys()
        self.settings = self.schedule or self.initial
        self._add_weight = add_weight
        self.momentum = self._scalar("momentum", "float32", self.initial)
        self.moved_at: keras.Variable | None = None

    def set_momentum(self, value: float) -> None:
        """Sets the momentum, a number in [0, 1]; ValueError if it follows a schedule."""
        if self.schedule is not None:
            raise ValueError(f"`momentum` follows a schedule and cannot be set. Received: momentum={value}")
        self.momentum.assign(number("momentum", value, 0, 1))

    def follow(self) -> None:
        """Freezes or unfreezes each layer of the key encoder like the same layer of the query encoder.

        A frozen BatchNorm layer of Keras is always in inference mode. This must be the same in both encoders.
        """
        layers = (encoder._flatten_layers() for encoder in self._encoders)
        for one, other in zip(*layers, strict=True):
            other._trainable = one.trainable  # setting `trainable` would change all inner layers as well
        self._freeze_keys()

    def _freeze_keys(self) -> None:
        # Only the variables are frozen, not the encoder: its BatchNorm would then be in inference mode.
        for _, key in self.variables:
            key.trainable = False

    def wait_for_updates(self, optimizer: keras.optimizers.Optimizer) -> None:
        """Makes `move` do nothing in a step if the weights were not updated in the step before.

        With gradient accumulation the weights are updated only once in several steps. With loss scaling, as
        in mixed_float16, they are not updated in a step with a gradient that is not finite.
        """
        scaled = hasattr(optimizer, "inner_optimizer")
        if step.inner_of(optimizer).gradient_accumulation_steps:
            self.remember_updates(0)
        elif scaled:
            self.remember_updates(-1)  # so that the first step moves, as it does without loss scaling

    def remember_updates(self, start: int = 0) -> None:
        """Makes the variable `moved_at`: the number of weight updates when the variables moved last."""
        if self.moved_at is None:
            self.moved_at = self._scalar("moved_at", "int", start)

    def stored(self, store: Mapping[str, Any], own: Sequence[keras.Variable]) -> Mapping[str, Any]:
        """Makes the model's own variables and those of a file the same ones, as far as `moved_at` goes.

        A model that is loaded without being compiled lacks this variable, which is then made. A file lacks it
        if its model was not compiled with accumulation, or by version 0.1.0 with loss scaling.

        Args:
            store: number of a variable -> its value in the file.
            own: the model's own variables, as Keras numbers them.

        Returns:
            `store`, with the present value of `moved_at` if the file lacks it.
        """
        surplus = len(store.keys()) - len(own)
        if surplus == 1:
            self.remember_updates()
        elif surplus == -1 and self.moved_at is not None:
            values = [store[f"{place}"] for place in range(len(store.keys()))]
            place = next(place for place, variable in enumerate(own) if variable is self.moved_at)
            values.insert(place, ops.convert_to_numpy(self.moved_at))
            return {f"{place}": value for place, value in enumerate(values)}
        return store

    def move(self, updates: Any) -> None:
        """Moves all variables of the key encoder towards those of the query encoder.

        Args:
            updates: () tensor, number of weight updates so far.
        """
        if self.schedule is not None:
            self.momentum.assign(self.schedule(updates))
        momentum = ops.convert_to_tensor(self.momentum)
        if self.moved_at is not None:  # with momentum 1 the variables stay where they are
            updates = ops.cast(updates, self.moved_at.dtype)
            # Not `>`: an optimizer that the model is compiled with later begins to count at 0.
            momentum = ops.where(ops.not_equal(updates, self.moved_at), momentum, 1.0)
            self.moved_at.assign(updates)
        if keras.backend.backend() == "torch":
            queries, keys = zip(*self.variables, strict=True)
            torch_updates.moving_average(keys, queries, momentum)
            return
        for query, key in self.variables:
            momentum = ops.cast(momentum, key.dtype)
            key.assign(momentum * key + (1.0 - momentum) * query)

    def _scalar(self, name, dtype, value):
        return self._add_weight(
            shape=(),
            initializer=keras.initializers.Constant(value),
            dtype=dtype,
            trainable=False,  # and no aggregation: under tf.distribute every replica assigns the same number
            name=name,
        )
