"""`kl.pretrain`, `kl.evaluate` and `kl.Run`, and callbacks of the user's own."""

import json
import pathlib
import re
import sys
import types
import warnings
import zipfile

import keras
import numpy as np
import pytest
from PIL import Image

import keras_leoclr as kl
from keras_leoclr.callbacks.guarded import HOOKS, Guarded
from keras_leoclr.callbacks.history_file import without_times
from keras_leoclr.data.given import IN_PYTHON, GivenImages, named
from keras_leoclr.data.splits import SplitError
from keras_leoclr.evaluation.run_evaluation import RunEvaluation
from keras_leoclr.runs import checkpoint_file, checkpoint_paths
from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.training import pretraining, studies
from keras_leoclr.training.recipe import Recipe
from keras_leoclr.training.sources import RunSources

backend_free = pytest.mark.backend_free
SMALL = {
    "preset": "smoke",
    "backbone": "resnet_small",
    "widths": (8, 16),
    "image_size": 16,
    "batch_size": 16,
    "max_images": 64,
    "map_images": 0,
    "few_label_draws": 1,
    "tensorboard": "off",
    "verbose": 0,
}


def arrays(count=64):
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (count, 16, 16, 3), dtype=np.uint8), np.arange(count) % 2
    images[labels == 1, :8] //= 4
    return {"train_image": images, "train_label": labels, "test_image": images, "test_label": labels}


class Recorder(keras.callbacks.Callback):
    """Notes what it is called with, and raises or stops where it is told to."""

    def __init__(self, raise_at=None, stop_at=None):
        super().__init__()
        self.calls, self.logs, self.raise_at, self.stop_at = [], [], raise_at, stop_at

    def on_train_batch_end(self, batch, logs=None):
        self.calls.append(batch)
        if len(self.calls) == self.raise_at:
            raise ConnectionError("the tracker does not answer")

    def on_epoch_end(self, epoch, logs=None):
        self.logs.append(logs)
        logs["mine"] = epoch + 0.5
        if epoch == self.stop_at:
            self.model.stop_training = True


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    recorder = Recorder()
    run = kl.pretrain(arrays(), tmp_path_factory.mktemp("one_call") / "run", callbacks=[recorder], **SMALL)
    return run, recorder


def test_one_call_pretrains_judges_and_returns_the_run(finished):
    run, recorder = finished
    assert run.state == "finished" and run.report.is_file()
    for subject in ("raw pixels", "random", "pretrained"):
        assert 0 <= run.results[f"{subject}/linear/top1"] <= 1
    assert "pretrained" in run.table() and run.table() in str(run)
    contents = {line["test_content"] for line in run.lines if "test_split" in line}
    assert (
        len(contents) == 1 and None not in contents
    )  # tells these pictures, which have no name, from others
    assert run.recipe["dataset"] == IN_PYTHON and run.recipe["evaluate"] is True
    features = run.backbone()(np.zeros((2, 16, 16, 3), "float32"))
    assert features.shape == (2, 16)
    assert len(run.history) == 2 and run.history[1]["loss"] > 0 and run.history[1]["mine"] == 1.5
    assert recorder.calls == [0, 1, 2, 3] * 2
    assert {"loss", "knn_top1", "images_per_second"} <= set(recorder.logs[1])
    assert isinstance(recorder.model, kl.LeOCLR) and recorder.params["epochs"] == 2


def test_a_finished_run_is_returned_at_once_and_a_run_is_a_path(finished, capsys):
    run, _ = finished
    again = kl.pretrain(arrays(), run, **{**SMALL, "verbose": 1})
    assert again.results == run.results and "is finished" in capsys.readouterr().out
    assert kl.backbones.load(run, verbose=False).count_params() == run.backbone().count_params()


def test_a_finished_run_says_with_override_that_its_pictures_have_changed(finished, capsys):
    run, _ = finished
    others = {name: array[::-1].copy() for name, array in arrays().items()}
    for given, told in ((others, True), (arrays(), False)):
        again = kl.pretrain(given, run, override=True, **{**SMALL, "verbose": 1})
        printed = capsys.readouterr().out
        assert again.results == run.results and "is finished. `overwrite` runs it again" in printed
        assert ("With more `epochs` the run goes on with them" in printed) == told
        assert ("The images are others than those that the run began with:\n  " in printed) == told


