"""`leoclr runs`: the runs below a folder, read from their files."""

import json
import os
import socket
import subprocess
import sys
import time

import pytest

from keras_leoclr import cli
from keras_leoclr.runs.results import Results

pytestmark = pytest.mark.backend_free


def made(path, seconds_ago, state="finished", about=None, **status):
    """A folder of a run with 10 epochs of 5 steps."""
    path.mkdir(parents=True)
    recipe = {"method": "leoclr", "dataset": "pets", "backbone": "resnet18", "epochs": 10}
    (path / "recipe.json").write_text(json.dumps(recipe))
    (path / "run.json").write_text(json.dumps(about or {"finished": state == "finished"}))
    known = {"state": state, "epoch": 10, "epochs": 10, "step": 5, "steps": 5}
    known |= {"process": os.getpid(), "host": socket.gethostname(), "updated": time.time() - seconds_ago}
    (path / "progress.json").write_text(json.dumps(known | status))
    return path


@pytest.fixture
def folder(tmp_path):
    """Three runs: a finished one, one under way and one with several labels."""
    top = tmp_path / "runs"
    first = made(top / "study" / "a", 300, about={"finished": True, "epochs_done": 8})
    for name, value, subject in (
        ("knn/top1", 0.5, "random"),
        ("knn/top1", 0.1, "pretrained"),
        ("knn/top1", 0.7834, "pretrained"),
        ("linear/top1", 0.8012, "pretrained"),
    ):
        Results(first / "results.jsonl").write(name, value, subject=subject, k=20)
    (first / "checkpoints").mkdir()
    made(top / "b", 60, "training", epoch=4, step=2, knn_top1=0.5)
    third = made(top / "c", 10)
    Results(third / "results.jsonl").write("linear/map", 0.25, subject="pretrained")
    return top


def listed(capsys, *arguments):
    assert cli.main(["leoclr", "runs", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_runs_are_listed_newest_first_with_what_they_reached(folder, capsys):
    head, *lines, note = listed(capsys, folder).splitlines()
    assert head.split() == ["run", "method", "data", "epochs", "state", "kNN", "linear", "changed"]
    assert [line.split()[0] for line in lines] == ["c", "b", os.path.join("study", "a")]
    assert "10/10" in lines[0] and "25.0 % mAP" in lines[0]
    assert "3/10" in lines[1] and "training" in lines[1] and "~50.0 %" in lines[1]
    assert "8/10" in lines[2] and "78.3 %" in lines[2] and "80.1 %" in lines[2] and "pets" in lines[2]
    assert note == "~ measured during training"


def test_json_has_all_that_is_known(folder, capsys):
    third, second, first = json.loads(listed(capsys, folder, "--json"))
    assert first["results"] == {"knn/top1": 0.7834, "linear/top1": 0.8012} and first["epochs_done"] == 8
    assert second["monitored"] == {"knn_top1": 0.5} and second["state"] == "training"
    assert third["results"] == {"linear/map": 0.25} and third["path"] == str(folder / "c")


def test_a_damaged_run_is_listed_and_a_folder_without_runs_said(folder, tmp_path, capsys):
    (folder / "b" / "run.json").write_text('{"finis')
    (folder / "c" / "progress.json").write_text('{"finis')
    (folder / "c" / "results.jsonl").write_text("{")
    damaged = [line for line in listed(capsys, folder).splitlines() if "damaged" in line]
    assert len(damaged) == 1 and damaged[0].startswith("b ")
    (tmp_path / "empty").mkdir()
    assert "There is no run below" in listed(capsys, tmp_path / "empty")
    assert json.loads(listed(capsys, tmp_path / "empty", "--json")) == []
    assert cli.main(["leoclr", "runs", str(tmp_path / "none")]) == 1
    assert "must be a folder with runs below it" in capsys.readouterr().err


def test_foreign_files_hide_no_other_run(folder, capsys):
    (folder / "cooking").mkdir()
    (folder / "cooking" / "recipe.json").write_text('[{"name": "soup"}]')
    (folder / "c" / "progress.json").write_text('{"state": 1, "updated": "today", "epoch": "two"}')
    for content in (b"[1]", b"\xff\xfe{}"):
        (folder / "b" / "progress.json").write_bytes(content)
        lines = {line.split()[0]: line for line in listed(capsys, folder).splitlines()}
        assert {"b", "c", os.path.join("study", "a")} < set(lines)
        assert "damaged" in lines["cooking"] and "unknown" in lines["b"] and "finished" in lines["c"]


def test_runs_needs_neither_keras_nor_tensorflow(folder):
    code = (
        "import sys, leoclr\n"
        f"assert leoclr.main(['leoclr', 'runs', {str(folder)!r}]) == 0\n"
        "assert not {'keras', 'tensorflow', 'numpy', 'rich'} & set(sys.modules), 'heavy'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
