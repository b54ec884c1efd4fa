"""Checkpoints of a run, and going on from them; long for the documentation of one class."""

from __future__ import annotations

import os
import pathlib
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import keras

from keras_leoclr.checkpointing import contents, fit
from keras_leoclr.checkpointing.fit import Position
from keras_leoclr.checkpointing.signals import Interrupted, Signals
from keras_leoclr.checkpointing.state import has_metrics, restore, restore_random_states
from keras_leoclr.checks import whole_number
from keras_leoclr.runs import checkpoint_folder, checkpoint_paths
from keras_leoclr.runs.monitored import KNN

__all__ = ["Checkpoint", "Interrupted", "Position"]


class Checkpoint(keras.callbacks.Callback):
    """Writes the whole state of training, and brings it back to the bit.

    Kept are all variables (weights, BatchNorm's statistics, queue and pointer), the optimizer's, the
    metrics' totals in the middle of an epoch, the global random states of Python, NumPy and torch, and the
    contents of `files`. The totals of metrics that Keras makes in a first step only (those of several losses
    and of `compile(metrics=...)`, on TensorFlow) begin anew, with a warning. A file is written whole or not
    at all and carries its SHA-256; of a damaged one the file before it is taken, with a warning.

    `fit` does all of it: it restores, goes on in the middle of an epoch if need be, and answers SIGTERM and
    SIGINT after the step with a checkpoint and `Interrupted`; a second signal stops at once. In a
    `model.fit` of your own, call `restore` and put the callback last, after those that write files:

        start = checkpoint.restore(model)
        model.fit(dataset, initial_epoch=start.epoch, epochs=100, callbacks=[..., checkpoint])

    There, with `start.batch > 0` (only where `minutes` are given), the rest of the epoch needs a `fit` of
    its own, with `epochs=start.epoch + 1`: Keras takes the steps of the first epoch for those of all.

    What Keras' own callbacks lack for that: `BackupAndRestore` overwrites its file in place, so a kill while
    it writes leaves none (`double_checkpoint` keeps a second one, which is used for an `OSError` only, and
    weights and epoch number are two files that may not belong together); nothing is checked or brought to
    the disk with fsync; it resumes at whole epochs although it saves within them, has no metrics, no random
    state and no log files, and answers no signal. `OrbaxCheckpoint` saves more and in the background, but
    needs another package, restores nothing by itself, keeps neither position in an epoch nor log files, and
    names mid-epoch files by a count of batches that starts anew in each process unless the optimizer's is
    there.

    Checkpoints are due at the end of each epoch, and within an epoch after `minutes`; they are left out
    while they would take more than the share `budget` of the time, by the cost of the last one. So the
    epochs of a very short kind are not all saved. The first one, before the first step, which shows early
    whether the disk can be written, and the last one are always written.

    Args:
        folder: of the checkpoints; made if it is missing.
        minutes: >= 0, from one checkpoint to the next within an epoch; None for ends of epochs only.
        keep: >= 1, newest checkpoints that are kept.
        budget: in (0, 1], largest share of the time that checkpoints may take; 1 for no limit.
        monitor: the checkpoint with the largest value of this entry of an epoch's logs is kept too; of
            several names the first that is among the logs. By default the kNN measurement of `KNNMonitor`.
        files: paths of text files that belong to the run, such as a CSVLogger's (with `append=True`):
            `restore` puts them back to what they were, so that no line is lost or there twice.
        stateful: objects by name with `state() -> dict` (of NumPy arrays and what JSON can hold) and
            `restore(dict)`, such as `Health`.
        writes: whether this process writes. Of several workers one does; all restore from the same folder.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        minutes: float | None = 10.0,
        keep: int = 3,
        budget: float = 0.02,
        monitor: str | Sequence[str] | None = tuple(KNN),
        files: Iterable[str | os.PathLike] = (),
        stateful: dict[str, Any] | None = None,
        writes: bool = True,
    ):
        super().__init__()
        if minutes is not None and not minutes >= 0:
            raise ValueError(f"`minutes` must be >= 0 or None. Received: minutes={minutes}")
        if not 0 < budget <= 1:
            raise ValueError(f"`budget` must be in (0, 1]. Received: budget={budget}")
        self.folder = pathlib.Path(folder)
        self.minutes = minutes
        self.keep = whole_number("keep", keep, 1)
        self.budget = budget
        self.monitor = (monitor,) if isinstance(monitor, str) else tuple(monitor or ())
        self.files = [pathlib.Path(path) for path in files]
        self.stateful = stateful or {}
        self.writes = writes
        self.written = 0
        self.seconds = 0.0
        self._signals = None
        self._error: Exception | None = None
        self._forget()

    def _forget(self):
        self._start = Position(0, 0)
        self._offset = 0
        self._steps = None
        self._metrics = None
        self._random = None
        self._position = None
        self._restored = self._moved = False
        self._last_cost = 0.0
        self._began = self._last = time.monotonic()  # no clock that can be set back

    @property
    def position(self) -> Position | None:
        """Where training goes on from the newest checkpoint; None if there is none yet."""
        return self._position

    @property
    def resumed(self) -> bool:
        """Whether `restore` found a checkpoint."""
        return self._restored and self._position is not None

    # === Restoring ===

    def restore(self, model: keras.Model, steps: int | None = None) -> Position:
        """Puts the newest whole checkpoint into a compiled model.

        Args:
            model: of the architecture that was saved, compiled with the same optimizer.
            steps: number of batches of an epoch, where it may be another than when the checkpoint was
                written, because there are more or fewer images now. Training then goes on at the same share
                of the epoch, and the optimizer counts its steps from there, so that schedules that were made
                for epochs of `steps` batches end with the training.

        Returns:
            Where to go on; `(0, 0)` if there is no checkpoint yet.

        Raises:
            DamagedCheckpointError: if there are checkpoints and all of them are damaged.
            ValueError: if the model has other variables.
        """
        self._forget()
        self._restored = True
        found = checkpoint_folder.newest_whole(self.folder, self.writes)
        if found is None:
            return self._start
        arrays, state = found
        contents.put_back(model, arrays, state, self.files if self.writes else (), self.stateful)
        self._start, self._steps = Position(*state["position"]), state["steps"]
        if steps is not None and self._steps not in (None, steps):
            self._start = _at_same_share(self._start, self._steps, steps)
            # counts batches, also where several make one update and `iterations` counts updates
            model.optimizer._iterations.assign(self._start.epoch * steps + self._start.batch)
            self._steps, self._moved = steps, True
        self._position = self._start
        self._offset = self._start.batch
        # Keras resets the metrics when an epoch begins
        self._metrics = arrays if self._start.batch else None
        self._random = arrays, state["random"]
        return self._start

    # === Writing ===

    def save(self, position: Position, value: float | None = None) -> pathlib.Path | None:
        """Writes a checkpoint now.

        Args:
            position: where training goes on from it.
            value: of the `monitor`, if it was measured with these weights.

        Raises:
            OSError: if it cannot be written; the checkpoints before are as they were.
        """
        if not self.writes:
            return None
        began = time.monotonic()
        arrays, state = contents.collected(self.model, self.files, self.stateful)
        if position == self._start:
            self._put_what_waits(arrays, state)
        state |= {"position": position, "steps": self._steps, "value": value}
        step = int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))
        path = checkpoint_folder.write(self.folder, step, arrays, state)
        if self._moved:  # those of longer epochs have higher numbers, and would be taken for newer ones
            checkpoint_folder.delete_later(self.folder, step)
            self._moved = False
        checkpoint_folder.delete_old(self.folder, self.keep)
        now = time.monotonic()
        self._position = position
        self._last = now
        self._last_cost = now - began
        self.seconds += self._last_cost
        self.written += 1
        return path

    def _put_what_waits(self, arrays, state):
        """Puts restored values that only take effect when training goes on into the state that is saved."""
        if self._metrics is not None:
            _replace_group(arrays, self._metrics, "metrics/")
        if self._random is not None:
            restored, state["random"] = self._random
            _replace_group(arrays, restored, "random/")

    def _affordable(self):
        # twice: the last checkpoint of the run has to be paid for as well
        share = self.seconds + 2 * self._last_cost
        return self.budget == 1 or share <= self.budget * (time.monotonic() - self._began)

    @property
    def share(self) -> float:
        """Share of the time since training began that checkpoints took."""
        return self.seconds / max(time.monotonic() - self._began, 1e-9)

    def on_train_begin(self, logs=None):
        if not self._restored and checkpoint_paths.paths(self.folder):
            raise ValueError(
                "`folder` holds checkpoints: call `restore` before `model.fit`, or choose another. "
                f"Received: folder={self.folder}"
            )
        self._began = self._last = time.monotonic()
        self._count_steps(self._start.epoch)
        if self._position is None or self._moved:
            self.save(self._start)

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        self._count_steps(epoch)
        if self._metrics is not None and epoch == self._start.epoch:
            if has_metrics(self.model, self._metrics):
                restore(self.model, self._metrics, ("metrics",))
            else:
                warnings.warn(
                    "The metrics of this epoch begin anew: Keras makes some of this model's in a first step. "
                    "The weights go on where they were.",
                    stacklevel=2,
                )
        self._metrics = None
        if not self._start.batch:
            self._restore_random_states()

    def on_train_batch_begin(self, batch, logs=None):
        # torch's loaders draw a number when an epoch begins; in its middle that is done already
        self._restore_random_states()

    def _restore_random_states(self):
        if self._random is not None:
            restore_random_states(*self._random)
            self._random = None

    def _count_steps(self, epoch):
        if self.params.get("steps"):
            self._steps = self.params["steps"] + (self._offset if epoch == self._start.epoch else 0)

    def on_train_batch_end(self, batch, logs=None):
        done = batch + 1 + (self._offset if self._epoch == self._start.epoch else 0)
        if self._steps is None or done >= self._steps:
            return  # the end of the epoch is at hand, with its logs
        stop = self._ends
        due = self.minutes is not None and time.monotonic() - self._last >= 60 * self.minutes
        if stop or (due and self._affordable()):
            self.save(Position(self._epoch, done))
        self._obey()

    def on_epoch_end(self, epoch, logs=None):
        stop = self._ends
        last = epoch + 1 == self.params.get("epochs")
        if stop or last or self.model.stop_training or self._affordable():
            value = next((logs[name] for name in self.monitor if name in (logs or {})), None)
            self.save(Position(epoch + 1, 0), None if value is None else float(value))
        self._obey()

    def stop(self, error: Exception) -> None:
        """Has the training end after the step that is under way, with a checkpoint and then this error."""
        self._error = self._error or error

    @property
    def _ends(self):
        return self._error is not None or (self._signals is not None and self._signals.received)

    def _obey(self):
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        if self._signals is not None and self._signals.received:
            raise Interrupted(self._signals.received)

    # === Training from where it was ===

    def fit(
        self,
        model: keras.Model,
        dataset_at: Callable[[int, int], Any],
        epochs: int,
        callbacks: Iterable[keras.callbacks.Callback] = (),
        verbose: int = 1,
        distribute: Callable[[Any], Any] = lambda dataset: dataset,
    ) -> keras.callbacks.History:
        """`model.fit` from the newest checkpoint on, or from the start.

        What `restore` returned is where it starts, if that was called before.

        Args:
            model: compiled.
            dataset_at: `(epoch, batch) -> data` that begin there. A `tf.data.Dataset` is asked for once: its
                first pass starts there, and its later passes are the epochs that follow, such as those of
                `view_dataset(..., initial_epoch=epoch, initial_batch=batch)`. A `keras.utils.PyDataset`, or
                batches of NumPy arrays in a list or in another iterable that has a length, is asked for once
                for each epoch, and holds the batches of that epoch after the first `batch`. The number of
                batches of an epoch must be known.
            epochs: >= 1, of the whole run.
            callbacks: others; they come before this one.
            verbose: 0 silent, 1 progress bar, 2 one line per epoch.
            distribute: what becomes of a dataset before `model.fit`, such as `Devices.distribute`.

        Returns:
            The history of the epochs that were trained here.

        Raises:
            Interrupted: after a signal.
            OSError: if a checkpoint cannot be written.

        Example:
            ```python
            batches = [{"query": queries[i], "keys": keys[i]} for i in range(len(queries))]
            checkpoint.fit(model, lambda epoch, batch: batches[batch:], epochs=10)
            ```
        """
        whole_number("epochs", epochs, 1)
        start = self._start if self._restored else self.restore(model)
        self._offset = 0  # the list of callbacks counts for all of them
        chosen = [*callbacks, self]
        try:
            with Signals() as self._signals:
                return fit.fit(model, dataset_at, epochs, start, self._steps, chosen, verbose, distribute)
        finally:
            self._signals = None
            self._restored = False  # another call begins with the newest checkpoint


def _replace_group(arrays: dict[str, Any], others: dict[str, Any], prefix: str) -> None:
    """Puts the arrays of others whose names begin so in the place of those that are there."""
    for name in [name for name in arrays if name.startswith(prefix)]:
        del arrays[name]
    arrays |= {name: array for name, array in others.items() if name.startswith(prefix)}


def _at_same_share(position: Position, before: int, now: int) -> Position:
    """The position at the same share of an epoch that has another number of batches."""
    batch = round(position.batch * now / before)
    return Position(position.epoch, batch) if batch < now else Position(position.epoch + 1, 0)
