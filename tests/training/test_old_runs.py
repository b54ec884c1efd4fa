"""Runs that version 0.1.0 has written open, resume, and are evaluated, compared and reported.

`tests/fixtures/runs_0.1.0.tar.xz` holds two runs of `leoclr pretrain fashion_mnist --method leoclr` with
`--epochs 3 --deterministic` on TensorFlow, of 64 pictures: `finished`, and `interrupted`, which SIGTERM ended
after step 5 of 12. Their `recipe.json` has all settings.
"""

import csv
import pathlib
import tarfile

import keras
import numpy as np
import pytest

import keras_leoclr as kl
from keras_leoclr import cli
from keras_leoclr.checkpointing.state import restore
from keras_leoclr.recipes import Recipe, pretrain
from keras_leoclr.runs import checkpoint_file, checkpoint_paths
from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.training.fields import from_json
from tests.case import random_images, to_numpy

ARCHIVE = pathlib.Path(__file__).parents[1] / "fixtures" / "runs_0.1.0.tar.xz"
backend_free = pytest.mark.backend_free
on_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="the runs were made on TensorFlow"
)


@pytest.fixture
def runs(tmp_path):
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return RunFolder(tmp_path / "finished"), RunFolder(tmp_path / "interrupted")


@backend_free
def test_the_folders_are_read(runs):
    finished, interrupted = runs
    for run, ended, step in ((finished, True, 12), (interrupted, False, 5)):
        assert run.holds_run and run.about()["finished"] is ended
        assert from_json(Recipe, run.recipe()).epochs == 3
        newest = checkpoint_paths.paths(run.checkpoints)[-1]
        assert newest == checkpoint_paths.path_of(run.checkpoints, step)
        arrays, state = checkpoint_file.read(newest)
        assert state == checkpoint_file.read_state(newest) and state["steps"] == 4
        assert any(name.startswith("optimizer/") for name in arrays)
    assert finished.results.read()[-1]["subject"] == "pretrained"


def test_the_files_of_a_finished_run_are_loaded(runs):
    run, _ = runs
    images = random_images(4, 28, 28).astype("float32")
    backbone = kl.backbones.load(run.path, verbose=False)
    features = to_numpy(backbone(images))
    assert features.shape == (4, 16)
    same = kl.backbones.load(run.path, "query", normalization=True, verbose=False)
    np.testing.assert_allclose(to_numpy(same(images)), features, rtol=1e-5)
    assert kl.backbones.load(run.path, "key", projection=True, verbose=False).output_shape == (None, 8)
    model = keras.saving.load_model(run.model_file)
    assert isinstance(model, kl.LeOCLR)
    arrays, _ = checkpoint_file.read(checkpoint_paths.paths(run.checkpoints)[-1])
    saved = [arrays[name] for name in sorted(arrays) if name.startswith("model/")]
    assert "int32" in {str(array.dtype) for array in saved}
    for variable, array in zip(model.variables, saved, strict=True):
        np.testing.assert_array_equal(to_numpy(variable), array)
    model.key_queue.pointer.assign(0)
    restore(model, arrays, ("model", "optimizer"))  # on every backend, made by TensorFlow
    for variable, array in zip(model.variables, saved, strict=True):
        np.testing.assert_array_equal(to_numpy(variable), array)
    assert int(to_numpy(model.optimizer.iterations)) == 12
    mean, std = (np.array(run.recipe()[name], "float32") for name in ("mean", "std"))
    np.testing.assert_allclose(
        to_numpy(model.backbone((images / 255 - mean) / std)), features, rtol=1e-4, atol=1e-5
    )


@backend_free
def test_a_finished_run_is_evaluated_compared_and_reported(runs, capsys):
    run, _ = runs
    before = len(run.results.read())
    assert (
        cli.main(["leoclr", "evaluate", "knn,linear", "--workdir", str(run.path), "--max_images", "64"]) == 0
    )
    lines = run.results.read()
    old, new = lines[:before], lines[before:]
    for name in ("knn/top1", "linear/top1"):
        then = [line for line in old if (line["name"], line.get("subject")) == (name, "pretrained")][-1]
        now = [line for line in new if line["name"] == name and line.get("k", 20) == 20][-1]
        assert now["value"] == pytest.approx(then["value"], abs=1 / 64)
    assert '"linear/top1"' in run.card_file.read_text()
    capsys.readouterr()
    assert cli.main(["leoclr", "compare", *(str(each.path) for each in runs)]) == 0
    assert "finished" in capsys.readouterr().out
    assert cli.main(["leoclr", "report", str(run.path)]) == 0
    page = run.report_file.read_text()
    assert "fashion_mnist" in page and "linear" in page


@on_tensorflow
def test_an_interrupted_run_ends_like_the_one_that_was_not(runs):
    interrupted = runs[1]
    keras.utils.clear_session()  # Keras counts the names of models, which the fixture has too
    pretrain(from_json(Recipe, interrupted.recipe()), interrupted.path, verbose=0, tensorboard="off")
    assert interrupted.about()["finished"] and interrupted.about()["resumed"] == [[1, 1]]
    histories = []
    for run in runs:
        with run.history_file.open(newline="") as file:
            histories.append(list(csv.DictReader(file)))
    assert len(histories[0]) == len(histories[1]) == 3
    for expected, actual in zip(*histories, strict=True):
        assert expected.keys() == actual.keys()
        # The learning rate of version 0.1.0 is that of the step after the epoch.
        for name in expected.keys() - {"images_per_second", "waiting", "online_linear_top1", "learning_rate"}:
            assert float(actual[name]) == pytest.approx(float(expected[name]), abs=1e-4), name
    expected, actual = (
        checkpoint_file.read(checkpoint_paths.path_of(run.checkpoints, 12))[0] for run in runs
    )
    assert expected.keys() == actual.keys()
    query = [name for name in expected if name.startswith("model/") and "queue" not in name]
    assert len(query) > 20
    for name in query:
        np.testing.assert_allclose(actual[name], expected[name], atol=1e-5, err_msg=name)
