"""Images without a label, -1: left out of what needs labels, counted and said, and shown elsewhere."""

import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import keras_leoclr as kl
from keras_leoclr import data, evaluation
from keras_leoclr.evaluation.suite import ALL, Suite, SuiteOptions
from keras_leoclr.runs.results import Results
from keras_leoclr.views.preprocessing import Preprocessing
from tests.evaluation.examples import VIEWS, pictures
from tests.evaluation.test_features import backbone_with

PREPROCESSING = Preprocessing(8)
TRAIN, TEST = pictures(seed=1, noise=300), pictures(seed=2, noise=300)
OPTIONS = SuiteOptions(
    k=(5,),
    per_class=2,
    fewer_per_class=True,
    draws=1,
    crop_scales=(0.5,),
    changes=("occlusion",),
    map_images=20,
)
COUNT = TRAIN.count


def arrays(source, missing=()):
    """The source as arrays, some images without a label."""
    batch = next(iter(source.batch(COUNT)))
    label = batch["label"].numpy()
    label[list(missing)] = -1
    return {"image": batch["image"].numpy(), "label": label}


def judged(folder, backbone, train, test, names):
    results = Results(folder / "results.jsonl")
    results.path.unlink(missing_ok=True)
    about = {"subject": "mine", "dataset": "d"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Suite(backbone, train, test, PREPROCESSING, results, about, OPTIONS).run(names)
    return results.read()


def values(lines):
    return {line["name"]: line["value"] for line in lines}


@pytest.mark.backend_free
@given(missing=st.sets(st.integers(0, COUNT - 1), max_size=COUNT), unknown=st.sets(st.integers(0, COUNT - 1)))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_accuracies_are_those_of_the_images_with_labels(tmp_path, missing, unknown):
    train, test = data.load(arrays(TRAIN, missing)), data.load(arrays(TEST, unknown))
    rows = [np.setdiff1d(np.arange(COUNT), list(part)) for part in (missing, unknown)]
    classes = len(np.unique(TRAIN.labels[rows[0]]))
    if classes < 2 or not len(rows[1]):
        with pytest.raises(ValueError, match=r"`(train|test|train_labels|source)` must "):
            judged(tmp_path, None, train, test, ["knn"])
        return
    lines = judged(tmp_path, None, train, test, ["knn", "linear", "few"])
    alone = judged(tmp_path, None, TRAIN.subset(rows[0]), TEST.subset(rows[1]), ["knn", "linear", "few"])
    assert values(lines) == values(alone)
    for line in lines:
        assert (line["train_images"], line["test_images"]) == tuple(map(len, rows))
        for split, part in (("train", missing), ("test", unknown)):
            assert line.get(f"{split}_without_label", 0) == len(part)


def test_every_evaluator_takes_data_that_are_partly_labelled(tmp_path):
    missing, unknown = (0, 5, 6, 30), (1, 2, 20)
    train, test = data.load(arrays(TRAIN, missing)), data.load(arrays(TEST, unknown))
    backbone = backbone_with()
    lines = judged(tmp_path, backbone, train, test, ALL)
    known = [np.setdiff1d(np.arange(COUNT), part) for part in (missing, unknown)]
    labelled = judged(tmp_path, backbone, TRAIN.subset(known[0]), TEST.subset(known[1]), ALL)
    same = ("knn/top1", "linear/top1", "linear_few/top1", "quality/worst_class")
    for name in same:
        assert values(lines)[name] == pytest.approx(values(labelled)[name], abs=1e-6), name
    # what needs no labels sees all images, also those without one
    counts = {line["name"]: line.get("images", line["test_images"]) for line in lines}
    assert counts["quality/alignment"] == counts["retrieval/recall@1"] == COUNT
    assert counts["robustness/knn/top1"] == counts["knn/top1"] == COUNT - 3
    assert counts["embedding/explained"] == 20


def test_confusion_and_map_leave_out_what_has_no_label():
    train, test = data.load(arrays(TRAIN, (0, 3))), data.load(arrays(TEST, range(0, COUNT, 2)))
    backbone = backbone_with()
    sets = [
        evaluation.extract_features(backbone, data.image_batches(s, PREPROCESSING)) for s in (train, test)
    ]
    quality = evaluation.Quality(backbone, *sets[0], test, PREPROCESSING, k=5, test_set=sets[1])
    worst = list(quality.run())[-1]
    assert worst.arrays["confusion"].sum() == COUNT // 2 and worst.arrays["neighbours"].shape == (COUNT, 10)
    (score,) = evaluation.Embedding(backbone, train, test, VIEWS, images=COUNT).run()
    assert (score.arrays["labels"] == -1).sum() == COUNT // 2
    assert score.arrays["predicted"].min() >= 0 and score.protocol["k"] == 20
    nothing = data.load(arrays(TEST, range(COUNT - 1))).subset(np.arange(COUNT - 1))  # -1 all over
    (score,) = evaluation.Embedding(backbone, train, nothing, VIEWS, images=10).run()
    assert "labels" not in score.arrays and len(score.arrays["coordinates"]) == 10


@pytest.mark.backend_free
def test_how_many_have_no_label_is_said(tmp_path):
    train = data.load(arrays(TRAIN, range(6)))
    suite = Suite(None, train, TEST, PREPROCESSING, Results(tmp_path / "results.jsonl"), {}, OPTIONS)
    with pytest.warns(
        UserWarning, match=r"6 of 36 images of `train` have no label \(-1\): what needs labels"
    ):
        suite.run(["knn"])
    empty = data.load(arrays(TRAIN, range(COUNT - 1))).subset(np.arange(COUNT - 1))
    assert empty.labelled
    suite = Suite(None, empty, TEST, PREPROCESSING, Results(tmp_path / "results.jsonl"), {}, OPTIONS)
    with pytest.raises(ValueError, match="`train` must have images with a label. Received: 35 images, all"):
        suite.run(["knn"])


def test_quality_needs_no_test_image_with_a_label(tmp_path):
    test = data.load(arrays(TEST, range(COUNT - 1))).subset(np.arange(COUNT - 1))  # -1 all over
    found = values(judged(tmp_path, backbone_with(), TRAIN, test, ["quality"]))
    assert "quality/alignment" in found and "quality/worst_class" not in found


@pytest.mark.parametrize("evaluator", ["linear", "finetune"])
def test_training_on_images_leaves_out_what_has_no_label(evaluator):
    missing = (0, 1, 2, 7)
    train, test = data.load(arrays(TRAIN, missing)), data.load(arrays(TEST, (4,)))
    backbone = kl.backbones.resnet_small((8, 8, 3), widths=(8,))
    how = {"epochs": 1, "batch_size": 16}
    if evaluator == "linear":
        made = evaluation.LinearProbe(backbone, train, test, VIEWS, **how)
    else:
        made = evaluation.Finetune(backbone, train, test, VIEWS, fraction=1.0, seeds=(0,), **how)
    with pytest.warns(UserWarning, match="images of `train` have no label"):
        scores = list(made.run())
    hits = next(score.hits for score in scores if score.hits is not None)
    assert len(hits) == COUNT - 1
    if evaluator == "finetune":
        assert scores[0].protocol["labelled_images"] == COUNT - 4
