"""Training that goes on from its checkpoints."""

import itertools
import json
import os
import pathlib
import random
import re
import subprocess
import sys
import time
import types
import warnings

import keras
import ml_dtypes
import numpy as np
import pytest
import tensorflow as tf

import keras_leoclr as kl
from keras_leoclr import callbacks, distribution
from keras_leoclr.callbacks.history_file import without_times
from keras_leoclr.checkpointing.state import arrays_of, restore
from keras_leoclr.runs import checkpoint_file, checkpoint_folder, checkpoint_paths
from tests.case import StopAfter, Stopped, fresh_model, random_views, small_model, to_numpy

backend_free = pytest.mark.backend_free
ROOT = pathlib.Path(__file__).parents[2]


# === Training ===


STEPS, EPOCHS = 4, 3


def dataset_at(epoch, batch):
    """What `view_dataset` promises, faster: batches that depend on epoch and batch alone."""
    passes = itertools.count(epoch)

    def one_pass():
        number = next(passes)
        for step in range(batch if number == epoch else 0, STEPS):
            yield random_views(1, seed=100 * number + step)

    shapes = {name: tf.TensorSpec(value.shape) for name, value in random_views(1).items()}
    dataset = tf.data.Dataset.from_generator(one_pass, output_signature=shapes)
    return dataset if batch else dataset.apply(tf.data.experimental.assert_cardinality(STEPS))


def checkpoints_in(folder):
    return checkpoint_paths.paths(folder / "checkpoints")


def checkpoint_in(folder, **options):
    options = {"minutes": 0, "budget": 1, "files": [folder / "history.csv"], **options}
    return callbacks.Checkpoint(folder / "checkpoints", **options)


def train(folder, model=None, crash=None, epochs=EPOCHS, checkpoint=None, others=()):
    """Trains in a folder, from where it was; with `crash` only so many steps."""
    folder.mkdir(exist_ok=True)
    model = model or fresh_model()
    checkpoint = checkpoint or checkpoint_in(folder)
    chosen = [*others, callbacks.HistoryFile(folder / "history.csv")]
    if crash is None:
        checkpoint.fit(model, dataset_at, epochs, chosen, verbose=0)
    else:
        with pytest.raises(Stopped):
            checkpoint.fit(model, dataset_at, epochs, [*chosen, StopAfter(crash)], verbose=0)
    return model


def assert_same_training(model, folder, uninterrupted):
    actual, (expected, other) = arrays_of(model), uninterrupted
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(actual[name], value, rtol=1e-5, atol=1e-6)
    actual, expected = (
        np.genfromtxt(path / "history.csv", delimiter=",", names=True) for path in (folder, other)
    )
    assert actual.dtype == expected.dtype and actual.shape == expected.shape
    for name in actual.dtype.names:
        np.testing.assert_allclose(actual[name], expected[name], rtol=1e-5)


