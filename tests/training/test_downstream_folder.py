"""The folder of a detector: what it may replace, what it goes on from, and what stays if something fails."""

import dataclasses
import itertools
import json
import os
import shutil

import keras
import numpy as np
import pytest

import keras_leoclr as kl
from keras_leoclr.callbacks import NonFiniteLossError
from keras_leoclr.runs import checkpoint_paths
from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.tensorflow_host import tf
from keras_leoclr.training import downstream_folder
from keras_leoclr.training.downstream import Downstream, contents, load_splits
from keras_leoclr.training.downstream_runs import Task, run
from tests.data.test_voc import made  # noqa: F401

pytest.importorskip("defusedxml")
pytestmark = pytest.mark.backend_free


class Small:
    """A task whose model is one layer, with the numbers of its batches."""

    def __init__(self):
        self.trained, self.failing, self.while_judged = [], False, lambda: None
        self.task = Task(
            name="detection",
            annotations="boxes",
            model=self.model,
            losses={"loss": "mse"},
            batches=self.batches,
            judge=self.judge,
            model_file="detector.keras",
        )

    def model(self, recipe, classes):
        inputs = keras.Input((2,))
        return keras.Model(inputs, keras.layers.Dense(1)(inputs))

    def batches(self, train, recipe, first):
        def numbers():
            for number in itertools.count(first):
                self.trained.append(number)
                yield np.ones((1, 2), "float32"), np.ones((1, 1), "float32")

        spec = (tf.TensorSpec((1, 2)), tf.TensorSpec((1, 1)))
        return tf.data.Dataset.from_generator(numbers, output_signature=spec)

    def judge(self, model, test, recipe, folder):
        self.while_judged()
        if self.failing:
            raise RuntimeError("the judge")
        return {"AP": 0.5}

    def __call__(self, recipe, workdir, overwrite=False):
        return run(self.task, recipe, workdir, overwrite, verbose=0)


@pytest.fixture
def small():
    return Small()


@pytest.fixture
def data(made, tmp_path):  # noqa: F811
    """A copy of the pictures, of which something may be changed."""
    return shutil.copytree(made, tmp_path / "data")


@pytest.fixture
def recipe(data):
    return Downstream(dataset=str(data), steps=2, warmup_steps=0)


@pytest.fixture
def interrupted(small, recipe, tmp_path):
    """Makes the folder of a training that ends with an error after its last step."""

    def make(recipe=recipe):
        small.failing = True
        with pytest.raises(RuntimeError, match="the judge"):
            small(recipe, tmp_path / "out")
        small.failing, small.trained = False, []
        return RunFolder(tmp_path / "out.partial")

    return make


def backbone(path, seed=0, width=4):
    keras.utils.set_random_seed(seed)
    kl.backbones.resnet_small((16, 16, 3), widths=(width,) * 3).save(path)
    return path


def names(folder):
    return sorted(os.listdir(folder))


# === What stays if the folder cannot get its name ===


@pytest.mark.parametrize("error", [OSError("resource busy"), KeyboardInterrupt()])
def test_a_complete_training_that_cannot_be_renamed_stays(small, recipe, tmp_path, monkeypatch, error):
    workdir, partial = tmp_path / "out", tmp_path / "out.partial"
    workdir.mkdir()
    (workdir / "results.jsonl").write_text("earlier")

    def fails(*_):
        raise error

    monkeypatch.setattr(downstream_folder, "replace_folder", fails)
    words = "must be a name that .*out.partial can get, where the complete training is.*resource busy"
    with pytest.raises(type(error), match=words if str(error) else None):
        small(recipe, workdir, overwrite=True)
    assert (workdir / "results.jsonl").read_text() == "earlier"
    assert names(partial) == ["checkpoints", "detector.keras", "recipe.json", "results.jsonl"]
    monkeypatch.undo()
    small.trained = []
    assert small(recipe, workdir, overwrite=True) == {"AP": 0.5}
    assert names(workdir) == ["detector.keras", "recipe.json", "results.jsonl"]
    assert [line["value"] for line in RunFolder(workdir).results.read()] == [0.5] and not partial.exists()
    assert small.trained == []  # all steps were there


def test_what_was_put_there_during_the_training_stays(small, recipe, tmp_path):
    notes = tmp_path / "out" / "notes.txt"

    def put():
        notes.parent.mkdir()
        notes.write_text("mine")

    small.while_judged = put
    with pytest.raises(OSError, match=r"complete training is.*with notes\.txt, which `overwrite` does not"):
        small(recipe, notes.parent, overwrite=True)
    assert notes.read_text() == "mine" and "results.jsonl" in names(tmp_path / "out.partial")


def test_of_a_link_the_folder_that_it_leads_to_is_replaced(small, recipe, tmp_path):
    (tmp_path / "disk" / "det").mkdir(parents=True)
    link = tmp_path / "out"
    link.symlink_to(tmp_path / "disk" / "det")
    small(recipe, link)
    assert link.is_symlink() and names(tmp_path / "disk") == ["det"] and "results.jsonl" in names(link)


