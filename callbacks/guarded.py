"""Callbacks of users: an error in one of them ends the run only after a checkpoint was written."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import keras

HOOKS = tuple(
    f"on_{what}"
    for what in (
        *("epoch_begin", "epoch_end", "train_begin", "train_end", "test_begin", "test_end"),
        *("predict_begin", "predict_end", "train_batch_begin", "train_batch_end"),
        *("test_batch_begin", "test_batch_end", "predict_batch_begin", "predict_batch_end"),
    )
)
AT_ONCE = ("on_train_begin", "on_train_end")  # no training step can be lost here


class CallbackError(RuntimeError):
    """A callback of the user has raised an error; the message names the callback and the hook."""


class Guarded(keras.callbacks.Callback):
    """Calls a callback in every hook, and ends the training with a checkpoint if that raises an error.

    An error in `on_train_begin` or `on_train_end` is raised at once. After an error in another hook, the
    callback is not called again, the current step is finished, a checkpoint is written, and only then is the
    error raised. If the same run is started again, it continues with the next step.

    Args:
        callback: a Keras callback.
        stop: function that is given the error and ends the training with it after the next checkpoint, see
            `Checkpoint.stop`.
    """

    def __init__(self, callback: keras.callbacks.Callback, stop: Callable[[Exception], None]):
        super().__init__()
        self.callback, self.stop = callback, stop
        self.failed = False

    def set_params(self, params: dict[str, Any]) -> None:
        super().set_params(params)
        self.callback.set_params(params)

    def set_model(self, model: keras.Model) -> None:
        super().set_model(model)
        self.callback.set_model(model)

    def _pass_on(self, hook, arguments):
        if self.failed:
            return
        try:
            getattr(self.callback, hook)(*arguments)
        except Exception as error:
            self.failed = True
            message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            found = CallbackError(
                f"the callback {type(self.callback).__name__} raised an error in `{hook}`. The training "
                f"until then is kept, and the same run goes on from there. Received: {message}"
            )
            found.__cause__ = error
            if hook in AT_ONCE:
                raise found from error
            self.stop(found)


def _hook(name: str) -> Callable[..., None]:
    def call(self: Guarded, *arguments: Any, **named: Any) -> None:
        self._pass_on(name, (*arguments, *named.values()))

    call.__name__ = name
    return call


for _name in HOOKS:
    setattr(Guarded, _name, _hook(_name))


def guarded(
    callbacks: Iterable[keras.callbacks.Callback], stop: Callable[[Exception], None]
) -> list[keras.callbacks.Callback]:
    """Wraps each callback of the user into a `Guarded`.

    Args:
        callbacks: Keras callbacks.
        stop: function that ends the training with an error, see `Guarded`.
    """
    return [Guarded(each, stop) for each in callbacks]


def check_callbacks(callbacks: Any) -> list[keras.callbacks.Callback]:
    """Checks callbacks that a user has given, and returns them as a list.

    Raises:
        ValueError: if they are not a list of Keras callbacks.
    """
    several = isinstance(callbacks, Iterable) and not isinstance(callbacks, (str, type))
    chosen = list(callbacks) if several else [callbacks]
    wrong = [each for each in chosen if not (several and isinstance(each, keras.callbacks.Callback))]
    if wrong:
        raise ValueError(
            "`callbacks` must be a list of callbacks of Keras, objects of `keras.callbacks.Callback`. "
            f"Received: {wrong[0]!r}"
        )
    return chosen