@pytest.fixture(scope="module")
def uninterrupted(one_torch_thread, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    return arrays_of(train(folder)), folder


# crashes come before the checkpoint of their step: in the first step, within an epoch, at its end, just after
@pytest.mark.parametrize("crashes", [(1,), (6, 2), (4, 5)])
def test_a_run_that_crashed_ends_like_one_that_did_not(tmp_path, uninterrupted, crashes):
    folder = tmp_path / "run"
    for crash in crashes:
        train(folder, crash=crash)
    model = train(folder)
    assert_same_training(model, folder, uninterrupted)
    assert int(to_numpy(model.optimizer.iterations)) == STEPS * EPOCHS


def test_the_online_probe_goes_on_with_its_weights_and_its_next_batch(tmp_path):
    rng = np.random.default_rng(0)
    images = [(rng.normal(size=(6, 8, 8, 3)).astype("float32"), rng.integers(0, 3, 6)) for _ in range(5)]
    probes = []
    for name, crash in (("whole", None), ("parts", 6), ("parts", None)):
        probes.append(callbacks.OnlineLinearProbe(images, images, every=3))
        checkpoint = checkpoint_in(tmp_path / name, stateful={"online_probe": probes[-1]})
        train(tmp_path / name, crash=crash, epochs=2, checkpoint=checkpoint, others=[probes[-1]])
    whole, _, parts = (probe.state() for probe in probes)
    assert (whole["drawn"], whole["turn"]) == (parts["drawn"], parts["turn"]) == (2, 2)
    for name in ("weights", "velocity", "mean", "square"):
        np.testing.assert_allclose(parts[name], whole[name], rtol=1e-4, atol=1e-5)
    accuracies = [
        np.genfromtxt(tmp_path / name / "history.csv", delimiter=",", names=True)["online_linear_top1"]
        for name in ("whole", "parts")
    ]
    assert accuracies[0].shape == (2,) and accuracies[1] == pytest.approx(accuracies[0], abs=0.05)


def test_the_middle_of_an_epoch_comes_back_with_its_metrics_and_files(tmp_path):
    train(tmp_path, crash=7)
    with (tmp_path / "history.csv").open("a") as file:
        file.write("a line that the checkpoint does not know\n")
    arrays, state = checkpoint_file.read(checkpoints_in(tmp_path)[-1])
    assert state["position"] == [1, 2] and state["steps"] == STEPS
    model, checkpoint = fresh_model(), checkpoint_in(tmp_path)
    assert checkpoint.restore(model) == (1, 2)
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 2
    for name, value in arrays_of(model).items():
        if not name.startswith("metrics"):
            np.testing.assert_array_equal(value, arrays[name])
    totals = {name: array for name, array in arrays.items() if name.startswith("metrics")}
    assert totals and all(np.any(array != 0) for array in totals.values())


def test_a_checkpoint_before_training_goes_on_holds_what_was_restored(tmp_path):
    train(tmp_path, crash=7)
    before, state = checkpoint_file.read(checkpoints_in(tmp_path)[-1])
    model, checkpoint = fresh_model(), checkpoint_in(tmp_path)
    at = checkpoint.restore(model)
    np.random.rand(), random.random()
    checkpoint.set_model(model)
    after, state_after = checkpoint_file.read(checkpoint.save(at))
    assert state_after["random"] == state["random"] and state_after["position"] == state["position"]
    for prefix in ("metrics/", "random/"):
        names = {name for name in before if name.startswith(prefix)}
        assert names == {name for name in after if name.startswith(prefix)} != set()
        for name in names:
            np.testing.assert_array_equal(after[name], before[name])


def test_metrics_that_keras_makes_in_the_first_step_begin_anew_and_the_weights_go_on(tmp_path):
    x, y = np.random.default_rng(0).normal(size=(2, 4 * STEPS, 3)).astype("float32")

    def part(_, batch):
        dataset = tf.data.Dataset.from_tensor_slices((x, {"a": y, "b": y})).batch(4).skip(batch)
        return dataset.apply(tf.data.experimental.assert_cardinality(STEPS - batch))

    def trained(folder, *others):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((3,))
        model = keras.Model(inputs, {name: keras.layers.Dense(3, name=name)(inputs) for name in "ab"})
        model.compile(optimizer=keras.optimizers.SGD(0.1), loss={"a": "mse", "b": "mae"})
        callbacks.Checkpoint(folder, minutes=0, budget=1).fit(model, part, 1, others, verbose=0)
        return model

    whole = trained(tmp_path / "whole")
    with pytest.raises(Stopped):
        trained(tmp_path / "parts", StopAfter(3))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        parts = trained(tmp_path / "parts")
    for expected, actual in zip(whole.weights, parts.weights, strict=True):
        np.testing.assert_allclose(to_numpy(actual), to_numpy(expected), rtol=1e-5)
    said = any("metrics of this epoch begin anew" in str(warning.message) for warning in caught)
    assert said == (keras.backend.backend() == "tensorflow")  # the others make them before the first step


def test_metrics_that_a_checkpoint_does_not_hold_begin_anew_with_a_warning(tmp_path, monkeypatch):
    train(tmp_path / "alone", crash=7)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "The metrics of this epoch")
        train(tmp_path / "alone")
    # Reading a metric of several workers needs all of them, and only one writes.
    model = fresh_model()
    monkeypatch.setattr(distribution, "spans_workers", lambda strategy: True)
    train(tmp_path / "workers", model, crash=7)
    with pytest.warns(
        UserWarning, match="metrics of this epoch begin anew and are means over the rest of it"
    ):
        train(tmp_path / "workers", model)


def test_random_states_come_back(tmp_path):
    model = train(tmp_path, epochs=1)
    checkpoint_in(tmp_path).restore(model)
    expected = (random.random(), np.random.rand())
    checkpoint_in(tmp_path).restore(model)
    assert (random.random(), np.random.rand()) == expected


def test_with_a_fit_of_ones_own_it_resumes_at_whole_epochs(tmp_path, uninterrupted):
    history = tmp_path / "history.csv"
    for _ in range(2):
        model = fresh_model()
        checkpoint = checkpoint_in(tmp_path, minutes=None)
        start = checkpoint.restore(model)
        chosen = [callbacks.HistoryFile(history), checkpoint, StopAfter(STEPS + 2)]
        how = {"initial_epoch": start.epoch, "epochs": EPOCHS, "shuffle": False, "verbose": 0}
        with pytest.raises(Stopped):
            model.fit(dataset_at(start.epoch, start.batch), callbacks=chosen, **how)
        assert start.batch == 0
    model = train(tmp_path)
    assert_same_training(model, tmp_path, uninterrupted)


