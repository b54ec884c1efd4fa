"""The folder of a run."""

import pathlib
import re

import pytest

import keras_leoclr as kl
from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.runs.results import Results

pytestmark = pytest.mark.backend_free
ROOT = pathlib.Path(__file__).parents[2]


def test_every_path_lies_in_the_folder_and_has_a_name_of_its_own(tmp_path):
    run = RunFolder(tmp_path / "run")
    paths = [path for name, path in vars(run).items() if name != "path"]
    assert len(set(paths)) == len(paths) == 21
    assert all(run.path in path.parents for path in paths)
    assert not run.path.exists()  # naming a file makes nothing


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))  # on Windows
    assert RunFolder("~/run").path == tmp_path / "run"
    RunFolder("~/run").path.mkdir()
    RunFolder("~/run").write_recipe({})
    assert kl.Run("~/run").path == Results("~/run").path == tmp_path / "run"


def test_a_folder_without_a_run_reads_as_empty(tmp_path):
    run = RunFolder(str(tmp_path))
    assert (run.holds_run, run.recipe(), run.about(), run.results.read()) == (False, {}, {}, [])


def test_what_is_written_is_read(tmp_path):
    run = RunFolder(tmp_path)
    run.write_about({"backend": "jax"})
    assert not run.holds_run
    run.write_recipe({"dataset": "föhn", "widths": [8, 16]})
    run.results.write("knn/top1", 0.5, k=20)
    again = RunFolder(tmp_path)
    assert again.holds_run and again.about() == {"backend": "jax"}
    assert again.recipe() == {"dataset": "föhn", "widths": [8, 16]}
    assert again.results.read() == [{"name": "knn/top1", "value": 0.5, "k": 20}]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["recipe.json", "results.jsonl", "run.json"]


def test_a_damaged_file_is_an_error(tmp_path):
    run = RunFolder(tmp_path)
    run.recipe_file.write_text('{"mean": [0.5]}', encoding="utf-8-sig")  # as some editors save it
    assert run.recipe() == {"mean": [0.5]}
    run.recipe_file.write_text("{")
    with pytest.raises(ValueError, match=f"{re.escape(str(run.recipe_file))} .*Expecting property name"):
        run.recipe()
    run.about_file.write_bytes(b"\xff\xfe{}")
    with pytest.raises(ValueError, match=f"{re.escape(str(run.about_file))} must hold JSON in UTF-8"):
        run.about()
    run.about_file.write_text('[{"name": "soup"}]')
    with pytest.raises(ValueError, match=f"{re.escape(str(run.about_file))} must hold an object of JSON"):
        run.about()
