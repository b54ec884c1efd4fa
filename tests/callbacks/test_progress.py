"""Where a run is: on the screen, and in `progress.json`."""

import io
import json
import math
import re
import time

import keras
import numpy as np
import pytest

from keras_leoclr import callbacks, cli
from keras_leoclr.checkpointing import fit
from keras_leoclr.recipes import fashion_mnist
from keras_leoclr.report import run_list
from keras_leoclr.runs import checkpoint_folder, status_text
from keras_leoclr.runs.status import StatusFile, read_status
from keras_leoclr.training.session import RunSession
from tests.case import batched, fresh_model, random_views

backend_free = pytest.mark.backend_free


class Clock:
    """Time that passes as a test says."""

    def __init__(self, monkeypatch):
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def trained(clock, stream, file=None, verbose=1, epochs=2, waits=0.0):
    """The callback through epochs of 10 steps of 1 s, 32 images each, with 5 s between two epochs."""
    waited = [0.0]
    shown = callbacks.Progress(callbacks.Feed(32, 2, 10, lambda: waited[0]), file, verbose, stream)
    shown.set_params({"epochs": epochs, "steps": 10})
    shown.on_train_begin()
    for epoch in range(epochs):
        shown.on_epoch_begin(epoch)
        for step in range(10):
            clock.now += 1.0
            waited[0] += waits
            shown.on_train_batch_end(step, {"loss": 5.0 - epoch, "loss_to_chance": 0.9})
        clock.now += 5.0
        shown.on_epoch_end(epoch, {"loss": 5.0 - epoch, "loss_to_chance": 0.9, "knn_top1": 0.5})
    return shown


@backend_free
def test_speed_waiting_and_time_left_are_those_of_the_steps(monkeypatch):
    clock, seen = Clock(monkeypatch), []
    shown = callbacks.Progress(callbacks.Feed(32, 2, 10, lambda: 0.25 * clock.now), verbose=0)
    shown.set_params({"epochs": 3, "steps": 10})
    shown.on_train_begin()
    for epoch in range(2):
        shown.on_epoch_begin(epoch)
        for step in range(10):
            clock.now += 60.0 if step == epoch == 0 else 1.0  # the first one compiles
            shown.on_train_batch_end(step, {"loss": 1.0})
            seen.append(shown.status.get("seconds_left"))
        clock.now += 5.0  # kNN
        shown.on_epoch_end(epoch, {"loss": 1.0})
    assert shown.status["images_per_second"] == pytest.approx(32)
    assert shown.status["waiting"] == pytest.approx(0.25)
    assert seen[0] is None  # of one step that compiled nothing is known
    assert seen[1] == pytest.approx(8 + 20)
    # since an epoch has ended, what lies between two of them is known
    assert seen[14] == pytest.approx(5 + 10 + 5)


@backend_free
def test_epochs_of_one_step_have_a_speed_too(monkeypatch):
    clock = Clock(monkeypatch)
    shown = callbacks.Progress(callbacks.Feed(32, 2, 1), verbose=0)
    shown.set_params({"epochs": 4, "steps": 1})
    shown.on_train_begin()
    for epoch in range(3):
        shown.on_epoch_begin(epoch)
        clock.now += 2.0 if epoch else 60.0
        shown.on_train_batch_end(0, {"loss": 1.0})
        clock.now += 3.0
        shown.on_epoch_end(epoch, {"loss": 1.0})
    assert shown.status["images_per_second"] == pytest.approx(16)
    assert shown.status["seconds_left"] == pytest.approx(2 + 3)
    assert "waiting" not in shown.status  # it was not measured


@backend_free
def test_a_log_file_gets_one_line_per_epoch_with_all_that_is_asked_for(monkeypatch):
    stream = io.StringIO()
    trained(Clock(monkeypatch), stream, waits=0.25)
    assert stream.getvalue().splitlines() == [
        "Epoch 1/2: loss 5 (0.90 of chance), kNN 50.0 %, 32 images/s, 25 % waiting for input, 10 s left",
        "Epoch 2/2: loss 4 (0.90 of chance), kNN 50.0 %, 32 images/s, 25 % waiting for input, 0 s left",
    ]


