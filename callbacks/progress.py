"""The progress of a training on the terminal and in the status file."""

from __future__ import annotations

import collections
import time
from typing import Any

import keras
import numpy as np

from keras_leoclr.callbacks.feed import Feed
from keras_leoclr.runs import status_text
from keras_leoclr.runs.monitored import KNN, knn_of
from keras_leoclr.runs.status import StatusFile, place
from keras_leoclr.terminal import Live

WINDOW = 30.0  # seconds over which the speed is averaged
DRAWN = 0.2  # shortest time between two updates of the line on the terminal, in seconds


class Progress(keras.callbacks.Callback):
    """Shows the progress of the training on the terminal.

    It shows the loss (also as a fraction of the loss of guessing), the kNN accuracy, the images per second,
    the share of the time spent in waiting for input, and the remaining time of the whole training.

    On a terminal there is one line that changes, and one line that stays for each epoch. If the output is not
    a terminal, such as a log file, only the lines of the epochs are written. Put this callback after the
    callbacks that add to the logs of an epoch, and call `fit` with `verbose=0`.

    Speed and waiting are means over the last 30 seconds within an epoch. The first step of a process does not
    count, because it compiles the model. The remaining time includes what the last epoch has needed besides
    its steps, such as a kNN measurement, but not the evaluation after the training.

    Args:
        feed: description of the data, for the speed.
        file: writer of the status file, which `leoclr watch` reads; None, the default, for no file.
        verbose: 0 for no output, 1 (the default) for a line that changes, on a terminal, 2 for one line per
            epoch.
        stream: text stream to write to; standard output by default.
    """

    def __init__(
        self,
        feed: Feed,
        file: StatusFile | None = None,
        verbose: int = 1,
        stream: Any = None,
    ):
        super().__init__()
        self.feed = feed
        self.file = file
        self.verbose = verbose
        self.live = Live(stream)
        self.status: dict[str, Any] = {}
        self._marks: collections.deque = collections.deque()
        self._step_seconds = self._between = self._ended = None
        self._looked = 0.0

    def on_train_begin(self, logs=None):
        self._ended = None
        # `checkpointing.fit` says where the training starts, `model.fit` does not.
        start = place(*self.params.get("start", (0, 0)), self.feed.steps)
        # Written now, because the first step may take minutes, as it compiles.
        self._tell(now=True, state="training", epochs=self.params["epochs"], **start)

    def on_epoch_begin(self, epoch, logs=None):
        self._marks.clear()
        self.status |= {"epoch": epoch + 1, "step": 0}
        if self._ended is not None:  # the first epoch of a process is left out, as its first step compiles
            now = time.monotonic()
            self._between = now - self._ended
            self._mark(now, 0)

    def on_train_batch_end(self, batch, logs=None):
        now = time.monotonic()
        # If several steps are one execution, the number of its last step can lie behind the end of the epoch.
        done = min(batch + 1, self.feed.steps)
        last = done == self.feed.steps
        if self._marks and not last and now - self._looked < DRAWN:
            return
        self._looked = now
        self._mark(now, done)
        if last:  # the time from here to the next epoch, such as that of a kNN measurement, is not training
            self._ended = now
        self._tell(step=done, seconds_left=self._seconds_left(done), **_numbers(logs))
        if self.verbose == 1:
            self.live.show(status_text.step_text(self.status), status_text.share_done(self.status))

    def on_epoch_end(self, epoch, logs=None):
        numbers = _numbers(logs)
        if knn_of(numbers) is not None:
            self.status["knn_epoch"] = epoch + 1
        self._tell(**numbers)
        if self.verbose:
            self.live.say(self._line(numbers))

    def close(self) -> None:
        """Ends the line that changes, so that later output starts on a new line; call it after errors too."""
        self.live.close(keep=True)

    def _line(self, numbers):
        """Returns the line of an epoch: what the changing line shows, then the other logs by name."""
        shown = ("loss", "loss_to_chance", *KNN, "images_per_second", "waiting")
        texts = [status_text.loss_text(self.status)]
        texts += [status_text.knn_text(numbers)] if knn_of(numbers) is not None else []
        texts += [f"{name} {value:.4g}" for name, value in numbers.items() if name not in shown]
        texts += [status_text.speed_text(self.status), status_text.left_text(self.status)]
        return f"Epoch {self.status['epoch']}/{self.status['epochs']}: {', '.join(filter(None, texts))}"

    def _mark(self, now, step):
        waited = self.feed.waited() if self.feed.waited else None
        marks = self._marks
        marks.append((now, step, waited))
        while len(marks) > 2 and now - marks[1][0] > WINDOW:
            marks.popleft()
        seconds, steps = now - marks[0][0], step - marks[0][1]
        if steps and seconds > 0:
            self._step_seconds = seconds / steps
            speed = {"images_per_second": self.feed.batch_size / self._step_seconds}
            if waited is not None:
                speed["waiting"] = min(1.0, (waited - marks[0][2]) / seconds)
            self.status |= speed

    def _seconds_left(self, step):
        if self._step_seconds is None:
            return None
        epochs = self.status["epochs"] - self.status["epoch"]
        steps = epochs * self.feed.steps + self.feed.steps - step
        return steps * self._step_seconds + epochs * (self._between or 0.0)

    def _tell(self, now=False, **changes):
        self.status |= changes
        if self.file is not None:
            self.file.update(now, **self.status)


def _numbers(logs):
    return {name: float(np.asarray(value)) for name, value in (logs or {}).items()}
