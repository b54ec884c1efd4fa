"""Where a run is: on the screen, in `progress.json`, and as `leoclr watch` shows it."""

import dataclasses
import io
import json
import math
import os
import re
import socket
import subprocess
import sys
import time

import pytest

from keras_leoclr import callbacks, cli
from keras_leoclr.recipes import fashion_mnist, pretrain
from keras_leoclr.runs import status_text
from keras_leoclr.runs.status import StatusFile, read_status
from keras_leoclr.terminal import duration
from keras_leoclr.training.recipe import knn_sizes
from keras_leoclr.training.session import RunSession
from tests.case import batched, fresh_model, random_views

backend_free = pytest.mark.backend_free
STATUS = {
    "state": "training",
    "process": os.getpid(),
    "host": socket.gethostname(),
    "method": "leoclr",
    "dataset": "fashion_mnist",
    "backend": "jax",
    "epoch": 3,
    "epochs": 14,
    "step": 40,
    "steps": 78,
    "loss": 5.2104,
    "loss_to_chance": 0.7123,
    "knn_top1": 0.7834,
    "knn_epoch": 2,
    "images_per_second": 1240.4,
    "waiting": 0.031,
    "seconds_left": 250.0,
}


def folder(path, state="training", **changes):
    """A folder of a run that is there."""
    path.mkdir(exist_ok=True)
    (path / "recipe.json").write_text("{}")
    (path / "run.json").write_text('{"finished": false}')
    status = {**STATUS, "state": state, "updated": time.time(), **changes}
    (path / "progress.json").write_text(json.dumps(status))
    return path


def watch(*arguments):
    return cli.main(["leoclr", "watch", *map(str, arguments)])


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
    assert (watch(tmp_path, "--once") == 0) == (state == "finished")


@backend_free
def test_watch_shows_everything_once(tmp_path, capsys):
    warning = {
        "name": "health/collapse",
        "value": 0.1,
        "advice": "The queries of a batch are nearly the same",
    }
    lines = [{**warning, "advice": "older"}, warning, {"name": "speed/images_per_second", "value": 1}]
    folder(tmp_path)
    (tmp_path / "results.jsonl").write_text(
        "".join(f"{json.dumps(line)}\n" for line in lines) + '{"name": "health'
    )
    assert watch(tmp_path, "--once") == 0
    printed = capsys.readouterr().out
    for words in (
        "leoclr on fashion_mnist jax",
        "epoch 3 of 14, step 40 of 78",
        "18%",
        "5.21 (0.71 of chance)",
        "78.3 % (epoch 2)",
        "1,240 images/s, 3 % waiting for input",
        "4 min, until",
        "The queries of a batch are nearly the same",
    ):
        assert words in printed
    assert "older" not in printed
    assert watch(tmp_path, "--json") == 0
    status = json.loads(capsys.readouterr().out)
    assert status["step"] == 40 and status["warning"] == warning["advice"] and status["silent"] < 60


@backend_free
@pytest.mark.parametrize(
    ("changes", "state", "words"),
    [
        ({"process": 2**22 + 1}, "killed", "its process 4194305 is not there any more"),
        ({"host": "elsewhere", "silent": 600}, "stale", "no news for 10 min from elsewhere"),
        ({"silent": 600}, "training", "training (no news for 10 min)"),
        ({"host": "elsewhere", "process": 2**22 + 1}, "training", "training"),
    ],
)
def test_a_run_that_is_gone_is_told_from_one_that_is_silent(tmp_path, capsys, changes, state, words):
    changes = dict(changes)
    if silent := changes.pop("silent", 0):
        changes["updated"] = time.time() - silent
    folder(tmp_path, **changes)
    assert read_status(tmp_path)["state"] == state
    assert watch(tmp_path, "--once") == (0 if state == "training" else 1)
    assert words in capsys.readouterr().out


