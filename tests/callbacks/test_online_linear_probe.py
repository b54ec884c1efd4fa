"""The linear classifier that is trained alongside."""

import types

import numpy as np
import pytest

import keras_leoclr as kl
from keras_leoclr import callbacks
from keras_leoclr.runs.results import Results
from tests.case import batched, random_views, small_model, to_numpy
from tests.evaluation.examples import VIEWS, pictures


def test_online_probe_reports_accuracy_and_does_not_change_training(one_torch_thread, tmp_path):
    results = Results(tmp_path / "results.jsonl")
    source = kl.data.image_batches(pictures(), VIEWS, 12)

    model = small_model()  # one for both, so that its step is compiled once
    model.optimizer.build(model.trainable_variables)
    variables = [*model.weights, *model.optimizer.variables]
    before = [to_numpy(variable).copy() for variable in variables]

    def train(chosen):
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
        history = model.fit(batched(random_views(4)), epochs=3, verbose=0, shuffle=False, callbacks=chosen)
        return model.get_weights(), history.history

    plain, _ = train([])
    probe = callbacks.OnlineLinearProbe(source, source, 3, every=1, results=results)
    watched, history = train([probe])
    assert all((a == b).all() for a, b in zip(plain, watched, strict=True))
    assert any((a != b).any() for a, b in zip(plain, before, strict=False))  # it did train
    assert len(history["online_linear_top1"]) == 3 and history["online_linear_top1"][-1] > 0.7
    assert [line["epoch"] for line in results.read()] == [1, 2, 3]


@pytest.mark.backend_free
def test_online_probe_judges_the_features_that_the_monitor_has_computed(monkeypatch):
    extracted = []

    def extract(backbone, images):
        extracted.append(images)
        return images

    for module in ("knn_monitor", "online_linear_probe"):
        monkeypatch.setattr(f"keras_leoclr.callbacks.{module}.extract_features", extract)
    bank, queries = (features_of_two_classes(seed) for seed in (0, 1))
    monitor = callbacks.KNNMonitor(bank, queries, k=3, every=2)
    probe = callbacks.OnlineLinearProbe([], monitor)
    for each in (monitor, probe):
        each.set_model(types.SimpleNamespace(backbone=None))
    probe._learn(*bank)
    for epoch, expected in enumerate([set(), {"knn_top1", "online_linear_top1"}] * 2):
        logs = {}
        for order in (probe, monitor) if epoch < 2 else (monitor, probe):
            order.on_epoch_begin(epoch)
        for order in (probe, monitor) if epoch < 2 else (monitor, probe):
            order.on_epoch_end(epoch, logs)
        assert set(logs) == expected and all(value == 1 for value in logs.values())
    assert [images is queries for images in extracted].count(True) == 2 and len(extracted) == 4


def features_of_two_classes(seed):
    labels = np.tile([0, 3], 10)
    noise = np.random.default_rng(seed).normal(0, 0.1, (20, 2))
    return (noise + np.eye(2)[labels // 3]).astype("float32"), labels


@pytest.mark.backend_free
def test_online_probe_counts_the_classes_that_it_has_seen():
    probe = callbacks.OnlineLinearProbe([(np.zeros((3, 8, 8, 3)), np.array([-1, 2, 0]))], [], every=1)
    assert probe._next()[1].tolist() == [2, 0]  # -1: not labelled
    given = callbacks.OnlineLinearProbe([], [], classes=4)
    features, labels = features_of_two_classes(0)
    for each in (probe, given):
        each._learn(features[labels == 0], labels[labels == 0])
        for _ in range(10):
            each._learn(features, labels)
    assert probe._weights.shape == (3, 4) and given._logits(features).argmax(1).tolist() == labels.tolist()
    assert probe._logits(features).argmax(1).tolist() == labels.tolist()


@pytest.mark.backend_free
def test_online_probe_refuses_the_queries_of_a_monitor_that_does_not_take_part():
    monitor = callbacks.KNNMonitor([], [])
    probe = callbacks.OnlineLinearProbe([], monitor)
    probe.set_model(small_model())
    words = "`queries` must be a KNNMonitor that is among the callbacks .* Received: one that is not"
    with pytest.raises(ValueError, match=words):
        probe.on_train_begin()
    monitor.set_model(probe.model)
    probe.on_train_begin()


@pytest.mark.backend_free
def test_online_probe_refuses_labels_that_it_was_not_made_for():
    probe = callbacks.OnlineLinearProbe([(np.zeros((2, 8, 8, 3)), np.array([0, 3]))], [], classes=3, every=1)
    with pytest.raises(ValueError, match=r"`images` must have labels in \[0, 3\). Received: 0 to 3"):
        probe._next()
    with pytest.raises(ValueError, match="`learning_rate` must be a number > 0"):
        callbacks.OnlineLinearProbe([], [], classes=3, learning_rate=0.0)