def test_what_cannot_be_replaced_is_refused_before_the_training(small, recipe, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ValueError, match="`workdir` must be a new folder or.*file, a file"):
        small(recipe, tmp_path / "file", overwrite=True)
    (tmp_path / "disk").mkdir()
    monkeypatch.setattr(os.path, "ismount", lambda path: True)
    with pytest.raises(ValueError, match="disk, a mounted disk, which cannot be renamed; a folder on it can"):
        small(recipe, tmp_path / "disk", overwrite=True)
    monkeypatch.undo()
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "detector.keras").write_text("mine")
    with pytest.raises(ValueError, match=r"suffix \.partial must be a new folder.*with detector\.keras"):
        small(recipe, tmp_path / "out")
    assert small.trained == [] and (tmp_path / "out.partial" / "detector.keras").read_text() == "mine"


def test_the_folder_that_the_command_runs_in_is_refused(small, recipe, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for workdir in (".", "..", "/", tmp_path / "here"):
        with pytest.raises(ValueError, match="`workdir` must be .*not the one that the command runs in"):
            small(recipe, workdir)
    small(recipe, "../here/../out")
    assert "results.jsonl" in names(tmp_path / "out")


def test_a_training_that_diverges_ends_with_the_reason_and_leaves_nothing(small, recipe, tmp_path):
    recipe = dataclasses.replace(recipe, steps=9, learning_rate=1e30)
    words = "`learning_rate` must be so low.*finite. Received: learning_rate=1e.30, and at step . a loss of "
    with pytest.raises(NonFiniteLossError, match=words):
        small(recipe, tmp_path / "out")
    assert names(tmp_path) == ["data"]


def test_checkpoints_that_a_killed_process_left_are_replaced(small, recipe, tmp_path, interrupted):
    folder = interrupted()
    (tmp_path / "out").mkdir()
    shutil.copytree(folder.checkpoints, tmp_path / "out" / "checkpoints")
    with pytest.raises(ValueError, match="with results"):
        small(recipe, tmp_path / "out")
    small(recipe, tmp_path / "out", overwrite=True)
    assert names(tmp_path / "out") == ["detector.keras", "recipe.json", "results.jsonl"]


# === What a training goes on from ===


def test_a_training_does_not_go_on_with_another_backbone(small, recipe, tmp_path, interrupted):
    file = backbone(tmp_path / "mine.keras")
    recipe = dataclasses.replace(recipe, backbone=str(file))
    folder = interrupted(recipe)
    backbone(file, seed=1)
    words = "began with other files. With the old files .*, and since it began other weights or layers in "
    with pytest.raises(ValueError, match=words + "backbone=.*mine.keras$"):
        small(recipe, tmp_path / "out")
    assert small.trained == [] and checkpoint_paths.paths(folder.checkpoints)
    backbone(file)  # the old weights in a new file
    small(recipe, tmp_path / "out")
    assert small.trained == []


def test_of_an_architecture_the_layers_count_alone(recipe, tmp_path):
    train = load_splits(recipe, "boxes")[0]
    drawn = dataclasses.replace(recipe, architecture=str(tmp_path / "mine.keras"))
    found = []
    for seed, width in ((0, 4), (1, 4), (1, 8)):
        backbone(tmp_path / "mine.keras", seed, width)
        found.append(contents(drawn, train)["architecture"])
    assert found[0] == found[1] != found[2]
    assert contents(recipe, train).keys() == {"dataset"}  # resnet18 is no file


def change_the_annotations(data):
    path = data / "Annotations" / "train_00000.xml"
    text = path.read_text()
    start = text.index("<xmax>") + len("<xmax>")
    end = text.index("</xmax>")
    path.write_text(f"{text[:start]}{int(text[start:end]) - 1}{text[end:]}")


def change_a_picture(data):
    path = min((data / "JPEGImages").iterdir())
    os.utime(path, ns=(0, 0))


def change_the_order(data):
    path = data / "ImageSets" / "Main" / "train.txt"
    path.write_text("\n".join(reversed(path.read_text().split())))


@pytest.mark.parametrize("change", [change_the_annotations, change_a_picture, change_the_order])
def test_a_training_does_not_go_on_with_other_training_pictures(
    small, recipe, data, tmp_path, interrupted, change
):
    interrupted()
    change(data)
    with pytest.raises(ValueError, match="other training pictures, annotations or classes in dataset="):
        small(recipe, tmp_path / "out")
    small(recipe, tmp_path / "out", overwrite=True)
    assert small.trained[:2] == [0, 1]


def test_other_test_pictures_are_judged_and_trainings_of_old_versions_go_on(
    small, recipe, data, tmp_path, interrupted
):
    noted = interrupted().checkpoints / downstream_folder.SETTINGS
    split = data / "ImageSets" / "Main" / "val.txt"
    split.write_text(split.read_text().split()[0])
    small(recipe, tmp_path / "out")
    assert small.trained == []
    shutil.rmtree(tmp_path / "out")
    interrupted()
    known = json.loads(noted.read_text())
    assert known.pop(downstream_folder.CONTENTS)["dataset"]
    noted.write_text(json.dumps(known))
    change_the_annotations(data)
    small(recipe, tmp_path / "out")
    assert small.trained == []
