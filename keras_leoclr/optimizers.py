"""Optimizers that Keras lacks."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("keras_leoclr")
class SGD(keras.optimizers.SGD):
    """SGD with coupled weight decay, the update of `torch.optim.SGD`.

    ```
    g = gradient + weight_decay * w
    buffer = momentum * buffer + g
    w = w - learning_rate * (g + momentum * buffer if nesterov else buffer)
    ```

    Keras' own `weight_decay` is decoupled (`w -= learning_rate * weight_decay * w`) and does not pass
    through the momentum: at momentum 0.9 it is about ten times weaker. Keras also keeps the learning
    rate inside of the buffer, which differs from the above while the learning rate changes.

    Args:
        learning_rate: a number or a `keras.optimizers.schedules.LearningRateSchedule`.
        momentum: in [0, 1].
        nesterov: whether to look ahead.
        weight_decay: >= 0; applies to every variable that `exclude_from_weight_decay` does not name.
        **kwargs: other arguments of `keras.optimizers.SGD`.
    """

    def __init__(
        self,
        learning_rate: Any = 0.03,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        name: str = "sgd",
        **kwargs: Any,
    ):
        if not weight_decay >= 0:
            raise ValueError(f"`weight_decay` must be >= 0. Received: weight_decay={weight_decay}")
        # the base class would apply a weight decay of its own
        super().__init__(
            learning_rate=learning_rate,
            momentum=momentum,
            nesterov=nesterov,
            weight_decay=None,
            name=name,
            **kwargs,
        )
        self.coupled_weight_decay = float(weight_decay)

    def update_step(self, gradient, variable, learning_rate):
        learning_rate = ops.cast(learning_rate, variable.dtype)
        step = ops.cast(gradient, variable.dtype)
        if self.coupled_weight_decay and self._use_weight_decay(variable):
            step = step + self.coupled_weight_decay * variable
        if self.momentum:
            buffer = self.momentums[self._get_variable_index(variable)]
            new_buffer = self.momentum * buffer + step
            self.assign(buffer, new_buffer)
            step = step + self.momentum * new_buffer if self.nesterov else new_buffer
        self.assign_sub(variable, learning_rate * step)

    def get_config(self):
        return {**super().get_config(), "weight_decay": self.coupled_weight_decay}
