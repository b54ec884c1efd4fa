"""The verdict on a run, from its intervals."""

import json

import numpy as np
import pytest

import keras_leoclr as kl
from keras_leoclr.report.accuracies import seen_in_training
from keras_leoclr.report.reading import read_run
from keras_leoclr.report.verdict import difference, verdict

pytestmark = pytest.mark.backend_free


@pytest.mark.parametrize(
    ("better", "mark", "words"),
    [
        (0.9, "yes", "better than a random backbone and than raw pixels"),
        (0.7, "yes", "not clearly better than raw pixels"),
        (0.65, "yes", "Raw pixels are still ahead"),
        (0.6, "no", "not better than a random one"),
        (0.5, "no", "worse than a random one"),
    ],
)
def test_the_verdict_follows_the_intervals(copy, better, mark, words):
    lines = read_run(copy).results
    hits = np.arange(200) < better * 200
    for line in lines:
        if line.get("subject") == "pretrained" and "hits_file" in line:
            np.save(copy / line["hits_file"], np.packbits(hits))
            line |= {"value": better, "low": better - 0.05, "high": better + 0.05}
    (copy / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = verdict(read_run(copy))
    assert found.mark == mark and words in found.headline


def test_the_verdict_says_if_one_measure_alone_is_better_than_raw_pixels(copy):
    lines = read_run(copy).results
    for line in lines:
        if line.get("subject") == "pretrained" and "hits_file" in line:
            better = 0.9 if line["name"] == "linear/top1" else 0.7
            np.save(copy / line["hits_file"], np.packbits(np.arange(200) < better * 200))
            line |= {"value": better, "low": better - 0.05, "high": better + 0.05}
    (copy / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "and in one measure better than raw pixels" in verdict(read_run(copy)).headline


@pytest.mark.parametrize(
    ("loss", "spread_of", "words"), [(1.0, 0.08, "not being solved"), (0.7, 0.0, "have collapsed")]
)
def test_a_run_that_solves_nothing_or_collapses_is_not_learning(tmp_path, loss, spread_of, words):
    (tmp_path / "recipe.json").write_text('{"projection_dim": 128}')
    (tmp_path / "history.csv").write_text(
        f"epoch,loss_to_chance,feature_std\n0,1.0,0.08\n1,{loss},{spread_of}\n"
    )
    found = verdict(read_run(tmp_path))
    assert found.mark == "no" and found.headline == "It is not learning."
    assert any(words in point.text for point in found.points)


def test_knn_that_fell_is_no_unsolved_task_where_the_queries_were_not_measured(copy):
    (copy / "recipe.json").unlink()  # as in a folder that a script of one's own has written
    rows = ["epoch,loss_to_chance,knn_top1", "0,0.9,0.8", "1,0.5,0.5"]
    (copy / "history.csv").write_text("\n".join(rows) + "\n")
    found = verdict(read_run(copy))
    assert [point.mark for point in found.points][:2] == ["yes", "no"]
    assert found.mark == "yes" and found.headline.startswith("It is learning")


def test_better_than_random_is_no_learning_where_the_training_began_with_other_weights(copy):
    recipe = json.loads((copy / "recipe.json").read_text())
    (copy / "recipe.json").write_text(json.dumps(recipe | {"initial_weights": "imagenet.weights.h5"}))
    found = verdict(read_run(copy))
    assert found.mark == "open" and "the weights that it began with were not measured" in found.headline
    lines = [line for line in read_run(copy).results if line.get("subject") not in ("random", "raw pixels")]
    (copy / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "random" not in verdict(read_run(copy)).headline


def test_chance_is_the_most_frequent_class(copy):
    for file in copy.glob("evaluation/*confusion*"):
        np.save(file, np.array([[80, 10], [5, 5]]))
    assert any(
        "always naming the most frequent class reaches 90.0%" in point.text
        for point in verdict(read_run(copy)).points
    )
    assert any(point.mark == "no" and "90.0%" in point.text for point in verdict(read_run(copy)).points)


def test_differences_without_hits_take_both_intervals(run):
    record = read_run(run)
    one = {"value": 0.8, "low": 0.77, "high": 0.83, "images": 100}
    other = {"value": 0.6, "low": 0.56, "high": 0.64, "images": 100}
    change, low, high = difference(record, one, other)
    assert (change, low, high) == pytest.approx((0.2, 0.15, 0.25))
    assert difference(record, {"value": 0.8}, other) is None
    assert difference(record, one, other | {"images": 200}) is None


def test_random_weights_that_were_not_measured_are_named_with_the_command(copy):
    lines = [line for line in read_run(copy).results if line.get("subject") != "random"]
    recipe = json.loads((copy / "recipe.json").read_text())
    for line in lines:
        if line.get("subject") == "pretrained":
            line |= {"dataset": recipe["dataset"], "train_split": "train[:80%]", "test_split": "train[80%:]"}
    (copy / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    headline = verdict(read_run(copy)).headline
    assert "has not been measured" not in headline and "not measured on the same images: `leoclr" in headline
    assert headline.endswith(
        '--backbone random --train_split "train[:80%]" --test_split "train[80%:]"` measures them.'
    )
    assert "(train[80%:]) are among those that the network was pretrained on (train)" in kl.Run(copy).table()


def test_random_weights_on_other_test_images_say_nothing_about_the_training(copy):
    lines = read_run(copy).results
    assert verdict(read_run(copy)).mark != "open"
    for line in lines:
        line |= {"test_content": "old"} if line.get("subject") == "random" else {"test_content": "new"}
    (copy / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = verdict(read_run(copy))
    assert found.mark == "open" and "random weights were not measured on the same images" in found.headline
    assert not any("random" in point.text for point in found.points)


@pytest.mark.parametrize(
    ("trained", "judged", "seen"),
    [
        ("train", "test", False),
        ("train", "train[80%:]", True),
        ("train[:80%]", "train[80%:]", False),
        ("train[:90%]", "train[80%:]", True),
        ("train[:100]", "train[50%:]", False),  # their number decides
        ("train+test", "test", False),
    ],
)
def test_test_images_that_were_pretrained_on_are_known_by_their_splits(trained, judged, seen):
    line = {"name": "knn/top1", "value": 0.5, "subject": "pretrained", "dataset": "a", "test_split": judged}
    assert bool(seen_in_training({"dataset": "a", "train_split": trained}, [line])) == seen