def test_a_callback_that_raises_loses_no_step(tmp_path):
    with pytest.raises(kl.callbacks.CallbackError) as raised:
        kl.pretrain(arrays(), tmp_path, callbacks=[Recorder(raise_at=3)], evaluate=False, **SMALL)
    assert str(raised.value) == (
        "the callback Recorder raised an error in `on_train_batch_end`. The training until then is kept, and "
        "the same run goes on from there. Received: ConnectionError: the tracker does not answer"
    )
    (_, *_, newest) = checkpoint_paths.paths(tmp_path / "checkpoints")
    assert checkpoint_file.read_state(newest)["position"] == [0, 3]
    recorder = Recorder(stop_at=0)
    run = kl.pretrain(arrays(), tmp_path, callbacks=[recorder], evaluate=False, **SMALL)
    assert recorder.calls == [3] and run.state == "finished" and len(run.history) == 1
    assert json.loads((tmp_path / "run.json").read_text())["epochs_done"] == 1
    assert json.loads((tmp_path / "backbone.json").read_text())["training"]["epochs"] == 1


@pytest.mark.slow
@backend_free
def test_an_interrupted_run_on_a_mixture_ends_with_the_same_weights_to_the_bit(tmp_path):
    for number, image in enumerate(arrays(48)["train_image"]):
        path = tmp_path / ("folder", "packed", "listed")[number % 3] / f"class{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    with zipfile.ZipFile(tmp_path / "packed.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((tmp_path / "packed").rglob("*.png")):
            archive.write(path, path.relative_to(tmp_path / "packed"))
    listed = sorted((tmp_path / "listed").rglob("*.png"))
    (tmp_path / "list.txt").write_text("\n".join(map(str, listed)))
    places = [tmp_path / "folder", tmp_path / "packed.zip", tmp_path / "list.txt"]
    given = {**SMALL, "max_images": 0, "knn_every": 0, "evaluate": False, "compile_views": False}
    whole = kl.pretrain(places, tmp_path / "whole", callbacks=[Recorder()], **given)
    with pytest.raises(kl.callbacks.CallbackError):
        kl.pretrain(places, tmp_path / "parts", callbacks=[Recorder(raise_at=4)], **given)
    recorder = Recorder()
    parts = kl.pretrain(places, tmp_path / "parts", callbacks=[recorder], **given)
    assert recorder.calls == [1, 2]  # the second of two epochs of three steps, after its first step
    weights = [run.backbone().get_weights() for run in (whole, parts)]
    assert sum(map(np.size, weights[0])) > 1000
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)
    assert without_times(whole.path / "history.csv") == without_times(parts.path / "history.csv")


def test_a_run_a_file_and_a_model_are_judged(finished, tmp_path):
    run, _ = finished
    before = len(run.lines)
    values = kl.evaluate(run, arrays(), "knn", verbose=False, k=[5], cache=False)
    assert values["knn/top1"] == run.lines[-2]["value"] and len(run.lines) > before
    assert run.lines[-1]["subject"] == "pretrained"
    images = {"train": arrays()["train_image"], "test": arrays()["test_image"]}
    sources = {
        split: kl.data.load({"image": image, "label": arrays()["train_label"]})
        for split, image in images.items()
    }
    of_model = kl.evaluate(run.backbone(), sources, "knn", k=(5,), verbose=False)
    of_file = kl.evaluate(run.path / "backbone.keras", arrays(), ["knn"], workdir=tmp_path, k=[5])
    assert of_model == of_file and of_model["knn/top1"] == values["knn/top1"]
    assert json.loads((tmp_path / "results.jsonl").read_text().splitlines()[0])["dataset"] == IN_PYTHON


