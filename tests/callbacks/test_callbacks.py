"""Callbacks of `fit`."""

import types

import keras
import numpy as np
import pytest

import keras_leoclr as kl
from keras_leoclr import callbacks
from keras_leoclr.runs.results import Results
from tests.case import batched, random_views, small_model


def labelled(seed):
    rng = np.random.default_rng(seed)
    return [(rng.standard_normal((10, 8, 8, 3)).astype("float32"), rng.integers(0, 3, 10))]


def test_monitor_puts_knn_accuracy_into_logs_and_results(tmp_path):
    results = Results(tmp_path / "results.jsonl")
    assert callbacks.KNNMonitor(labelled(0), labelled(1)).k == 200
    monitor = callbacks.KNNMonitor(labelled(0), labelled(1), k=3, every=2, results=results)
    model = small_model()
    log = keras.callbacks.CSVLogger(str(tmp_path / "history.csv"))
    model.fit(batched(random_views()), epochs=4, verbose=0, shuffle=False, callbacks=[monitor, log])
    lines = results.read()
    assert [line["epoch"] for line in lines] == [2, 4]
    assert {line["name"] for line in lines} == {"monitor/knn_top1"}
    assert lines[-1]["k"] == 3 and lines[-1]["bank"] == 10
    features = [kl.evaluation.extract_features(model.backbone, labelled(seed)) for seed in (0, 1)]
    assert lines[-1]["value"] == kl.evaluation.knn(*features[0], *features[1], k=3)["top1"]


def test_monitor_does_not_stop_a_run_on_a_single_class():
    one_class = [(np.zeros((4, 8, 8, 3), "float32"), np.zeros(4, int))]
    monitor = callbacks.KNNMonitor(one_class, one_class)
    monitor.set_model(types.SimpleNamespace(backbone=kl.backbones.resnet_small((8, 8, 3), widths=(8,))))
    logs = {}
    monitor.on_epoch_end(0, logs)
    assert logs == {}


def test_monitor_leaves_out_what_has_no_label(tmp_path):
    def mixed(seed):
        ((images, labels),) = labelled(seed)
        return [(images, np.where(np.arange(10) < 4, -1, labels))]

    results = Results(tmp_path / "results.jsonl")
    model = types.SimpleNamespace(backbone=kl.backbones.resnet_small((8, 8, 3), widths=(8,)))
    monitor = callbacks.KNNMonitor(mixed(0), mixed(1), k=3, results=results)
    monitor.set_model(model)
    monitor.on_epoch_end(0)
    (line,) = results.read()
    assert (line["bank"], line["queries"]) == (6, 6)
    known = []
    for seed in (0, 1):
        known += [part[4:] for part in kl.evaluation.extract_features(model.backbone, labelled(seed))]
    assert line["value"] == kl.evaluation.knn(*known, k=3)["top1"]


def test_monitor_does_not_change_training():
    def weights(chosen):
        keras.utils.set_random_seed(0)
        model = small_model()
        model.fit(batched(random_views()), epochs=2, verbose=0, shuffle=False, callbacks=chosen)
        return model.get_weights()

    plain, watched = weights([]), weights([callbacks.KNNMonitor(labelled(0), labelled(1))])
    for mine, theirs in zip(plain, watched, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-6)  # torch's threads round differently


@pytest.mark.backend_free
def test_history_goes_on_under_its_columns_and_adds_those_that_are_new(tmp_path):
    path = tmp_path / "history.csv"
    logs = [{"loss": 3.0, "val_loss": 4.0}], [{"knn_top1": 0.5, "loss": 2.0}, {"loss": 1.0, "own": 7}]
    for process, epochs in enumerate(logs):
        history = callbacks.HistoryFile(path, ["knn_top1", "probe_map"] if process else ())
        history.on_train_begin()
        for number, each in enumerate(epochs):
            history.on_epoch_end(process + number, each)
        history.on_train_end()
    assert path.read_text().split() == [
        "epoch,loss,val_loss,knn_top1,probe_map,own",
        "0,3.0,4.0,NA,NA,NA",
        "1,2.0,NA,0.5,NA,NA",
        "2,1.0,NA,NA,NA,7",
    ]
    assert [*tmp_path.iterdir()] == [path]


