"""What a run says while it trains."""

from __future__ import annotations

import collections
import time
from typing import Any

import keras
import numpy as np

from keras_leoclr.callbacks.feed import Feed
from keras_leoclr.runs import status_text
from keras_leoclr.runs.monitored import KNN, knn_of
from keras_leoclr.runs.status import StatusFile
from keras_leoclr.terminal import Live

WINDOW = 30.0  # seconds that the speed is a mean of
DRAWN = 0.2  # seconds from one look at the numbers to the next


class Progress(keras.callbacks.Callback):
    """Shows loss against chance, kNN accuracy, images/s, the share of time spent waiting for input, and the
    time that is left of the whole training.

    On a terminal a line that changes, and one line for each epoch that stays; elsewhere, such as in a log
    file, the lines of the epochs alone. Put it after the callbacks that add to the logs of an epoch, and
    give `fit` `verbose=0`.

    Speed and waiting are those of the last 30 seconds within an epoch; the first step of a process,
    which compiles, does not count. The time left counts what an epoch costs besides its steps, as the last
    one did, but not the evaluation after the training.

    Args:
        feed: what a step is fed with.
        file: where `leoclr watch` reads the same, or None.
        verbose: 0 silent, 1 a line that changes where there is a terminal, 2 one line per epoch.
        stream: where to write; standard output by default.
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
        self._tell(state="training", epochs=self.params["epochs"], steps=self.feed.steps)

    def on_epoch_begin(self, epoch, logs=None):
        self._marks.clear()
        self.status |= {"epoch": epoch + 1, "step": 0}
        if self._ended is not None:  # not the first epoch of this process, whose first step compiles
            now = time.monotonic()
            self._between = now - self._ended
            self._mark(now, 0)

    def on_train_batch_end(self, batch, logs=None):
        now = time.monotonic()
        done = min(batch + 1, self.feed.steps)  # the last of several steps that run at once may be beyond
        last = done == self.feed.steps
        if self._marks and not last and now - self._looked < DRAWN:
            return
        self._looked = now
        self._mark(now, done)
        if last:  # what follows until the next epoch, such as kNN, is no training
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
        """Ends the line that changes, so that what is said next stands on its own; also after an error."""
        self.live.close(keep=True)

    def _line(self, numbers):
        """Of an epoch: what the changing line shows, then the other logs by name."""
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

    def _tell(self, **changes):
        self.status |= changes
        if self.file is not None:
            self.file.update(**self.status)


def _numbers(logs):
    return {name: float(np.asarray(value)) for name, value in (logs or {}).items()}