def test_a_folder_with_checkpoints_must_be_restored_first(tmp_path):
    model = train(tmp_path, epochs=1)
    with pytest.raises(ValueError, match="call `restore` before `model.fit`"):
        model.fit(dataset_at(0, 0), verbose=0, callbacks=[checkpoint_in(tmp_path)])


@backend_free
def test_a_model_that_is_not_compiled_is_refused(tmp_path):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)], name="mine")
    with pytest.raises(
        ValueError, match="`model` must be compiled before .* Received: 'mine', which has no opt"
    ):
        checkpoint_in(tmp_path).fit(model, lambda epoch, batch: [], epochs=1)


class StopAt(keras.callbacks.Callback):
    """Ends the training within an epoch, as a limit of time does."""

    def __init__(self, epoch, batch):
        super().__init__()
        self.epoch, self.batch, self.now = epoch, batch, 0

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.now, batch) == (self.epoch, self.batch):
            self.model.stop_training = True


@pytest.mark.parametrize("minutes", [None, 0])
def test_an_epoch_that_a_callback_has_stopped_goes_on_with_the_rest_of_it(tmp_path, uninterrupted, minutes):
    for batch, at in ((0, (1, 1)), (2, (1, 3)), (3, (2, 0))):
        checkpoint = checkpoint_in(tmp_path, minutes=minutes)
        train(tmp_path, checkpoint=checkpoint, others=[StopAt(1, batch)])
        assert checkpoint.position == at
    assert_same_training(train(tmp_path), tmp_path, uninterrupted)


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before_and_says_so(tmp_path):
    train(tmp_path, crash=6)
    *_, before, newest = checkpoints_in(tmp_path)
    newest.write_bytes(newest.read_bytes()[:-1])
    with pytest.warns(UserWarning) as warned:
        start = checkpoint_in(tmp_path).restore(fresh_model())
    said = " ".join(str(each.message) for each in warned)
    assert re.search(f"{newest.name} is damaged: SHA-256.*Going on from {before.name}", said)
    assert not newest.exists() and newest.with_name(newest.name + ".damaged").exists()
    assert start == tuple(checkpoint_file.read_state(before)["position"])
    for path in checkpoints_in(tmp_path):
        path.write_bytes(b"")
    for _ in range(2):  # the second start does not begin anew either
        with (
            pytest.warns(UserWarning, match="ends in its header"),
            pytest.raises(
                checkpoint_file.DamagedCheckpointError, match="`folder` must hold a whole checkpoint"
            ),
        ):
            checkpoint_in(tmp_path).restore(fresh_model())


