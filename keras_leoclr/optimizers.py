"""Optimizers that Keras does not have: SGD with coupled weight decay, and LARS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_leoclr import torch_updates
from keras_leoclr.checks import number, whole_number
from keras_leoclr.distribution.step import after


@keras.saving.register_keras_serializable("keras_leoclr")
class SGD(keras.optimizers.SGD):
    """SGD with coupled weight decay, the update of `torch.optim.SGD`.

    ```
    g = gradient + weight_decay * w
    buffer = momentum * buffer + g
    w = w - learning_rate * (g + momentum * buffer if nesterov else buffer)
    ```

    Keras' own `weight_decay` is decoupled (`w -= learning_rate * weight_decay * w`) and does not pass
    through the momentum: at momentum 0.9 it is about ten times weaker. Keras also multiplies by the learning
    rate before the momentum buffer, which gives another update while the learning rate changes.

    Args:
        learning_rate: a number, or a `keras.optimizers.schedules.LearningRateSchedule`; 0.03 by default.
        momentum: in [0, 1]; 0 by default.
        nesterov: whether to use Nesterov momentum; False by default.
        weight_decay: >= 0, 0 by default; None, as in Keras, for 0. It applies to every variable that
            `exclude_from_weight_decay` does not name.
        name: name of the optimizer.
        **kwargs: other arguments of `keras.optimizers.SGD`.

    Example:
        ```python
        optimizer = SGD(0.03, momentum=0.9, weight_decay=1e-4)
        optimizer.exclude_from_weight_decay(max_rank=1)  # biases, and BatchNorm's gamma and beta
        ```
    """

    def __init__(
        self,
        learning_rate: Any = 0.03,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float | None = 0.0,
        name: str = "sgd",
        **kwargs: Any,
    ):
        decay = 0.0 if weight_decay is None else number("weight_decay", weight_decay, 0)
        momentum = number("momentum", momentum, 0, 1)
        # `weight_decay` is not passed on, because the base class would apply its decoupled decay as well.
        super().__init__(
            learning_rate=learning_rate,
            momentum=momentum,
            nesterov=nesterov,
            weight_decay=None,
            name=name,
            **kwargs,
        )
        self.coupled_weight_decay = decay
        self._excluded_names: list[str] = []
        self._excluded_rank: int | None = None

    def exclude_from_weight_decay(
        self,
        var_list: Sequence[Any] | None = None,
        var_names: str | Sequence[str] | None = None,
        max_rank: int | None = None,
    ) -> None:
        """Excludes variables from the weight decay, in addition to those of earlier calls.

        It must be called before the first step.

        Args:
            var_list: variables to exclude. They are not saved with the optimizer, unlike names and rank.
            var_names: strings, or a single one; a variable with one of them in its name is excluded.
            max_rank: variables with at most this number of axes are excluded. 1 excludes biases, and gamma
                and beta of BatchNorm.

        Raises:
            ValueError: if the optimizer has already been built, as it is by the first step.
        """
        if max_rank is not None:
            ranks = (whole_number("max_rank", max_rank, 0), self._excluded_rank)
            self._excluded_rank = max(rank for rank in ranks if rank is not None)
        var_names = [var_names] if isinstance(var_names, str) else var_names or []
        self._excluded_names = list(dict.fromkeys([*self._excluded_names, *var_names]))
        before = getattr(self, "_exclude_from_weight_decay", ())  # Keras' own, which it begins anew
        super().exclude_from_weight_decay(var_list, self._excluded_names)
        self._exclude_from_weight_decay = {*before, *self._exclude_from_weight_decay}

    def _use_weight_decay(self, variable):
        if self._excluded_rank is not None and len(variable.shape) <= self._excluded_rank:
            return False
        return super()._use_weight_decay(variable)

    def _backend_update_step(self, grads, trainable_variables, learning_rate):
        if keras.backend.backend() != "torch" or not self._takes_lists():
            super()._backend_update_step(grads, trainable_variables, learning_rate)
            return
        buffers = [self.momentums[self._get_variable_index(v)] for v in trainable_variables if self.momentum]
        decays = [self._use_weight_decay(v) for v in trainable_variables]
        self._update_on_torch(grads, trainable_variables, buffers, decays, ops.cast(learning_rate, "float32"))

    def _takes_lists(self):
        """Whether `_update_on_torch` does what `update_step` does. A subclass may change the second alone."""
        owner = next(kind for kind in type(self).__mro__ if "update_step" in vars(kind))
        return "_update_on_torch" in vars(owner)

    def _update_on_torch(self, *state):
        torch_updates.sgd(*state, self.momentum, self.nesterov, self.coupled_weight_decay)

    def update_step(self, gradient, variable, learning_rate):
        learning_rate = ops.cast(learning_rate, variable.dtype)
        step = ops.cast(gradient, variable.dtype)
        # `after` makes operations wait for the gradient that do not depend on it. TensorFlow would compute
        # them at the beginning of the step, and keep copies of weights and momentum until the gradient is
        # known.
        if self.coupled_weight_decay and self._use_weight_decay(variable):
            # A difference and not a sum: TensorFlow turns a sum of three terms into an accumulator, and keeps
            # its zeros as a constant of the graph, which takes as much memory as the weights.
            step = step - -self.coupled_weight_decay * after(gradient, variable)
        if self.momentum:
            buffer = self.momentums[self._get_variable_index(variable)]
            new_buffer = self.momentum * after(gradient, buffer) + step
            self.assign(buffer, new_buffer)
            step = step + self.momentum * new_buffer if self.nesterov else new_buffer
        self.assign_sub(variable, learning_rate * step)

    def get_config(self):
        excluded = {"var_names": self._excluded_names, "max_rank": self._excluded_rank}
        some = self._excluded_names or self._excluded_rank is not None
        return {
            **super().get_config(),
            "weight_decay": self.coupled_weight_decay,
            **({"excluded_from_weight_decay": excluded} if some else {}),
        }

    @classmethod
    def from_config(cls, config, custom_objects=None):
        config = dict(config)
        excluded = config.pop("excluded_from_weight_decay", None)
        optimizer = super().from_config(config, custom_objects)
        if excluded:
            optimizer.exclude_from_weight_decay(**excluded)
        return optimizer


@keras.saving.register_keras_serializable("keras_leoclr")
class LARS(SGD):
    """SGD whose step is scaled per variable, for large batches (arXiv 1708.03888, algorithm 1).

    ```
    rate = learning_rate * trust_coefficient * |w| / (|gradient| + weight_decay * |w|)
    buffer = momentum * buffer + rate * (gradient + weight_decay * w)
    w = w - buffer
    ```

    Variables that `exclude_from_weight_decay` names have no weight decay and their step is not scaled, as is
    usual for biases and BatchNorm (`max_rank=1`). If `w` or the gradient is zero, the scale is 1: with the
    formula, a variable that starts at zero would never change.

    Args:
        learning_rate: a number, or a `keras.optimizers.schedules.LearningRateSchedule`; 0.3 by default.
        momentum: in [0, 1]; 0.9 by default.
        weight_decay: >= 0; 1e-4 by default; None for 0.
        trust_coefficient: > 0, called eta in the paper; 0.001 by default.
        name: name of the optimizer.
        **kwargs: other arguments of `keras.optimizers.SGD`, except `nesterov`.
    """

    def __init__(
        self,
        learning_rate: Any = 0.3,
        momentum: float = 0.9,
        weight_decay: float | None = 1e-4,
        trust_coefficient: float = 0.001,
        name: str = "lars",
        **kwargs: Any,
    ):
        trust_coefficient = number("trust_coefficient", trust_coefficient, 0, above=True)
        if kwargs.pop("nesterov", False):
            raise ValueError(
                "`nesterov` must be False: LARS has no Nesterov momentum. Received: nesterov=True"
            )
        super().__init__(learning_rate, momentum, False, weight_decay, name, **kwargs)
        self.trust_coefficient = trust_coefficient

    def _update_on_torch(self, *state):
        torch_updates.lars(*state, self.momentum, self.trust_coefficient, self.coupled_weight_decay)

    def update_step(self, gradient, variable, learning_rate):
        rate = ops.cast(learning_rate, variable.dtype)
        step = ops.cast(gradient, variable.dtype)
        if self._use_weight_decay(variable):
            weight_norm, gradient_norm = _norm(variable), _norm(step)
            scaled = self.trust_coefficient * weight_norm
            scaled = scaled / (gradient_norm + self.coupled_weight_decay * weight_norm + 1e-30)
            rate = rate * ops.where(weight_norm * gradient_norm > 0, scaled, 1.0)
            step = step + self.coupled_weight_decay * after(gradient, variable)
        step = rate * step
        if self.momentum:
            buffer = self.momentums[self._get_variable_index(variable)]
            step = self.momentum * after(gradient, buffer) + step
            self.assign(buffer, step)
        self.assign_sub(variable, step)

    def get_config(self):
        return {**super().get_config(), "trust_coefficient": self.trust_coefficient}


def _norm(x):
    return ops.sqrt(ops.sum(ops.square(x)))
