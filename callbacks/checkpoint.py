"""Writing checkpoints of a run and resuming from them; this file is long because one class is documented."""

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
from keras_leoclr.checks import number, whole_number
from keras_leoclr.distribution.step import inner_of
from keras_leoclr.runs import checkpoint_folder, checkpoint_paths
from keras_leoclr.runs.monitored import KNN

__all__ = ["Checkpoint", "Interrupted", "Position"]


class Checkpoint(keras.callbacks.Callback):
    """Saves the whole state of a training, and restores it exactly, bit for bit.

    A checkpoint holds all variables of the model (weights, BatchNorm's statistics, queue and pointer) and of
    the optimizer, the totals of the metrics in the middle of an epoch, the global random states of Python,
    NumPy and torch, and the contents of `files`. Some metrics exist only after the first step (on TensorFlow
    those of several losses and of `compile(metrics=...)`), and those of several workers are not saved; their
    totals start from zero, with a warning. A file is written whole or not at all, and holds its SHA-256
    checksum. If it is damaged, the checkpoint before it is used, with a warning.

    The method `fit` restores the newest checkpoint and continues from there, also in the middle of an epoch.
    After SIGTERM or SIGINT it finishes the current step, writes a checkpoint and raises `Interrupted`; a
    second signal ends the process at once. If a callback sets `model.stop_training` within an epoch, a
    checkpoint is written after that step, from which the rest of the epoch can go on.

    If you call `model.fit` yourself, call `restore` before it, and put this callback last, after the
    callbacks that write files:

        start = checkpoint.restore(model)
        model.fit(dataset, initial_epoch=start.epoch, epochs=100, callbacks=[..., checkpoint])

    If `start.batch` is not 0 (which happens only with `minutes`, or if a callback has stopped the training
    within an epoch), train the rest of that epoch by a separate call of `model.fit` with
    `epochs=start.epoch + 1`. Keras assumes that all epochs of a call have as many steps as the first one, so
    a single call would make every epoch that short.

    Keras' own callbacks do not do all this. `BackupAndRestore` overwrites its file in place, so a process
    that is killed while it writes leaves no backup. (`double_checkpoint` keeps a second file, which is used
    only after an `OSError`; and weights and epoch number are in two files, which may not belong together.) It
    checks no file and does not use fsync. It saves within epochs but resumes only at their beginning, does
    not save metrics, random states or log files, and does not handle signals. `OrbaxCheckpoint` saves more,
    and in the background. But it needs another package, restores nothing by itself, saves neither the
    position in an epoch nor log files, and names files within an epoch by a count of batches that starts
    from zero in each process unless the optimizer's count is available.

    A checkpoint is due at the end of each epoch, and within an epoch after `minutes`. It is skipped if
    checkpoints would take more than the share `budget` of the time, estimated from the last one; very short
    epochs are therefore not all saved. Two checkpoints are always written: one before the first step, which
    shows at once whether the disk can be written, and one at the end.

    Args:
        folder: path of the folder of the checkpoints; it is made if it is missing.
        minutes: >= 0, minutes between two checkpoints within an epoch, 10 by default; None to save only at
            the end of epochs.
        keep: >= 1, how many of the newest checkpoints are kept; 3 by default.
        budget: in (0, 1], largest share of the time that checkpoints may take, 0.02 by default; 1 for no
            limit.
        monitor: name of an entry in the logs of an epoch; the checkpoint with its largest value is kept too.
            Of several names, the first one that is in the logs counts. By default the kNN measurement of
            `KNNMonitor`; None for no such checkpoint.
        files: paths of text files that belong to the run, such as the file of a CSVLogger (which needs
            `append=True`); no two may have the same name. `restore` resets them to their content at the
            checkpoint, so that no line is missing and none occurs twice.
        stateful: name -> object with the methods `state() -> dict` (values are NumPy arrays or something that
            JSON can hold) and `restore(dict)`, such as `Health`.
        writes: whether this process writes checkpoints; True by default. Of several workers only one may, and
            all restore from the same folder.
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        minutes: float | None = 10.0,
        keep: int = 3,
        budget: float = 0.02,
        monitor: str | Sequence[str] | None = tuple(KNN),
        files: str | os.PathLike | Iterable[str | os.PathLike] = (),
        stateful: dict[str, Any] | None = None,
        writes: bool = True,
    ):
        super().__init__()
        self.folder = pathlib.Path(folder).expanduser()
        self.minutes = minutes if minutes is None else number("minutes", minutes, 0)
        self.keep = whole_number("keep", keep, 1)
        self.budget = number("budget", budget, 0, 1, above=True)
        self.monitor = (monitor,) if isinstance(monitor, str) else tuple(monitor or ())
        files = (files,) if isinstance(files, (str, os.PathLike)) else files
        self.files = [pathlib.Path(path).expanduser() for path in files]
        if len({path.name for path in self.files}) < len(set(self.files)):
            raise ValueError(
                "`files` must have different names, because a checkpoint holds them by their names. "
                f"Received: files={[str(path) for path in self.files]}"
            )
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
        self._ended_within = False  # whether a callback has ended the training within the epoch
        self._steps = None
        self._metrics = None
        self._random = None
        self._position = None
        self._restored = self._moved = False
        self._last_cost = 0.0
        self._began = self._last = time.monotonic()  # the time of day could be set back during a run

    @property
    def position(self) -> Position | None:
        """Position at which training continues from the newest checkpoint; None if there is none yet."""
        return self._position

    @property
    def resumed(self) -> bool:
        """Whether `restore` found a checkpoint."""
        return self._restored and self._position is not None

    # === Restoring ===

    def restore(self, model: keras.Model, steps: int | None = None) -> Position:
        """Restores a compiled model from the newest checkpoint that is not damaged.

        Args:
            model: a model of the architecture that was saved, compiled with the same optimizer.
            steps: number of batches of an epoch now. Give it if it may have changed since the checkpoint was
                written, because there are more or fewer images now. Training then continues at the same
                fraction of the epoch, and the optimizer's count of steps is adapted, so that a learning rate
                schedule for epochs of `steps` batches ends with the training. None, the default, for the
                number in the checkpoint.

        Returns:
            The position at which training continues; `(0, 0)` if there is no checkpoint yet.

        Raises:
            DamagedCheckpointError: if there are checkpoints and all of them are damaged.
            ValueError: if the model has other variables, or is not compiled.
        """
        if getattr(model, "optimizer", None) is None:
            raise ValueError(
                f"`model` must be compiled before it is restored or trained. Received: {model.name!r}, which "
                "has no optimizer"
            )
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
            # `_iterations` counts batches, as schedules need it. The public `iterations` counts updates, and
            # with gradient accumulation several batches make one update. An optimizer that scales the loss
            # has a count of its own, which no schedule reads.
            counted = inner_of(model.optimizer)
            counted._iterations.assign(self._start.epoch * steps + self._start.batch)
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
            position: the position at which training continues from this checkpoint.
            value: value of `monitor`, if it was measured with these weights; None by default.

        Returns:
            Path of the file; None if this process does not write.

        Raises:
            OSError: if it cannot be written; the earlier checkpoints stay unchanged.
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
        # Checkpoints from longer epochs have higher numbers of steps, and would be taken for newer ones.
        if self._moved:
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
        """Puts restored values that are not in use yet into the state that is saved.

        These are metrics and random states, which only come into use when the training continues.
        """
        if self._metrics is not None:
            _replace_group(arrays, self._metrics, "metrics/")
        if self._random is not None:
            restored, state["random"] = self._random
            _replace_group(arrays, restored, "random/")

    def _affordable(self):
        # Twice the cost, because the last checkpoint of the run is written in any case and counts too.
        share = self.seconds + 2 * self._last_cost
        return self.budget == 1 or share <= self.budget * (time.monotonic() - self._began)

    @property
    def share(self) -> float:
        """Share of the time since training began that was spent in writing checkpoints, in [0, 1]."""
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
                    "The metrics of this epoch begin anew and are means over the rest of it: those of "
                    "several workers are not in a checkpoint, and others Keras makes in a first step. The "
                    "weights go on where they were.",
                    stacklevel=2,
                )
        self._metrics = None
        if not self._start.batch:
            self._restore_random_states()

    def on_train_batch_begin(self, batch, logs=None):
        # Within an epoch the states are restored here and not when the epoch begins: a loader of torch draws
        # a random number at that moment, and the saved state already includes this draw.
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
            return  # `on_epoch_end` follows at once, and saves with the logs of the epoch
        self._ended_within = self.model.stop_training
        due = self.minutes is not None and time.monotonic() - self._last >= 60 * self.minutes
        if self._ends or self._ended_within or (due and self._affordable()):
            self.save(Position(self._epoch, done))
        self._obey()

    def on_epoch_end(self, epoch, logs=None):
        if self._ended_within:
            # The checkpoint of that step is the last one. It lacks the lines that were written for this part
            # of the epoch: `restore` takes them away, and the end of the whole epoch writes them.
            self._obey()
            return
        stop = self._ends
        last = epoch + 1 == self.params.get("epochs")
        if stop or last or self.model.stop_training or self._affordable():
            value = next((logs[name] for name in self.monitor if name in (logs or {})), None)
            self.save(Position(epoch + 1, 0), None if value is None else float(value))
        self._obey()

    def stop(self, error: Exception) -> None:
        """Ends the training after the current step: writes a checkpoint and then raises this error."""
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
        """Trains like `model.fit`, from the newest checkpoint on or, without any, from the beginning.

        If `restore` was called before, training starts at the position that it returned.

        Args:
            model: a compiled model.
            dataset_at: function `(epoch, batch) -> data` which returns the data from that position on; the
                number of batches of an epoch must be known. If it returns a `tf.data.Dataset`, it is called
                once: the first pass over the dataset starts at the position, and its later passes are the
                following epochs, as those of `view_dataset(..., initial_epoch=epoch, initial_batch=batch)`.
                If it returns a `keras.utils.PyDataset`, or batches of NumPy arrays in a list or in another
                iterable with a length, it is called once for each epoch, and returns the batches of that
                epoch without the first `batch` ones.
            epochs: >= 1, number of epochs of the whole run.
            callbacks: other callbacks; they are called before this one.
            verbose: 0 for no output, 1 (the default) for a progress bar, 2 for one line per epoch.
            distribute: function that is applied to each dataset before `model.fit`, such as
                `Devices.distribute`; by default the dataset stays unchanged.

        Returns:
            The history of the epochs that were trained by this call.

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
        self._offset = 0  # `checkpointing.fit` adds the offset to the number of the batch for all callbacks
        chosen = [*callbacks, self]
        try:
            with Signals() as self._signals:
                return fit.fit(model, dataset_at, epochs, start, self._steps, chosen, verbose, distribute)
        finally:
            self._signals = None
            self._restored = False  # so that another call of `fit` restores the newest checkpoint


def _replace_group(arrays: dict[str, Any], others: dict[str, Any], prefix: str) -> None:
    """Replaces the entries of `arrays` whose names begin with `prefix` by those of `others`."""
    for name in [name for name in arrays if name.startswith(prefix)]:
        del arrays[name]
    arrays |= {name: array for name, array in others.items() if name.startswith(prefix)}


def _at_same_share(position: Position, before: int, now: int) -> Position:
    """Returns the position at the same fraction of an epoch which has `now` instead of `before` batches."""
    batch = round(position.batch * now / before)
    return Position(position.epoch, batch) if batch < now else Position(position.epoch + 1, 0)
