"""Evaluators that need images and a backbone: the same values on every backend."""

import json
import pathlib

import numpy as np
import pytest

import keras_leoclr as kl
from keras_leoclr import evaluation
from keras_leoclr.data import as_source
from tests.evaluation.examples import VIEWS, pictures
from tests.evaluation.test_features import backbone_with


def features(backbone, source):
    return evaluation.extract_features(backbone, kl.data.image_batches(source, VIEWS, 36))


# Computed once with the TensorFlow backend: `{label: value}`, see the test.
EXPECTED = json.loads((pathlib.Path(__file__).parents[1] / "fixtures" / "evaluation.json").read_text())


@pytest.fixture(scope="module")
def measured():
    backbone = backbone_with()
    train, test = pictures(seed=1, noise=300), pictures(seed=2, noise=300)
    sets = (*features(backbone, train), *features(backbone, test))
    retrieval = evaluation.Retrieval(backbone, test, VIEWS, (0.3, 1.0), batch_size=36)
    changes = ("occlusion",)
    robustness = evaluation.Robustness(backbone, *sets[:2], test, VIEWS, changes, k=5, batch_size=36)
    quality = evaluation.Quality(backbone, *sets[:2], test, VIEWS, k=5)
    evaluators = (evaluation.KNN(*sets, k=(1, 5)), evaluation.Linear(*sets), retrieval, robustness, quality)
    return [score for evaluator in evaluators for score in evaluator.run()]


def test_values_are_the_same_on_every_backend(measured):
    keys = ("k", "crop_scale", "change", "severity", "class")
    found = {}
    for score in measured:
        label = [score.name, *(str(score.protocol[key]) for key in keys if key in score.protocol)]
        found[" ".join(label)] = score.value
    assert found == pytest.approx(EXPECTED, abs=1e-4)


def test_scores_carry_hits_intervals_and_arrays(measured):
    by_name = {score.name: score for score in measured}
    for name in ("knn/top1", "linear/top1", "retrieval/recall@1", "robustness/knn/top1"):
        score = by_name[name]
        assert score.hits.mean() == pytest.approx(score.value) and len(score.hits) == 36
        assert score.interval[0] <= score.value <= score.interval[1]
    whole = [s for s in measured if s.protocol.get("crop_scale") == 1.0]
    assert len(whole) == 2 and all(s.value == 1 for s in whole)  # the image itself
    worst = by_name["quality/worst_class"]
    assert worst.arrays["confusion"].sum() == 36 and worst.arrays["neighbours"].shape == (36, 10)
    for score in measured:
        json.dumps(score.protocol)


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (
            lambda b, s: evaluation.Retrieval(b, s, VIEWS, (0.0,)),
            r"`crop_scales` must be numbers in \(0, 1\]",
        ),
        (
            lambda b, s: evaluation.Robustness(b, None, None, s, VIEWS, ("fog",)),
            "`changes` must be some of centre_crop.*Received: fog",
        ),
        (lambda b, s: evaluation.Finetune(b, s, s, VIEWS, 0.0), r"`fraction` must be in \(0, 1\]"),
        (lambda b, s: evaluation.Finetune(b, s, s, VIEWS, seeds=()), "`seeds` must be whole numbers"),
        (
            lambda b, s: evaluation.Finetune(b, s, s, VIEWS, head_rate=0),
            "`head_rate` must be a number > 0. Received: head_rate=0",
        ),
        (lambda b, s: evaluation.LinearProbe(b, s, s, VIEWS, ()), "`learning_rates` must be numbers > 0"),
        (
            lambda b, s: evaluation.Transfer(b, VIEWS, ()),
            "`targets` must be data sets with one of",
        ),
        (
            lambda b, s: list(evaluation.Finetune(b, s, pictures(classes=4), VIEWS).run()),
            r"`train` must have images of every class of `test`. Received: none of \[3\]",
        ),
        (
            lambda b, s: list(
                evaluation.LinearProbe(b, pictures(classes=1), pictures(classes=1), VIEWS).run()
            ),
            "`train` must have two classes or more. Received: only 0",
        ),
        (
            lambda b, s: as_source(s.map(lambda e: {"image": e["image"]})).read_labels(),
            "`source` must have labels to be evaluated on. Received: elements with image alone",
        ),
        (lambda b, s: evaluation.Finetune(b, s.batch(4), s, VIEWS), "`train` must have single images"),
        (lambda b, s: evaluation.LinearProbe(b, s, 3, VIEWS), "`test` must be what `data.load` returns.*int"),
        (lambda b, s: evaluation.Quality(b, [], [], pictures, VIEWS), "`test` must be what.*function"),
        (
            lambda b, s: evaluation.Embedding(b, np.zeros((2, 8, 8, 3)), s, VIEWS),
            "`bank`.*a source of arrays",
        ),
        (
            lambda b, s: evaluation.Retrieval(b, s.map(lambda e: (e["image"],)), VIEWS),
            "`source`.*tuples of 1",
        ),
    ],
)
def test_unusable_arguments_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make(None, pictures())


@pytest.mark.backend_free
def test_images_in_another_order_each_time_are_noticed():
    backbone, test = backbone_with(), pictures()
    train, shuffled = features(backbone, test), test.shuffle(36)  # anew in every pass
    words = "`test` must yield the same images in the same order each time.*36 and 36 labels in two passes, "
    for made in (
        evaluation.Retrieval(backbone, shuffled, VIEWS, (1.0,)),
        evaluation.Quality(backbone, *train, shuffled, VIEWS),
    ):
        with pytest.raises(ValueError, match=words):
            list(made.run())
    found = list(evaluation.Robustness(backbone, *train, shuffled, VIEWS, ("brightness",), k=1).run())
    ordered = list(evaluation.Robustness(backbone, *train, test, VIEWS, ("brightness",), k=1).run())
    assert [score.value for score in found] == pytest.approx([score.value for score in ordered])


@pytest.mark.backend_free
def test_a_single_image_has_no_uniformity():
    backbone, one = backbone_with(), pictures().take(1)
    found = {score.name: score.value for score in evaluation.Quality(backbone, *_of(one), one, VIEWS).run()}
    assert "quality/uniformity" not in found and np.isfinite(found["quality/alignment"])


def _of(source):
    return features(backbone_with(), source)
