"""The suite, the monitors, the comparison and the report where a picture has several labels."""

import csv

import keras
import numpy as np
import pytest

import keras_leoclr as kl
from keras_leoclr import callbacks, evaluation
from keras_leoclr.evaluation import scores
from keras_leoclr.evaluation.comparison import compare_rows
from keras_leoclr.report import write_report
from keras_leoclr.report.reading import read_run
from keras_leoclr.report.verdict import verdict
from keras_leoclr.runs.results import Results
from keras_leoclr.views.preprocessing import Preprocessing
from tests.case import batched, random_views, small_model
from tests.evaluation.examples import several_things

NAMES = ("knn", "linear", "few", "quality", "robustness", "embedding", "linear_paper", "finetune")
ON_FEATURES = ("knn", "linear", "few")


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """The folder of a suite of two backbones and of raw pixels; and the train and test images."""
    folder = tmp_path_factory.mktemp("several")
    train, test = several_things(64), several_things(40, seed=1)
    options = evaluation.SuiteOptions(
        k=(10,),
        per_class=4,
        draws=2,
        map_images=12,
        changes=("occlusion",),
        fraction=0.5,
        seeds=(0,),
        epochs=1,
    )
    for seed, (subject, names) in enumerate(
        {"pretrained": NAMES, "random": ON_FEATURES, "raw pixels": ON_FEATURES}.items()
    ):
        keras.utils.set_random_seed(seed)
        backbone = None if subject == "raw pixels" else kl.backbones.resnet_small((8, 8, 3), widths=(8, 16))
        about = {"subject": subject, "dataset": "squares", "train_split": "train", "test_split": "test"}
        suite = evaluation.Suite(
            backbone,
            train,
            test,
            Preprocessing(8),
            Results(folder / "results.jsonl"),
            about,
            options,
            folder / "features",
        )
        suite.run(names)
    return folder, train, test


def test_every_evaluator_speaks_of_mean_average_precision(judged):
    lines = Results(judged[0] / "results.jsonl").read()
    names = {line["name"] for line in lines if line["subject"] == "pretrained"}
    assert names >= {
        *("knn/map", "linear/map", "linear_few/map", "linear_sgd/map", "finetune/map", "finetune_run/map"),
        *("robustness/knn/map", "robustness/linear/map", "robustness/linear/mean"),
        *("quality/average_precision", "quality/worst_class", "embedding/explained"),
    }
    assert not any(name.endswith(("top1", "top5", "mean_per_class", "class_accuracy")) for name in names)
    for line in lines:
        if line["name"] in ("knn/map", "linear/map", "robustness/knn/map", "quality/average_precision"):
            assert 0 <= line["low"] <= line["value"] <= line["high"] <= 1
    few = next(line for line in lines if line["name"] == "linear_few/map")
    assert few["map_std"] >= 0 and 4 <= few["labelled_images"] <= 12


def test_features_and_labels_come_back_from_the_cache(judged):
    folder, train, _ = judged
    found = [np.load(path) for path in (folder / "features").glob("*/labels.npy")]
    assert {(labels.dtype.name, labels.shape[1]) for labels in found} == {("uint8", 3)}
    assert any(np.array_equal(labels, train.labels) for labels in found)


@pytest.mark.parametrize("measure", ["knn/map, k 10", "linear/map"])
def test_differences_are_paired_over_the_test_images(judged, measure):
    rows = {row["measurement"]: row for row in compare_rows([judged[0]], ["random", "pretrained"])}
    change = rows[measure]["differences"]["pretrained"]
    assert change["low"] <= change["value"] <= change["high"] and "beyond_chance" in change
    same = compare_rows([judged[0], judged[0]], ["random"], only=measure.split(",")[0])
    assert all(found["low"] == found["high"] == 0 for row in same for found in row["differences"].values())


def test_damaged_ranks_are_refused(judged, tmp_path):
    line = next(line for line in Results(judged[0] / "results.jsonl").read() if line["name"] == "knn/map")
    ranks, labels = scores.read_ranking(line, judged[0])
    assert ranks.shape == labels.shape == (40, 3)
    with pytest.raises(ValueError, match="must hold the ranks and labels of 41 images"):
        scores.read_ranking(line | {"images": 41}, judged[0])


def test_the_report_shows_the_classes_and_the_pictures_with_all_their_labels(judged):
    run = read_run(judged[0])
    page = write_report(judged[0], judged[0] / "report.html").read_text()
    assert "Average precision of the classes" in page and "class 2" in page
    assert "a class in common" in page and "class 0, class 1" in page and "Confusion of classes" not in page
    points = " ".join(point.text for point in verdict(run).points)
    assert "an order of the images that does not depend on them reaches" in points
    assert "Linear mean average precision" in points


def test_monitors_write_the_mean_average_precision_of_each_epoch(tmp_path):
    model, train = small_model(), several_things(40)
    preprocessing = Preprocessing(8)
    results = Results(tmp_path / "results.jsonl")
    bank, queries = (
        kl.data.image_batches(part, preprocessing, 8) for part in (train.take(24), train.skip(24))
    )
    monitor = callbacks.KNNMonitor(bank, queries, k=5, results=results)
    probe = callbacks.OnlineLinearProbe(bank, monitor, every=1, results=results)
    history = callbacks.HistoryFile(tmp_path / "history.csv", ["knn_map", "probe_map"])
    model.fit(
        batched(random_views()), epochs=2, verbose=0, shuffle=False, callbacks=[monitor, probe, history]
    )
    with (tmp_path / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(0 < float(row[name]) <= 1 for row in rows for name in ("knn_map", "probe_map"))
    names = [line["name"] for line in results.read()]
    assert names == ["monitor/knn_map", "monitor/probe_map"] * 2
