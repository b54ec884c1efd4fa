"""`leoclr watch`: where a run elsewhere is, read from what it writes."""

import json
import os
import socket
import subprocess
import sys
import time

import pytest

from keras_leoclr import cli
from keras_leoclr.runs.status import StatusFile, read_status

pytestmark = pytest.mark.backend_free
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


def test_watch_shows_the_mean_average_precision_of_several_labels(tmp_path, capsys):
    folder(tmp_path, knn_top1=None, knn_map=0.512)
    watch(tmp_path, "--once")
    assert "mAP 51.2 % (epoch 2)" in capsys.readouterr().out


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


def test_windows_is_not_asked_for_a_process_because_that_would_send_it_ctrl_c(tmp_path, monkeypatch):
    monkeypatch.setattr("keras_leoclr.runs.processes.CAN_ASK", False)
    monkeypatch.setattr("keras_leoclr.runs.processes.os.kill", None)
    for silent, state in ((10, "training"), (600, "stale")):
        folder(tmp_path, updated=time.time() - silent)
        assert read_status(tmp_path)["state"] == state


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="the system does not tell it")
def test_a_process_that_only_has_the_number_of_the_run_s_is_another_one(tmp_path):
    folder(tmp_path)
    StatusFile(tmp_path / "progress.json").update(now=True, **STATUS)
    status = read_status(tmp_path)
    assert status["state"] == "training"
    folder(tmp_path, process_started=status["process_started"] + 1)
    assert read_status(tmp_path)["state"] == "killed"
    with subprocess.Popen(["true"]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)  # It has a number until its parent asks.
        folder(tmp_path, process=ended.pid)
        assert read_status(tmp_path)["state"] == "killed"


@pytest.mark.parametrize("changes", [{"process": 2**22 + 1}, {"host": "elsewhere", "updated": 0.0}])
def test_a_run_whose_process_was_killed_while_it_wrote_the_page_is_finished(tmp_path, changes):
    folder(tmp_path, state="evaluating", **changes)
    assert watch(tmp_path, "--once") == 1
    (tmp_path / "run.json").write_text('{"finished": true}')
    assert read_status(tmp_path)["state"] == "finished" and watch(tmp_path) == 0
    folder(tmp_path, state="evaluating")
    (tmp_path / "run.json").write_text('{"finished": true}')
    assert read_status(tmp_path)["state"] == "evaluating"  # It is writing the page.


def test_a_folder_without_news_and_a_folder_without_a_run(tmp_path, capsys):
    assert watch(tmp_path) == 1
    assert "`workdir` must hold a run" in capsys.readouterr().err
    folder(tmp_path)
    (tmp_path / "progress.json").unlink()
    assert watch(tmp_path) == 1
    assert "unknown" in capsys.readouterr().out
    (tmp_path / "run.json").write_text('{"finished": true}')
    assert watch(tmp_path) == 0
    for content in (b'{"state": "tra', b"\xff\xfe{}", b"[1]"):  # half a file is no reason to fail
        (tmp_path / "progress.json").write_bytes(content)
        (tmp_path / "results.jsonl").write_bytes(b'["health/", 1]\n\xff"health/')
        assert watch(tmp_path) == 0


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
