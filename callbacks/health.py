"""Detects problems of a training while it runs."""

from __future__ import annotations

import math
import time
import warnings
from typing import Any

import keras
import numpy as np

from keras_leoclr.callbacks.feed import Feed
from keras_leoclr.checks import number, whole_number
from keras_leoclr.distribution.step import inner_of
from keras_leoclr.runs.results import Results


class NonFiniteLossError(ArithmeticError):
    """The loss has become NaN or infinite."""


class HealthWarning(UserWarning):
    """The training continues, but a measurement suggests that the model does not learn."""


class Health(keras.callbacks.Callback):
    """Stops the training if the loss is not finite, and warns once of each other problem.

    - **Loss that is not finite**: `fit` ends with `NonFiniteLossError` at the step where it happens, before
      this state is saved in a checkpoint.
    - **collapse**: warns if `feature_std` is below `collapse` / sqrt(D) for `patience` steps in a row. The
      value is 1/sqrt(D) for evenly spread directions, and 0 for a collapsed encoder, which gives all images
      the same output (arXiv 2011.10566, section 4.1).
    - **chance**: warns if `loss_to_chance` is above 0.99 for `patience` steps in a row: the loss is then that
      of guessing.
    - **queue**: there are two rules. (1) A key stays in the queue for `age` = K / (keys per step) steps,
      while the weights of the key encoder are a moving average over about 1 / (1 - momentum) updates of the
      weights, which are fewer than the steps where gradients are accumulated. A warning is given if `age`,
      in updates, times `1 - momentum` is above 10. For MoCo's K = 65536 and B = 256 (arXiv 1911.05722,
      section 4.1, table of momentum) this number is 0.26 at momentum 0.999 (59.0 % top-1), 2.6 at 0.99
      (57.8 %), 26 at 0.9 (55.2 %) and 256 at momentum 0, which did not train. (2) A warning is given if K is
      larger than the number of keys of an epoch: the queue then holds an older key of every image, which is
      used as a negative of the same image.
    - **starved**: warns if more than the share `starved` of an epoch's time is spent in waiting for data. The
      first step of a process does not count, because it compiles the model.

    With `feed`, the logs of an epoch get `images_per_second` and `waiting`, the share of the time that was
    spent in waiting for data. With `results`, each warning is written as a result "health/NAME", and each
    epoch gives the results "speed/images_per_second" and "speed/waiting_share". Only these times differ
    between two runs with the same seed.

    Args:
        feed: description of the data; without it (None, the default) the rules queue and starved are not
            checked, and no speed is measured.
        results: writer of the results; None by default.
        collapse: in (0, 1], limit of `feature_std` as a multiple of 1/sqrt(D); 0.1 by default.
        patience: >= 1, number of steps in a row before a warning; 1000 by default.
        starved: in (0, 1], largest share of the time that may be spent in waiting; 0.2 by default.
    """

    def __init__(
        self,
        feed: Feed | None = None,
        results: Results | None = None,
        collapse: float = 0.1,
        patience: int = 1000,
        starved: float = 0.2,
    ):
        super().__init__()
        self.feed = feed
        self.results = results
        self.collapse = number("collapse", collapse, 0, 1, above=True)
        self.patience = whole_number("patience", patience, 1)
        self.starved = number("starved", starved, 0, 1, above=True)
        self.epoch = 0
        self.warned: list[str] = []
        self._in_a_row = {"collapse": 0, "chance": 0}
        self._means: dict[str, float] = {}
        # Steps of this epoch that this process has run, and how many of them its first execution contained.
        self._timed = self._first = 0
        self._begun: int | None = None  # number of the epoch's steps before the ones that are running

    # === State, for an exact resume ===

    def state(self) -> dict[str, Any]:
        """Returns the state of the rules, as `Checkpoint` saves it."""
        return {"warned": self.warned, "in_a_row": self._in_a_row, "means": self._means}

    def restore(self, state: dict[str, Any]) -> None:
        """Restores what `state` returned."""
        self.warned = list(state["warned"])
        self._in_a_row = dict(state["in_a_row"])
        self._means = dict(state["means"])

    # === Hooks ===

    def on_train_begin(self, logs=None):
        queue = getattr(self.model, "key_queue", None)
        if self.feed is None or queue is None:
            return
        keys = self.feed.batch_size * (1 if self.model.enqueue == "first" else self.feed.num_key_views)
        accumulated = inner_of(self.model.optimizer).gradient_accumulation_steps or 1
        drift = queue.size / keys / accumulated * (1 - self.model.momentum)
        if drift > 10:
            self._warn(
                "queue",
                drift,
                f"A key stays in the queue {queue.size / keys:.0f} steps, {drift:.0f} times as long as the "
                "key encoder remembers; try a higher `momentum` or a smaller `queue_size`.",
            )
        elif queue.size > keys * self.feed.steps:
            self._warn(
                "queue",
                queue.size / (keys * self.feed.steps),
                f"The queue's {queue.size} keys are more than the {keys * self.feed.steps} of an epoch, so "
                "that each image has its own older key as a negative; try a smaller `queue_size`.",
            )

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch
        self._timed = self._first = 0

    def on_train_batch_begin(self, batch, logs=None):
        self._begun = batch

    def on_train_batch_end(self, batch, logs=None):
        logs = logs or {}
        # With `steps_per_execution`, several steps are one execution. Keras gives the number of its last
        # step, which can lie behind the end of the epoch.
        done = min(batch + 1, (self.params or {}).get("steps") or batch + 1)
        before = batch if self._begun is None else self._begun
        self._begun = None
        # `loss` is the mean over the steps of the epoch so far: it is not finite from the first bad step on.
        loss = float(np.asarray(logs.get("loss", 0.0)))
        if not math.isfinite(loss):
            at = f"step {done}" if done - before == 1 else f"one of the steps {before + 1} to {done}"
            raise NonFiniteLossError(
                f"The loss is {loss} at {at} of epoch {self.epoch + 1}. "
                "Try a lower learning rate, a longer warm-up or a higher temperature; "
                "the last checkpoint is from before."
            )
        spread = self._of_these_steps("feature_std", before, done, logs)
        width = getattr(self.model, "projection_dim", None)
        if spread is not None and width is not None:
            limit = self.collapse / math.sqrt(width)
            if self._lasts("collapse", spread < limit, done - before):
                self._warn(
                    "collapse",
                    spread,
                    f"The queries of a batch are nearly the same: `feature_std` is below {limit:.2g} "
                    f"since {self.patience} steps; try a lower learning rate or `bn_groups` > 1.",
                )
        ratio = self._of_these_steps("loss_to_chance", before, done, logs)
        if ratio is not None and self._lasts("chance", ratio > 0.99, done - before):
            self._warn(
                "chance",
                ratio,
                f"The loss is that of guessing since {self.patience} steps; try another learning rate, crops "
                "that share more with their image (`crop_scale`), or weaker colours (`color_jitter`).",
            )
        self._time(done - before)

    def _of_these_steps(self, name, before, done, logs):
        """Returns the mean over the steps that have just run; the logs hold means since the epoch began."""
        if name not in logs:
            return None
        mean = float(np.asarray(logs[name]))
        earlier = self._means.get(name, 0.0) if before else 0.0
        self._means[name] = mean
        return (mean * done - earlier * before) / (done - before)

    def _lasts(self, name, sick, steps):
        so_far = self._in_a_row[name]
        self._in_a_row[name] = so_far + steps if sick else 0
        return so_far < self.patience <= self._in_a_row[name]

    def _time(self, steps):
        now = time.monotonic(), self.feed.waited() if self.feed and self.feed.waited else 0.0
        if not self._timed:
            self._from, self._first = now, steps
        self._timed += steps
        self._until = now

    def on_epoch_end(self, epoch, logs=None):
        if self.feed is None or self._timed == self._first:
            return
        seconds, waited = (until - start for start, until in zip(self._from, self._until, strict=True))
        steps = self._timed - self._first
        share = waited / max(seconds, 1e-9)
        speed = steps * self.feed.batch_size / max(seconds, 1e-9)
        if logs is not None:
            logs["images_per_second"] = speed
        if self.results is not None:
            self.results.write("speed/images_per_second", speed, epoch=epoch + 1, steps=steps)
        if self.feed.waited is None:
            return
        if logs is not None:
            logs["waiting"] = share
        if self.results is not None:
            self.results.write("speed/waiting_share", share, epoch=epoch + 1, steps=steps)
        if share > self.starved and steps >= 10:
            self._warn(
                "starved",
                share,
                f"{share:.0%} of the time of epoch {epoch + 1} was spent in waiting for views; try more CPU "
                "cores, smaller pictures on disk, or `compile_views`.",
            )

    def _warn(self, name, value, text):
        if name in self.warned:
            return
        self.warned.append(name)
        if self.results is not None:
            self.results.write(f"health/{name}", value, epoch=self.epoch + 1, advice=text)
        warnings.warn(text, HealthWarning, stacklevel=2)