def test_another_model_is_refused_and_left_as_it_is(tmp_path):
    train(tmp_path, epochs=1)
    other = small_model(projection_dim=16, momentum=kl.schedules.CosineMomentum(0.9, 12))
    before = other.get_weights()
    with pytest.raises(ValueError, match="`model` must have the variables that were saved"):
        checkpoint_in(tmp_path).restore(other)
    for now, then in zip(other.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_whole_numbers_of_another_width_are_restored_and_nothing_else_of_another_type():
    """As other backends keep them, and versions in which `pointer` and `moved_at` were int32."""
    model = small_model()
    model.compile(optimizer=kl.optimizers.SGD(0.05, gradient_accumulation_steps=2))
    arrays = arrays_of(model)
    whole = [name for name, array in arrays.items() if array.dtype.kind == "i"]
    assert {name.rsplit("/", 1)[-1] for name in whole} == {"pointer", "moved_at", "iteration"}
    for type_ in ("int32", "int64", "uint32"):
        restore(model, {**arrays, **{name: np.asarray(7, type_) for name in whole}}, ("model", "optimizer"))
        now = arrays_of(model)
        assert {(int(now[name]), now[name].dtype) for name in whole} == {(7, arrays[whole[0]].dtype)}
    floats = next(name for name, array in arrays.items() if array.dtype == "float32")
    too_large = np.asarray(2**63, "uint64")
    for name, array in ((floats, arrays[floats].astype("float64")), (whole[0], too_large)):
        with pytest.raises(ValueError, match=f"must have the variables that were saved.*{array.dtype}"):
            restore(model, {**arrays, name: array}, ("model", "optimizer"))
    with pytest.raises(ValueError, match="must have the variables that were saved.*float32"):
        restore(model, {**arrays, whole[0]: np.asarray(7, "float32")}, ("model", "optimizer"))


class Score(keras.callbacks.Callback):
    def __init__(self, name):
        super().__init__()
        self.name = name

    def on_epoch_end(self, epoch, logs=None):
        logs[self.name] = [0.2, 0.9, 0.3, 0.4, 0.5][epoch]


@pytest.mark.parametrize("name", ["knn_top1", "knn_map"])
def test_the_newest_and_the_best_are_kept(tmp_path, name):
    checkpoint = checkpoint_in(tmp_path, minutes=None, keep=2)
    train(tmp_path, epochs=5, checkpoint=checkpoint, others=[Score(name)])
    kept = [checkpoint_file.read_state(path) for path in checkpoints_in(tmp_path)]
    assert [(state["position"][0], state["value"]) for state in kept] == [(2, 0.9), (4, 0.4), (5, 0.5)]


@backend_free
def test_a_value_that_is_no_number_is_not_the_best(tmp_path):
    for step, value in enumerate([float("nan"), 0.9, 0.4, float("nan"), None]):
        checkpoint_file.write(checkpoint_paths.path_of(tmp_path, step), {}, {"value": value})
        checkpoint_folder.delete_old(tmp_path, 1)
    assert [checkpoint_file.read_state(path)["value"] for path in checkpoint_paths.paths(tmp_path)] == [
        0.9,
        None,
    ]


@backend_free
def test_checkpoints_are_thinned_to_their_budget(tmp_path, monkeypatch):
    """By a clock on which a step takes a second, and so does writing."""
    clock = types.SimpleNamespace(now=0.0)
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    write = checkpoint_file.write

    def slow_write(*what):
        write(*what)
        clock.now += 1.0

    monkeypatch.setattr(checkpoint_file, "write", slow_write)

    class Tick(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            clock.now += 1.0

    checkpoint = checkpoint_in(tmp_path, minutes=0, budget=0.2)
    train(tmp_path, epochs=10, checkpoint=checkpoint, others=[Tick()])
    assert clock.now == 10 * STEPS + checkpoint.written
    assert 4 <= checkpoint.written <= 0.2 * clock.now
    assert checkpoint.share == checkpoint.written / clock.now
    assert checkpoint_file.read_state(checkpoints_in(tmp_path)[-1])["position"] == [
        10,
        0,
    ]


class SendSignal(keras.callbacks.Callback):
    def __init__(self, number, step):
        super().__init__()
        self.number, self.step = number, step

    def on_train_batch_end(self, batch, logs=None):
        if batch == self.step:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize(
    ("name", "step", "position"), [("SIGTERM", 1, (0, 2)), ("SIGINT", STEPS - 1, (1, 0))]
)
def test_a_signal_ends_the_run_after_its_step_with_a_checkpoint(tmp_path, capfd, name, step, position):
    import signal

    class Wait(keras.callbacks.Callback):  # until the thread that reads signals had its turn
        def on_train_batch_end(self, batch, logs=None):
            time.sleep(0.3 if batch == step else 0)

    number = getattr(signal, name)
    handler = signal.getsignal(number)
    checkpoint = checkpoint_in(tmp_path, minutes=None, budget=1e-9)
    with pytest.raises(callbacks.Interrupted) as raised:
        train(tmp_path, checkpoint=checkpoint, others=[SendSignal(number, step), Wait()])
    assert raised.value.code == 128 + number
    assert f"{name}: stopping after this step" in capfd.readouterr().err
    assert checkpoint_in(tmp_path).restore(fresh_model()) == position
    assert signal.getsignal(number) == handler


@backend_free
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"minutes": -1}, "`minutes` must be a number >= 0. Received: minutes=-1"),
        ({"minutes": "10"}, "`minutes` must be a number >= 0. Received: minutes='10'"),
        ({"budget": 0}, r"`budget` must be a number in \(0, 1\]. Received: budget=0"),
        ({"budget": "all"}, r"`budget` must be a number in \(0, 1\]. Received: budget='all'"),
        ({"keep": 0}, "`keep` must be a whole number >= 1. Received: keep=0"),
        ({"files": ["a/log.csv", "b/log.csv"]}, "`files` must have different names, .* files=..a/log.csv"),
    ],
)
def test_bad_options_are_refused(tmp_path, options, words):
    with pytest.raises(ValueError, match=words):
        checkpoint_in(tmp_path, **options)


