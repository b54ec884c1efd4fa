"""Results on other images than those of the run are not taken for its own."""

import dataclasses
import json

import pytest

import keras_leoclr as kl
from keras_leoclr import evaluation, report
from keras_leoclr.data.given import IN_PYTHON
from keras_leoclr.evaluation.own_results import judged_on, own_results
from keras_leoclr.report.reading import read_run
from keras_leoclr.report.run_list import list_runs
from keras_leoclr.report.sections.further import further
from keras_leoclr.report.sections.summary import verdicts
from keras_leoclr.report.verdict import verdict
from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.training.recipe import Recipe

pytestmark = pytest.mark.backend_free
OWN, OTHER = ("fashion_mnist", "test"), ("harder", "test")


def line(value, subject="pretrained", data=OWN, name="linear/top1"):
    found = {"name": name, "value": value, "subject": subject, "low": value - 0.02, "high": value + 0.02}
    return found | ({} if data is None else dict(zip(("dataset", "test_split"), data, strict=True)))


def write(path, *lines):
    folder = RunFolder(path)
    folder.path.mkdir(exist_ok=True)
    folder.write_recipe(dataclasses.asdict(Recipe(dataset="fashion_mnist")))
    folder.write_about({"finished": True})
    folder.history_file.write_text("epoch,loss_to_chance,feature_std\n0,0.9,0.06\n1,0.5,0.06\n")
    folder.results_file.write_text("".join(json.dumps(each) + "\n" for each in lines))
    return folder


@pytest.fixture
def folder(tmp_path):
    """A run that was judged on its own test images and then, in the same folder, on harder ones."""
    own = [line(0.6, "raw pixels"), line(0.62, "random"), line(0.8)]
    others = [
        line(0.3, data=OTHER),
        line(0.4, data=("fashion_mnist", "train")),
        line(0.1, name="mine", data=OTHER),
    ]
    others += [line(0.9, name="transfer/cars", data=("cars", "test")), line(0.5, name="speed", data=None)]
    return write(tmp_path / "run", *own, *others)


def test_verdict_table_and_results_are_of_the_images_of_the_run(folder):
    found = verdict(read_run(folder.path))
    assert found.headline == "It is learning: better than a random backbone and than raw pixels."
    assert not any("lower" in point.text for point in found.points)
    run = kl.Run(folder.path)
    assert run.results["pretrained/linear/top1"] == 0.8 and run.results["pretrained/transfer/cars"] == 0.9
    assert "pretrained/mine" not in run.results and len(run.lines) == 8
    expected = ["raw pixels", "random", "pretrained", "pretrained, on harder (test)"]
    expected += ["pretrained, on fashion_mnist (train)"]
    rows = [row[:40].strip() for row in run.table().splitlines()[1:6]]
    assert rows == expected and "30.0" in run.table()
    others = [each for each in run.lines if each.get("dataset") != "cars" and each["value"] > 0.3]
    assert "random, on fashion_mnist (test)" in report.table([*others, line(0.3, data=OTHER)])
    (listed,) = list_runs(folder.path)
    assert listed["results"] == {"linear/top1": 0.8}


def test_the_report_lists_results_on_other_images_with_their_names(folder):
    record = read_run(folder.path)
    (told,) = verdicts([record])
    assert [name for name, _ in told.accuracies.body][2:4] == ["pretrained", "pretrained, on harder (test)"]
    names = [row[0] for row in further([record])["table"].body]
    assert "mine, on harder (test)" in names and "transfer/cars" in names


def test_runs_are_compared_on_the_images_of_the_first(folder, tmp_path):
    other = write(tmp_path / "other", line(0.7, data=OTHER), line(0.75))
    text = evaluation.compare([folder.path, other.path])
    assert text.startswith("run is ahead of other, by 5.0 points")
    assert "linear/top1, on harder (test)" in text
    other = write(tmp_path / "other", line(0.7, data=OTHER))
    assert "different test images" in evaluation.compare([folder.path, other.path])


def test_pictures_without_a_name_are_told_apart_by_their_content():
    recipe, data = {"dataset": IN_PYTHON, "test_split": "test"}, (IN_PYTHON, "test")
    lines = [
        line(0.6, "random", data) | {"test_content": "aa"},
        line(0.8, data=data) | {"test_content": "aa"},
    ]
    lines += [line(0.3, data=data) | {"test_content": "bb" * 16}, line(0.7, "stream", data)]
    assert own_results(recipe, lines) == [*lines[:2], lines[3]]
    assert f"pretrained, on {IN_PYTHON} (test, checksum bbbbbb)" in report.table(lines, recipe=recipe)


def test_a_map_of_other_pictures_does_not_name_the_classes_of_the_run():
    maps = [
        line(0.5, data=(name, "test"), name="embedding/explained") for name in ("fashion_mnist", "harder")
    ]
    assert own_results({"dataset": "fashion_mnist"}, maps) == maps[:1]
    assert own_results({"dataset": "third"}, maps) == maps


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([line(0.5), line(0.5, data=OTHER)], OWN),
        ([line(0.5, data=("fashion_mnist", "train")), line(0.5, data=OTHER)], ("fashion_mnist", "train")),
        ([line(0.5, data=OTHER), line(0.5, "random", data=("easy", "test"))], OTHER),
        ([line(0.5, data=None), line(0.5, name="quality/rankme", data=OTHER)], None),
    ],
)
def test_a_run_without_results_on_its_own_test_images_has_others(lines, expected):
    assert judged_on({"dataset": "fashion_mnist", "test_split": "test"}, lines) == expected