@backend_free
def test_arrays_that_are_not_divided_are_not_judged_on_what_they_train(finished, requested):
    run, _ = finished
    whole = {"image": arrays()["train_image"], "label": arrays()["train_label"]}
    assert not requested(whole).evaluate
    assert requested(whole, train_split="train[:75%]", test_split="train[75%:]").evaluate
    count = len(whole["image"])
    with pytest.warns(UserWarning, match="`data` has no test split: .* pictures, which are drawn at random"):
        kl.evaluate(run, whole, "knn", verbose=False, k=[5], cache=False)
    line = run.lines[-1]
    assert (line["train_images"], line["test_images"]) == (count - count // 10, count // 10)
    assert line["shared_images"] == 0
    splits = {"train_split": "train[:75%]", "test_split": "train[75%:]"}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        kl.evaluate(run, whole, "knn", verbose=False, k=[5], cache=False, **splits)
    with pytest.raises(SplitError, match='must be "train", which is all of the array `image`'):
        RunSources.load(Recipe(dataset=IN_PYTHON, evaluate=True), images=GivenImages(whole))
    for other in ({"image": whole["image"][:1]}, {**whole, "label": [0]}, arrays(), kl.data.load(whole)):
        assert GivenImages(other).set_aside() is None


@backend_free
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"epoch": 3}, r"`epoch` is not a field of `Recipe`.* Did you mean .*epochs.*\? Known: "),
        ({"recipe": "image_folders"}, "`recipe` must be the name of a recipe.*Did you mean image_folder"),
        ({"preset": "tiny"}, "`preset` must be one of full, smoke. Received: preset='tiny'"),
        ({"callbacks": [print]}, "`callbacks` must be a list of callbacks of Keras.*Received: <built-in"),
        ({"callbacks": 3}, "must be a list of callbacks of Keras.*Received: 3"),
        ({"callbacks": None}, "must be a list of callbacks of Keras.*Received: None"),
        ({"callbacks": keras.callbacks.Callback}, "must be a list of callbacks of Keras.*Received: <class"),
        ({"method": "simclr"}, "`method` must be one of"),
        ({"data": 3}, "must be what `data.load` returns"),
        ({"overwrite": "no"}, "`overwrite` must be True or False. Received: overwrite='no'"),
        (
            {"checkpoint_budget": 0},
            r"`checkpoint_budget` must lie in \(0, 1\]. Received: checkpoint_budget=0",
        ),
        ({"keep": 1.5}, "`keep` must be a whole number. Received: keep=1.5"),
        ({"data": "nothing", "recipe": "fashion_mnist"}, "^`data` must be one of .*Received: 'nothing'"),
    ],
)
def test_what_cannot_be_pretrained_is_named(tmp_path, given, words):
    given = {"data": arrays(), **given}
    with pytest.raises(ValueError, match=words):
        kl.pretrain(given.pop("data"), tmp_path / "run", verbose=0, **given)
    assert not (tmp_path / "run" / "recipe.json").exists()


@backend_free
def test_what_is_no_path_of_a_folder_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "file"
    file.write_text("mine")
    for workdir in ("", None, 3, file, file / "run"):
        words = "`workdir` must be the path of a folder, which is made if it is missing. Received: workdir="
        for call in (
            lambda place: kl.pretrain(arrays(), place),
            lambda place: kl.tune(arrays(), place, 5),
            lambda place: pretraining.pretrain(Recipe(dataset="fashion_mnist"), place),
            lambda place: studies.study("method", Recipe(dataset="fashion_mnist"), {"a": {}}, place),
            lambda place: RunEvaluation(place).suite(),
        ):
            with pytest.raises(ValueError, match=words):
                call(workdir)
        if workdir is not None:
            with pytest.raises(ValueError, match=words):
                kl.evaluate("backbone.keras", arrays(), workdir=workdir)
    for path in (None, 3):
        with pytest.raises(
            ValueError, match=f"`path` must be the path of the folder .* Received: path={path}"
        ):
            kl.Run(path)
        with pytest.raises(
            ValueError, match=f"`run_or_backbone` must be .* or a Keras model. Received: {path}"
        ):
            kl.evaluate(path, arrays())
    assert [path.name for path in tmp_path.iterdir()] == ["file"] and file.read_text() == "mine"


@backend_free
def test_a_search_checks_its_arguments_before_it_begins(tmp_path):
    for given, words in (
        ({"minutes": "30"}, "`minutes` must be a finite number. Received: minutes='30'"),
        ({"jobs": 1.5}, "`jobs` must be a whole number. Received: jobs=1.5"),
        ({"data": "nothing"}, "^`data` must be one of .*Received: 'nothing'"),
    ):
        with pytest.raises(ValueError, match=words):
            kl.tune(**{"data": None, "workdir": tmp_path, "minutes": 5, **given})
    assert not list(tmp_path.iterdir())