@backend_free
def test_a_terminal_gets_a_line_that_changes_and_fits(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    stream = Terminal()
    shown = trained(Clock(monkeypatch), stream)
    lines = [re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", line) for line in re.split("[\r\n]+", stream.getvalue())]
    changing = [line for line in lines if "epoch " in line]
    assert len(changing) == 22 and len(set(changing)) == 20 and all(len(line) <= 60 for line in changing)
    assert changing[0].endswith("━━━ epoch 1/2 step  1/10  loss 5 (0.90 of chance)")  # with room for a bar
    assert changing[9].startswith("epoch 1/2 step 10/10  loss 5 (0.90 of chance)")
    assert [line[:17] for line in lines if "Epoch" in line] == ["Epoch 1/2: loss 5", "Epoch 2/2: loss 4"]
    assert stream.getvalue().count("\x1b[1A\x1b[2KEpoch") == 2  # in place of the line that changed
    stream.truncate(0)
    shown.on_train_batch_end(0, {"loss": 1.0})
    shown.close()  # as after an error
    shown.close()
    assert stream.getvalue().count("\n") == 1
    quiet = Terminal()
    trained(Clock(monkeypatch), quiet, verbose=2)
    assert (
        "\r" not in quiet.getvalue() and "\x1b" not in quiet.getvalue() and quiet.getvalue().count("\n") == 2
    )
    silent = Terminal()
    trained(Clock(monkeypatch), silent, verbose=0)
    assert silent.getvalue() == ""


@backend_free
def test_the_file_is_written_seldom_and_numbers_that_are_none_are_null(monkeypatch, tmp_path):
    clock, path = Clock(monkeypatch), tmp_path / "progress.json"
    file, written = StatusFile(path, seconds=5.0), []
    for _ in range(20):
        clock.now += 1.0
        file.update(loss=math.nan, step=clock.now)
        written.append(json.loads(path.read_text())["step"])
    assert len(set(written)) == 4
    assert json.loads(path.read_text())["loss"] is None
    file.update(now=True, step=-1)
    assert json.loads(path.read_text())["step"] == -1


@backend_free
def test_a_disk_that_cannot_be_written_does_not_end_a_run(tmp_path):
    StatusFile(tmp_path / "none" / "progress.json").update(now=True, step=1)


@backend_free
def test_a_run_that_goes_on_says_from_the_start_where_it_is(tmp_path):
    for position, place in {(0, 0): (1, 0), (2, 0): (2, 4), (2, 3): (3, 3)}.items():
        folder = tmp_path / str(position)
        with RunSession(folder, fashion_mnist.RECIPE) as run:
            run.begin()
            assert "step" not in read_status(folder)
        state = {"position": position, "steps": 4, "value": None}
        checkpoint_folder.write(run.folder.checkpoints, 8, {"weights": np.zeros(1)}, state)
        with RunSession(folder, fashion_mnist.RECIPE) as run:
            run.begin()
            status = read_status(folder)
            assert (status["epoch"], status["step"], status["steps"]) == (*place, 4)
            assert status["epochs"] == fashion_mnist.RECIPE.epochs and status["state"] == "starting"
            (listed,) = run_list.list_runs(folder)
            assert listed["epochs_done"] == position[0]
            shown = callbacks.Progress(callbacks.Feed(32, 2, 8), run.status, verbose=0)  # of more images now
            shown.set_params({"epochs": 5, "steps": 8, "start": (2, 6)})
            shown.on_train_begin()
            status = read_status(folder)
            assert (status["state"], status["epochs"], status["steps"]) == ("training", 5, 8)
            assert (status["epoch"], status["step"]) == (3, 6)


@backend_free
def test_callbacks_are_told_where_the_training_starts():
    class Model:
        stop_training = True
        fit = staticmethod(lambda *arguments, **named: None)

    asked, start = keras.callbacks.Callback(), fit.Position(2, 3)
    fit.fit(Model(), lambda epoch, batch: [0] * 5, 4, start, 8, [asked], 0, lambda dataset: dataset)
    assert asked.params["start"] == start and asked.params["steps"] == 8


def test_a_real_fit_fills_the_file(tmp_path):
    file = StatusFile(tmp_path / "progress.json", seconds=0.0)
    file.SHARE = math.inf  # each update is due
    feed = callbacks.Feed(8, 2, 3)
    model = fresh_model()
    model.fit(
        batched(random_views(batches=3)),
        epochs=2,
        verbose=0,
        shuffle=False,
        callbacks=[callbacks.Progress(feed, file, verbose=0)],
    )
    status = json.loads((tmp_path / "progress.json").read_text())
    assert (status["epoch"], status["epochs"], status["step"], status["steps"]) == (2, 2, 3, 3)
    assert status["images_per_second"] > 0 and status["seconds_left"] == 0
    assert {"loss", "loss_to_chance", "contrast_accuracy", "feature_std"} <= set(status)


@backend_free
@pytest.mark.parametrize(
    ("end", "state", "words"),
    [
        (None, "finished", "finished"),
        (ValueError("no more\nlines"), "failed", "failed: ValueError: no more"),
        (callbacks.Interrupted(15), "stopped", "stopped; the same command goes on"),
        (KeyboardInterrupt(), "stopped", "stopped"),
    ],
)
def test_the_end_of_a_run_is_written_down_however_it_comes(tmp_path, end, state, words):
    try:
        with RunSession(tmp_path, fashion_mnist.RECIPE) as run:
            run.begin()
            assert read_status(tmp_path)["state"] == "starting"
            if end is not None:
                raise end
            run.finish()
    except BaseException as error:
        assert error is end
    status = read_status(tmp_path)
    assert status["state"] == state and words in "\n".join(status_text.lines(status))
    assert (cli.main(["leoclr", "watch", str(tmp_path), "--once"]) == 0) == (state == "finished")