@backend_free
def test_a_folder_without_news_and_a_folder_without_a_run(tmp_path, capsys):
    assert watch(tmp_path) == 1
    assert "`workdir` must hold a run" in capsys.readouterr().err
    folder(tmp_path)
    (tmp_path / "progress.json").unlink()
    assert watch(tmp_path) == 1
    assert "unknown" in capsys.readouterr().out
    (tmp_path / "run.json").write_text('{"finished": true}')
    assert watch(tmp_path) == 0
    (tmp_path / "progress.json").write_text('{"state": "tra')  # half a file is no reason to fail
    assert watch(tmp_path) == 0


@backend_free
@pytest.mark.parametrize("terminal", [False, True])
def test_watch_follows_until_the_end(tmp_path, monkeypatch, capsys, terminal):
    folder(tmp_path)
    steps = iter([{"epoch": 3, "step": 50}, {"epoch": 4, "step": 1}, {"state": "finished", "step": 78}])
    monkeypatch.setattr(time, "sleep", lambda seconds: folder(tmp_path, **next(steps)))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    assert watch(tmp_path) == 0
    printed = capsys.readouterr().out
    assert "finished" in printed and next(steps, None) is None
    if not terminal:  # a line for the first look, for epoch 4, and for the end
        assert [line.split()[0] for line in printed.splitlines()] == ["training", "training", "finished"]
        assert "epoch 4/14 step  1/78" in printed.splitlines()[1]


@backend_free
def test_watch_needs_neither_keras_nor_tensorflow(tmp_path):
    folder(tmp_path, state="finished")
    code = (
        "import sys, leoclr\n"
        f"assert leoclr.main(['leoclr', 'watch', {str(tmp_path)!r}, '--once']) == 0\n"
        "assert leoclr.main(['leoclr', 'recipes']) == 0\n"
        "assert leoclr.main(['leoclr', '--help']) == 0\n"
        "assert not {'keras', 'tensorflow', 'numpy', 'rich'} & set(sys.modules), 'heavy'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "finished" in done.stdout and "fashion_mnist" in done.stdout


@backend_free
def test_durations():
    texts = [duration(s) for s in (None, 35, 240, 4800, 3 * 86400 + 4 * 3600)]
    assert texts == ["?", "35 s", "4 min", "1 h 20 min", "3 d 4 h"]


@backend_free
def test_rich_comes_with_keras():
    from importlib.metadata import requires

    assert any(line.split(";")[0].strip().startswith("rich") for line in requires("keras"))


# === kNN of a run ===


@backend_free
@pytest.mark.parametrize(
    ("bank", "queries", "count", "expected"),
    [
        (2500, 1000, 10000, (2500, 1000)),
        (0, 0, 100, (80, 20)),
        (0, 0, 1_000_000, (10000, 2000)),
        (60, 0, 100, (60, 40)),
        (0, 0, -1, (10000, 2000)),
        (60, 40, 100, (60, 40)),
        (60, 41, 100, None),
        (100, 0, 100, None),
    ],
)
def test_bank_and_queries_are_other_images(bank, queries, count, expected):
    recipe = dataclasses.replace(fashion_mnist.RECIPE, knn_bank=bank, knn_queries=queries)
    if expected:
        assert knn_sizes(recipe, count) == expected
    else:
        words = "`knn_bank` and `knn_queries` must not be more than .* Received: knn_bank=.*, knn_queries="
        with pytest.raises(ValueError, match=words):
            knn_sizes(recipe, count)


@backend_free
def test_more_queries_than_images_are_refused_at_the_start(tmp_path):
    recipe = dataclasses.replace(fashion_mnist.RECIPE.smoke(), max_images=64, knn_bank=60, knn_queries=30)
    with pytest.raises(ValueError, match="`knn_bank` and `knn_queries`"):
        pretrain(recipe, tmp_path / "run", verbose=0)
    assert not (tmp_path / "run").exists()
