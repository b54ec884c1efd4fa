"""`kl.Run`: its page is that of its files, and files that a full disk has cut are read as far as they go."""

import dataclasses
import os

import pytest

import keras_leoclr as kl
from keras_leoclr.recipes import Recipe
from keras_leoclr.runs.folder import RunFolder

pytestmark = pytest.mark.backend_free


@pytest.fixture
def run(tmp_path):
    folder = RunFolder(tmp_path)
    folder.write_recipe(dataclasses.asdict(Recipe(dataset="shapes")))
    data = {"subject": "pretrained", "dataset": "shapes", "train_split": "train", "test_split": "test"}
    folder.results.write("linear/top1", 0.75, **data)
    folder.history_file.write_text("epoch,loss,knn_top1\n0,1.5,NA\n1,1.25,0.5\n")
    return kl.Run(tmp_path)


def test_files_that_were_cut_are_read_as_far_as_they_go(run):
    history, results = run._folder.history_file, run._folder.results_file
    before = run.results
    assert before == {"pretrained/linear/top1": 0.75}
    assert run.history == [{"epoch": 0.0, "loss": 1.5}, {"epoch": 1.0, "loss": 1.25, "knn_top1": 0.5}]
    history.write_bytes(history.read_bytes() + b"2,1.")
    results.write_bytes(results.read_bytes() + b'{"name": "knn/to')
    assert run.history[2:] == [{"epoch": 2.0, "loss": 1.0}]
    assert run.results == before and len(run.lines) == 1 and "75.0" in run.table()
    history.write_bytes(history.read_bytes() + b"\0\xff,,,9\n3,?,0.5\n")
    assert run.history[3:] == [{"epoch": 3.0, "knn_top1": 0.5}]


def test_the_page_is_written_anew_if_it_is_older_than_the_results(run, monkeypatch):
    page = run.report
    assert "75.0" in page.read_text()
    for path in run.path.iterdir():
        os.utime(path, (100 + (path == page), 100 + (path == page)))
    run.report.read_text()
    assert page.stat().st_mtime == 101  # nothing is newer, so the page stays as it is
    data = {name: run.lines[0][name] for name in ("subject", "dataset", "train_split", "test_split")}
    run._folder.results.write("linear/top1", 0.625, **data)
    assert "62.5" in run.report.read_text()
    os.utime(page, (101, 101))

    def fails(*_, **__):
        raise PermissionError("read-only")

    monkeypatch.setattr("keras_leoclr.report.write_report", fails)
    with pytest.warns(UserWarning, match="is older than its run and cannot be written anew: read-only"):
        assert run.report == page
    page.unlink()
    with pytest.raises(PermissionError):
        _ = run.report