def test_results_are_one_line_each_and_survive_a_second_writer(tmp_path):
    path = tmp_path / "results.jsonl"
    Results(path).write("knn/top1", np.float32(0.5), k=200)
    Results(path).write("knn/top1", 0.75, k=20)
    assert [line["value"] for line in Results(path).read()] == [0.5, 0.75]
    assert len(path.read_text().splitlines()) == 2
    assert Results(tmp_path / "none.jsonl").read() == []


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"every": 0}, "`every` must be a whole number >= 1. Received: every=0"),
        ({"k": 0}, "`k` must be a whole number >= 1. Received: k=0"),
        ({"k": "many"}, "`k` must be a whole number >= 1. Received: k='many'"),
        ({"temperature": 0.0}, "`temperature` must be a number > 0. Received: temperature=0.0"),
        (
            {"bank": iter([])},
            "`bank` must be batches that can be read again, .* Received: bank=<list_iterator",
        ),
    ],
)
def test_monitor_refuses_bad_options_before_the_training(options, words):
    with pytest.raises(ValueError, match=words):
        callbacks.KNNMonitor(**{"bank": [], "queries": [], **options})


@pytest.mark.backend_free
def test_callbacks_that_judge_features_refuse_a_model_without_a_backbone():
    for callback in (callbacks.KNNMonitor([], []), callbacks.OnlineLinearProbe([], [])):
        callback.set_model(types.SimpleNamespace())
        with pytest.raises(
            ValueError, match="`model` must have a `backbone`, .* Received: a SimpleNamespace"
        ):
            callback.on_train_begin()


@pytest.mark.backend_free
def test_history_has_the_columns_of_later_epochs_from_the_start(tmp_path):
    history = callbacks.HistoryFile(tmp_path / "history.csv", ["knn_top1"])
    history.on_train_begin()
    history.on_epoch_end(0, {"loss": 2.0})
    history.on_epoch_end(1, {"loss": 1.0, "knn_top1": 0.5})
    history.on_train_end()
    assert (tmp_path / "history.csv").read_text().split() == ["epoch,knn_top1,loss", "0,NA,2.0", "1,0.5,1.0"]


def test_history_holds_the_learning_rate_of_the_last_step(tmp_path):
    from keras_leoclr.callbacks.history_file import without_times

    model = small_model()
    rate = keras.optimizers.schedules.PolynomialDecay(0.4, 4, 0.0)
    model.compile(optimizer=kl.optimizers.SGD(rate))
    log = callbacks.HistoryFile(tmp_path / "history.csv", ["waiting"])
    model.fit(batched(random_views()), epochs=2, verbose=0, shuffle=False, callbacks=[log])
    head, *lines = without_times(tmp_path / "history.csv")
    assert "waiting" not in head
    rates = [float(line[head.index("learning_rate")]) for line in lines]
    assert rates == pytest.approx([0.3, 0.1])  # of the second of two steps an epoch


@pytest.mark.parametrize("make", [keras.optimizers.LossScaleOptimizer, lambda optimizer: optimizer])
def test_the_last_learning_rate_is_known_where_the_loss_is_scaled_and_without_a_schedule(make):
    from keras_leoclr.callbacks.history_file import last_learning_rate

    weight = keras.Variable(np.ones(2, "float32"))
    schedule = keras.optimizers.schedules.PolynomialDecay(0.4, 4, 0.0)
    for rate, expected in ((schedule, [0.4, 0.4, 0.3]), (0.2, [0.2] * 3)):
        optimizer = make(kl.optimizers.SGD(rate))
        optimizer.build([weight])
        found = [last_learning_rate(optimizer)]
        for _ in range(2):
            getattr(optimizer, "inner_optimizer", optimizer).apply([keras.ops.ones(2)])
            found.append(last_learning_rate(optimizer))
        assert found == pytest.approx(expected)
    assert last_learning_rate(None) is None
