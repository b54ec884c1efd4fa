"""Heads and backbones that are trained on images: the linear protocol by SGD, fine-tuning."""

import types

import keras
import numpy as np
import pytest

from keras_leoclr import evaluation
from keras_leoclr.backbones.copying import copy_of
from keras_leoclr.evaluation import batches, finetune, linear_on_crops, suite_evaluators, supervised
from keras_leoclr.evaluation.label_draws import labelled_fraction
from keras_leoclr.evaluation.suite_options import SuiteOptions
from tests.case import to_numpy
from tests.evaluation.examples import VIEWS, pictures
from tests.evaluation.test_features import backbone_with


def test_linear_probe_learns_colours_and_leaves_the_backbone_alone():
    backbone = backbone_with()
    before = [w.copy() for w in backbone.get_weights()]
    probe = evaluation.LinearProbe(
        backbone, pictures(), pictures(seed=1), VIEWS, learning_rates=(1e-6, 1.0), epochs=4, batch_size=12
    )
    found = {score.name: score for score in probe.run()}
    assert found["linear_sgd/top1"].value > 0.8
    assert found["linear_sgd/top1"].protocol["learning_rate"] == 1.0
    assert all((a == b).all() for a, b in zip(before, backbone.get_weights(), strict=True))
    assert all(layer.trainable for layer in backbone.layers)


def test_linear_probe_fails_if_a_bit_of_the_backbone_changes(monkeypatch):
    sums = iter("ab")
    monkeypatch.setattr(linear_on_crops, "checksum", lambda _: next(sums))
    monkeypatch.setattr(linear_on_crops, "train_classifier", lambda *_, **__: None)
    probe = evaluation.LinearProbe(backbone_with(), pictures(), pictures(), VIEWS)
    with pytest.raises(RuntimeError, match="The backbone changed while its head was trained"):
        list(probe.run())


def test_finetuning_trains_both_and_keeps_the_original(one_torch_thread, monkeypatch):
    copies = []
    make = supervised.classifier_on
    monkeypatch.setattr(finetune, "classifier_on", lambda *given: copies.append(make(*given)) or copies[-1])
    backbone = backbone_with()
    before = [w.copy() for w in backbone.get_weights()]
    tuning = evaluation.Finetune(
        backbone, pictures(), pictures(seed=1), VIEWS, 0.5, (0, 1), epochs=3, batch_size=6, head_rate=0.5
    )
    found = list(tuning.run())
    assert [score.name for score in found] == ["finetune_run/top1"] * 2 + ["finetune/top1", "finetune/top5"]
    mean = found[2]
    assert mean.value == pytest.approx((found[0].value + found[1].value) / 2) and mean.value > 0.6
    assert mean.protocol["labelled_images"] == 18 and mean.protocol["top1_std"] >= 0
    assert all((a == b).all() for a, b in zip(before, backbone.get_weights(), strict=True))
    for copy, _ in copies:
        assert len(copy.trainable_weights) == 4
        assert all((a != b).any() for a, b in zip(before, copy.get_weights(), strict=True))


@pytest.mark.parametrize("make", [evaluation.LinearProbe, evaluation.Finetune])
def test_training_on_a_stream_of_unknown_length_ends(make, one_torch_thread, monkeypatch):
    steps = []
    monkeypatch.setattr(supervised.Bar, "advance", lambda self: steps.append(0) or len(steps) < 9 or 1 / 0)
    stream = pictures().filter(lambda element: True)
    how = {} if make is evaluation.LinearProbe else {"fraction": 1.0, "seeds": (0,)}
    found = list(make(backbone_with(), stream, pictures(seed=1), VIEWS, epochs=2, batch_size=12, **how).run())
    assert found and len(steps) == 6


def test_half_precision_is_trained_in_float32():
    backbone = copy_of(backbone_with(), dtype="mixed_float16")
    trained, _ = supervised.classifier_on(backbone, 3, False, 0.01, 0)
    frozen, _ = supervised.classifier_on(backbone, 3, True, 0.01, 0)
    assert {layer.compute_dtype for layer in trained._flatten_layers()} == {"float32"}
    assert "float16" in {layer.compute_dtype for layer in frozen._flatten_layers()}