@pytest.fixture
def requested(monkeypatch, tmp_path):
    """A function that returns the recipe of a call of `pretrain`, which trains nothing."""

    def noted(recipe, workdir, **_):
        found.append(recipe)
        RunFolder(workdir).path.mkdir(exist_ok=True)
        RunFolder(workdir).write_recipe({})

    def request(*arguments, **settings):
        kl.pretrain(*arguments, tmp_path / "run", **settings)
        return found[-1]

    found = []
    monkeypatch.setattr(pretraining, "pretrain", noted)
    return request


@backend_free
@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("uint8", {"channels": 4}),
        ("uint16", {"value_range": (0, 4095)}),
        ("float32", {"value_range": "auto"}),
    ],
)
def test_arrays_with_a_test_split_are_judged_whatever_their_values(requested, kind, settings):
    images = np.arange(8 * 4 * 4 * settings.get("channels", 3)).reshape(8, 4, 4, -1).astype(kind)
    data = {"train_image": images, "test_image": images, "test_label": np.arange(8) % 2}
    assert requested(data, **settings).evaluate
    data["test_label"] = np.full(8, -1)
    assert not requested(data, **settings).evaluate
    with pytest.raises(SplitError, match="must hold an array `val_image`. Received: split='val'"):
        requested(data, test_split="val", **settings)


@backend_free
@pytest.mark.parametrize("value_range", [(0, 4095), "auto"])
def test_a_value_range_is_refused_for_images_that_are_already_read(requested, tmp_path, value_range):
    source = kl.data.load(arrays())
    words = "`value_range` must be given to `data.load` where images are a Source.* Received: value_range="
    with pytest.raises(ValueError, match=words):
        requested(source, value_range=value_range)
    if value_range != "auto":
        with pytest.raises(ValueError, match=words):
            kl.evaluate(tmp_path / "backbone.keras", {"test": source}, value_range=value_range)


@backend_free
def test_settings_take_numbers_and_arrays_of_numpy(requested, finished):
    made = requested(arrays(), mean=np.array([0.5, 0.25, 0.125]), epochs=np.int64(30), crop_scale=[0.5, 1])
    assert made.mean == (0.5, 0.25, 0.125) and made.epochs == 30 and made.crop_scale == (0.5, 1)
    assert {type(number) for number in (*made.mean, made.epochs)} == {float, int}
    with pytest.raises(ValueError, match=r"`epochs` must be a single value. Received: epochs=\[1, 2\]"):
        requested(arrays(), epochs=np.array([1, 2]))
    with pytest.raises(ValueError, match="`mean` must be a number or a tuple of them. Received: mean='red'"):
        requested(arrays(), mean="red")
    run, _ = finished
    options = {"verbose": False, "cache": False, "check_shared": False}
    of_one = kl.evaluate(run, arrays(), "knn", k=3, **options)
    assert kl.evaluate(run, arrays(), "knn", k=np.array([3]), **options) == of_one
    assert run.lines[-1]["k"] == 3 and kl.evaluate(
        run, arrays(), "robustness", changes="occlusion", **options
    )
    model, own = run.backbone(normalization=False), {"mean": np.full(3, 0.5), "std": np.full(3, 0.25)}
    assert kl.evaluate(model, arrays(), "knn", k=3, **own, **options)["knn/top1"] > 0


@backend_free
def test_what_cannot_be_judged_is_named(finished, tmp_path):
    run, _ = finished
    with pytest.raises(ValueError, match="`suite` must be one of .*Did you mean knn.*Received: 'knnn'"):
        kl.evaluate(run, suite="knnn")
    with pytest.raises(ValueError, match="`draw` is not a setting of `evaluate`. Did you mean draws"):
        kl.evaluate(run, draw=3)
    with pytest.raises(ValueError, match="names of evaluations go to `suite`. Received: data='knn'"):
        kl.evaluate(run, "knn")
    with pytest.raises(ValueError, match="^`data` must be one of .*Received: 'pictures'"):
        kl.evaluate(run, "pictures")
    with pytest.raises(FileNotFoundError, match=r"`path` must be the folder of a run, with recipe.json"):
        kl.evaluate(tmp_path)
    with pytest.raises(ValueError, match="`dataset` must name the images: those of the run were given"):
        kl.evaluate(run, suite="knn")
    with pytest.raises(FileNotFoundError, match="must be the folder of a run"):
        kl.Run(tmp_path)