@pytest.mark.parametrize("scaled", [False, True])
def test_a_schedule_ends_with_epochs_of_another_length_also_where_the_loss_is_scaled(tmp_path, scaled):
    def compiled():
        inputs = keras.Input((4,))
        model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
        optimizer = keras.optimizers.SGD(keras.optimizers.schedules.PolynomialDecay(0.8, 80, 0.0))
        model.compile(keras.optimizers.LossScaleOptimizer(optimizer) if scaled else optimizer, loss="mse")
        return model

    batches = [(np.full((1, 4), 0.1, "float32"), np.zeros((1, 2), "float32"))] * 10
    checkpoint_in(tmp_path).fit(compiled(), lambda epoch, batch: batches[batch:], epochs=2, verbose=0)
    model = compiled()
    assert checkpoint_in(tmp_path).restore(model, steps=20) == (2, 0)  # of four epochs
    assert int(to_numpy(model.optimizer.iterations)) == 40
    assert float(to_numpy(model.optimizer.learning_rate)) == pytest.approx(0.4)


@backend_free
def test_a_single_file_is_not_taken_for_its_letters(tmp_path):
    for file in ("history.csv", pathlib.Path("history.csv")):
        assert checkpoint_in(tmp_path, files=file).files == [pathlib.Path("history.csv")]
    assert callbacks.HistoryFile(tmp_path / "history.csv", "knn_top1").columns == ("knn_top1",)


@backend_free
def test_paths_may_begin_with_the_home_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    file = tmp_path / "run" / "history.csv"
    assert callbacks.Checkpoint("~/run/checkpoints", files="~/run/history.csv").files == [file]
    assert callbacks.HistoryFile("~/run/history.csv").filename == str(file)
    assert callbacks.TensorBoard("~/run/logs").log_dir == str(tmp_path / "run" / "logs")


def test_half_precision_weights_come_back(tmp_path):
    inputs = keras.Input((4,))
    outputs = keras.layers.Dense(3, dtype="bfloat16")(inputs)
    model = keras.Model(inputs, outputs)
    model.compile("sgd")
    expected = arrays_of(model)
    path = tmp_path / "a.safetensors"
    checkpoint_file.write(path, expected, {})
    model.layers[-1].set_weights([np.zeros((4, 3)), np.ones(3)])
    restore(model, checkpoint_file.read(path)[0], ("model", "optimizer"))
    assert any(array.dtype == ml_dtypes.bfloat16 for array in expected.values())
    for name, array in arrays_of(model).items():
        assert array.tobytes() == expected[name].tobytes()


# === Whole runs, in processes of their own ===


def leoclr(workdir, *arguments, before="", **options):
    main = f"{before}\nimport sys; from keras_leoclr.cli import main; sys.exit(main())"
    small = (
        "--preset smoke --noevaluate --image_size 16 --widths 8,16 --max_images 64 --knn_every 0 --verbose 2"
    )
    often = "--checkpoint_minutes 0 --checkpoint_budget 1 --deterministic"
    command = [sys.executable, "-c", main, "pretrain", "fashion_mnist", "--workdir", workdir]
    command += [*small.split(), *often.split(), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT, **options)


@backend_free  # on the other backends: `make test-faults`
@pytest.mark.slow
def test_a_killed_deterministic_run_ends_with_the_same_bits(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert leoclr(whole).returncode == 0
    die = (
        "import os, signal\n"
        "from keras_leoclr.callbacks import Health\n"
        "def end(self, batch, logs=None):\n"
        "    if (self.epoch, batch) == (1, 1): os.kill(os.getpid(), signal.SIGKILL)\n"
        "Health.on_train_batch_end = end\n"
    )
    assert leoclr(killed, before=die).returncode == -9
    done = leoclr(killed)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "1 epochs and 1 steps are done" in done.stdout
    arrays, expected = (checkpoint_file.read(checkpoints_in(folder)[-1])[0] for folder in (killed, whole))
    assert {name for name in expected if arrays[name].tobytes() != expected[name].tobytes()} <= {
        "file/history.csv",  # they hold speeds
        "file/results.jsonl",
    }
    histories = [without_times(folder / "history.csv") for folder in (killed, whole)]
    assert histories[0] == histories[1] and "learning_rate" in histories[0][0]
    assert json.loads((killed / "run.json").read_text())["resumed"] == [[1, 1]]
    assert "shows where the run was resumed" in (killed / "report.html").read_text()
    names = [
        [json.loads(line)["name"] for line in (folder / "results.jsonl").read_text().splitlines()]
        for folder in (killed, whole)
    ]
    assert names[1].count("speed/images_per_second") == 2
    assert (killed / "backbone.keras").is_file()