def test_a_learning_rate_that_diverges_is_not_chosen(one_torch_thread):
    sets = (pictures(), pictures(seed=1), VIEWS)
    probe = evaluation.LinearProbe(backbone_with(), *sets, (1e38, 1.0), epochs=1, batch_size=12)
    assert next(iter(probe.run())).protocol["learning_rate"] == 1.0
    with pytest.raises(supervised.DivergedError, match="diverged; try a lower learning rate"):
        list(evaluation.LinearProbe(backbone_with(), *sets, (1e38,), epochs=1, batch_size=12).run())


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("labelled", "given", "length"),
    [
        (128_116, {}, (20, 256)),  # 10 % and
        (12_811, {}, (20, 256)),  # 1 % of ImageNet, as SwAV has them
        (3_000, {}, (20, 60)),
        (947, {}, (20, 32)),
        (94, {}, (250, 32)),
        (10, {}, (500, 10)),
        (94, {"epochs": 3}, (3, 32)),
        (94, {"batch_size": 500}, (500, 94)),
    ],
)
def test_a_few_labels_are_trained_on_for_500_steps(labelled, given, length):
    tuning = evaluation.Finetune(backbone_with(), pictures(), pictures(), VIEWS, **given)
    assert tuning._length(labelled) == length


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("dataset", "fraction", "given", "rates"),
    [
        ("tfds:imagenet2012", 0.01, {}, (0.02, 5.0)),
        ("tfds:imagenet2012", 0.1, {}, (0.01, 0.2)),
        ("tfds:imagenet2012", 0.01, {"head_rate": 1.0}, (0.02, 1.0)),
        ("tfds:imagenette", 0.01, {}, (0.01, 0.2)),
        ("tfds:imagenette", 0.01, {"backbone_rate": 0.5}, (0.5, 0.2)),
    ],
)
def test_learning_rates_of_published_lists_are_those_of_swav(dataset, fraction, given, rates, monkeypatch):
    made, source = [], pictures()
    make = evaluation.Finetune
    monkeypatch.setattr(
        suite_evaluators.evaluation, "Finetune", lambda *a, **k: made.append(make(*a, **k)) or made[-1]
    )
    monkeypatch.setattr(suite_evaluators.data, "load", lambda *_: source)
    asked = types.SimpleNamespace(
        options=SuiteOptions(fraction=fraction, **given),
        train=source,
        test=source,
        about={"dataset": dataset},
        data_dir=None,
        backbone=backbone_with(),
        preprocessing=VIEWS,
        verbose=False,
    )
    suite_evaluators.MAKERS["finetune"](asked)
    assert (made[0].backbone_rate, made[0].head_rate) == rates
    assert made[0].fraction == (1.0 if dataset == "tfds:imagenet2012" else fraction)


@pytest.mark.parametrize("frozen", [True, False])
def test_a_head_alone_takes_the_same_steps_on_every_backend(one_torch_thread, frozen):
    """Against SGD in NumPy: order, momentum, the fall of the rate; the backbone's rate of 0 is kept."""
    copy, classifier = supervised.classifier_on(backbone_with(), 3, frozen, 0.01, 0)
    layer = classifier.get_layer("head")
    weights = np.random.default_rng(0).normal(0, 0.1, (9, 3)).astype("float32")
    layer.set_weights([weights[:-1], weights[-1]])
    before = [to_numpy(v).copy() for v in copy.variables]
    view = batches.clean_view(VIEWS, (0.3, 1.0), flip_probability=0.5)
    how = {"epochs": 3, "batch_size": 12, "seed": 4}
    rates = {"head_rate": 0.4, "backbone_rate": 0.0, "milestones": (1, 2), "gamma": 0.5}
    supervised.train_classifier(classifier, pictures(), view, verbose=False, **how, **rates)
    same = [(to_numpy(v) == old).all() for v, old in zip(copy.variables, before, strict=True)]
    if not frozen:  # BatchNorm's statistics alone are those of the batches
        assert same == [True, True, True, True, False, False] and len(copy.trainable_variables) == 4
        assert np.abs(layer.get_weights()[0] - weights[:-1]).max() > 0.1
        return
    assert all(same)
    velocity = np.zeros_like(weights)
    for step, (images, labels) in enumerate(
        evaluation.labelled_batches(pictures(), view, **how).as_numpy_iterator()
    ):
        inputs = np.concatenate([copy.predict_on_batch(images), np.ones((12, 1))], axis=1)
        probabilities = np.exp(inputs @ weights)
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        velocity = 0.9 * velocity + inputs.T @ (probabilities - np.eye(3)[labels]) / 12
        weights = weights - 0.4 * 0.5 ** (step // 3) * velocity
    assert step == 8
    np.testing.assert_allclose(np.vstack(layer.get_weights()), weights, atol=1e-4)


def test_head_and_backbone_have_learning_rates_of_their_own():
    _, classifier = supervised.classifier_on(backbone_with(), 3, False, 0.01, 0)
    head = classifier.get_layer("head").trainable_variables
    optimizer = supervised.TwoRatesSGD(0.5, 0.1, head, momentum=0.9)
    variables = classifier.trainable_variables
    before = [to_numpy(v).copy() for v in variables]
    gradients = [keras.ops.ones(v.shape) for v in variables]
    for _ in range(2):  # a momentum of 0.9: 1 and then 1.9 times the gradient
        optimizer.apply(gradients, variables)
    for variable, old in zip(variables, before, strict=True):
        step = 2.9 * (0.5 if any(variable is h for h in head) else 0.05)
        np.testing.assert_allclose(to_numpy(variable), old - step, atol=1e-5)


@pytest.mark.backend_free
def test_a_fraction_of_the_labels_is_balanced_and_leaves_no_class_out():
    labels = np.repeat([0, 1, 2], [100, 50, 10])
    rows = labelled_fraction(labels, 0.1, seed=0)
    assert np.bincount(labels[rows]).tolist() == [10, 5, 1] and len(set(rows)) == 16
    assert rows.tolist() != labelled_fraction(labels, 0.1, seed=1).tolist()
    with pytest.raises(ValueError, match="must leave an image of every class. Received: fraction=0.01"):
        labelled_fraction(labels, 0.01, seed=0)
    assert finetune.published_list("tfds:imagenet2012", 0.01) == "tfds:imagenet2012_subset/1pct"
    assert finetune.published_list("tfds:cifar10", 0.01) is None