@backend_free
def test_images_are_given_by_split():
    source = kl.data.load({"image": arrays()["train_image"], "label": arrays()["train_label"]})
    given = GivenImages({"train": source, "test": source.take(8)})
    assert given.splits == ["train", "test"] and given.load("test").count == 8
    assert given.load("train[:25%]").count == 16 and GivenImages(source).splits == ["train"]
    with pytest.raises(SplitError, match="`split` must be one of those that were given, train, test"):
        given.load("validation")
    assert GivenImages(arrays()).splits == ["train", "test"]
    assert named(pathlib.Path("DIR")) == ("DIR", None) and named(source)[0] == IN_PYTHON
    stream = GivenImages(source.map(lambda element: element).filter(lambda element: True))
    with pytest.raises(SplitError, match="stream"):
        stream.load("train[:2]")


@backend_free
def test_every_hook_of_keras_is_passed_on():
    of_keras = {name for name in dir(keras.callbacks.Callback) if name.startswith("on_")}
    assert of_keras - {"on_batch_begin", "on_batch_end"} == set(HOOKS)
    errors, inner = [], Recorder(raise_at=1)
    guard = Guarded(inner, errors.append)
    guard.on_train_batch_end(0, logs={})
    guard.on_train_batch_end(1)
    assert inner.calls == [0] and isinstance(errors[0].__cause__, ConnectionError)


# === The trackers of the page ===


def wandb():
    """What the page uses of Weights & Biases."""
    module, keras_module = types.ModuleType("wandb"), types.ModuleType("wandb.integration.keras")
    module.logged = []

    class Tracked:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def log(self, values):
            module.logged.append(values)

    class WandbMetricsLogger(keras.callbacks.Callback):
        def __init__(self, log_freq="epoch"):
            super().__init__()
            self.every = log_freq

        def on_train_batch_end(self, batch, logs=None):
            if batch % self.every == 0:
                module.logged.append({f"batch/{name}": float(value) for name, value in logs.items()})

        def on_epoch_end(self, epoch, logs=None):
            module.logged.append({f"epoch/{name}": float(value) for name, value in logs.items()})

    module.init = lambda **options: Tracked()
    keras_module.WandbMetricsLogger = WandbMetricsLogger
    package = types.ModuleType("wandb.integration")
    return {"wandb": module, "wandb.integration": package, "wandb.integration.keras": keras_module}


def mlflow():
    """What the page uses of MLflow; its callback also writes down the optimizer and the summary."""
    module, keras_module = types.ModuleType("mlflow"), types.ModuleType("mlflow.keras")
    module.logged = []

    class MlflowCallback(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            lines = []
            self.model.summary(print_fn=lambda line, *_, **__: lines.append(line))
            module.logged.append({"optimizer": self.model.optimizer.get_config(), "summary": lines})

        def on_epoch_end(self, epoch, logs=None):
            module.logged.append({f"epoch/{name}": float(value) for name, value in logs.items()})

    module.start_run = wandb()["wandb"].init
    module.log_metrics = module.logged.append
    keras_module.MlflowCallback = MlflowCallback
    module.keras = keras_module
    return {"mlflow": module, "mlflow.keras": keras_module}


@backend_free
@pytest.mark.slow
def test_the_page_on_python_runs_with_stand_ins_of_the_trackers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    stand_ins = wandb() | mlflow()
    for name, module in stand_ins.items():
        monkeypatch.setitem(sys.modules, name, module)
    whole = kl.pretrain

    def small(data, workdir, **given):
        judged = {"evaluate": workdir == "runs/tracked", "epochs": 1}
        return whole("fashion_mnist", workdir, **{**given, **SMALL, **judged})

    monkeypatch.setitem(vars(kl), "pretrain", small)
    page = (pathlib.Path(__file__).parent.parent / "docs" / "python.md").read_text()
    scope = {}
    for snippet in re.findall(r"```python\n(.*?)```", page, re.S):
        exec(compile(snippet, "docs/python.md", "exec"), scope)
    for tracker in ("wandb", "mlflow"):
        logged = set().union(*stand_ins[tracker].logged)
        assert {"epoch/loss", "epoch/knn_top1"} <= logged
    assert "pretrained/linear/top1" in set().union(*stand_ins["wandb"].logged)
