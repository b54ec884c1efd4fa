"""What works where TensorFlow, keras-cv and TFDS are not installed; run by `test_without_tensorflow.py`.

    KERAS_BACKEND=jax python -m tests.without_tensorflow RUNS FOLDER

RUNS is a folder of finished runs, FOLDER one to write into. The last line that is printed is JSON: what
became of each part, "" or a traceback, and the blocked packages that are loaded at the end.
"""

import contextlib
import io
import json
import pathlib
import sys
import traceback

BLOCKED = ("tensorflow", "keras_cv", "tensorflow_datasets")


class Without:
    """A finder of modules that does not find some packages, as if they were not installed."""

    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            return None
        return self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)


sys.meta_path[:] = [Without(finder) for finder in sys.meta_path]

import keras  # noqa: E402
import numpy as np  # noqa: E402

import keras_leoclr as kl  # noqa: E402
from keras_leoclr import cli  # noqa: E402
from keras_leoclr.callbacks import Checkpoint, Health, HistoryFile  # noqa: E402
from keras_leoclr.runs.results import Results  # noqa: E402

RUNS, FOLDER = map(pathlib.Path, sys.argv[1:3])
BATCH, STEPS = 4, 10
PARTS = {}


def part(function):
    PARTS[function.__name__] = function
    return function


def network():
    images = keras.Input((8, 8, 3))
    maps = keras.layers.BatchNormalization()(keras.layers.Conv2D(6, 3, activation="relu")(images))
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(maps))


def model(**options):
    keras.utils.set_random_seed(0)
    made = kl.LeOCLR(network(), projection_dim=4, queue_size=16, **options)
    made.compile(kl.optimizers.SGD(0.05, momentum=0.9, weight_decay=1e-4))
    return made


def images(count, seed=0):
    return np.random.default_rng(seed).standard_normal((count, 8, 8, 3)).astype("float32")


def views():
    query = images(BATCH * STEPS)
    return {"query": query, "keys": np.stack([query[:, ::-1], query[:, :, ::-1]], axis=1)}


class Batches(keras.utils.PyDataset):
    """Batches of the views from the batch `first` on."""

    def __init__(self, first=0):
        super().__init__()
        self.first = first
        self.views = views()

    def __len__(self):
        return STEPS - self.first

    def __getitem__(self, index):
        rows = slice((self.first + index) * BATCH, (self.first + index + 1) * BATCH)
        return {name: values[rows] for name, values in self.views.items()}, None


@part
def fit_of_twenty_steps():
    history = model().fit(Batches(), epochs=2, verbose=0).history
    assert len(history["loss"]) == 2 and np.isfinite(history["loss"]).all()


@part
def fit_of_arrays():
    history = model().fit(views(), batch_size=BATCH, epochs=2, verbose=0, shuffle=False).history
    assert len(history["loss"]) == 2 and np.isfinite(history["loss"]).all()


VIEWS = {"image_size": 8, "crop_scale": (0.3, 1.0)}
PICTURES = np.random.default_rng(1).integers(0, 256, (BATCH * STEPS, 12, 10, 3), np.uint8)


def pictures(epoch=0, batch=0):
    return kl.data.array_batches(
        PICTURES, kl.LeOCLRViews(**VIEWS), BATCH, initial_epoch=epoch, initial_batch=batch
    )


@part
def fit_of_pictures_with_views_on_the_device():
    whole, again = (model(views=kl.LeOCLRViews(**VIEWS)) for _ in range(2))
    history = whole.fit(pictures(), epochs=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    for epoch, batch in [(0, 0), (1, 0)]:
        again.fit(pictures(epoch, batch), verbose=0)
    for one, other in zip(whole.variables, again.variables, strict=True):
        np.testing.assert_array_equal(*(keras.ops.convert_to_numpy(v) for v in (one, other)))


class Stop(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if self.model.optimizer.iterations == 7:
            raise KeyboardInterrupt


def trained(folder, *callbacks):
    made = model()
    history = HistoryFile(FOLDER / folder / "history.csv")
    checkpoint = Checkpoint(FOLDER / folder / "checkpoints", minutes=None)
    checkpoint.fit(made, lambda epoch, batch: Batches(batch), 2, [history, Health(), *callbacks], verbose=0)
    return made, (FOLDER / folder / "history.csv").read_text()


@part
def checkpoint_and_resume_to_the_bit():
    whole, whole_history = trained("whole")
    with contextlib.suppress(KeyboardInterrupt):
        trained("resumed", Stop())
    resumed, history = trained("resumed")
    for one, other in zip(whole.variables, resumed.variables, strict=True):
        np.testing.assert_array_equal(*(keras.ops.convert_to_numpy(v) for v in (one, other)))
    assert whole_history == history


def features():
    labels = np.arange(40) % 2
    pixels = images(40) + 2 * labels[:, None, None, None]
    batches = [(pixels[i : i + 8], labels[i : i + 8]) for i in range(0, 40, 8)]
    return kl.evaluation.extract_features(network(), batches, verbose=False)


@part
def knn_and_linear_probe_of_numpy_batches():
    values, labels = features()
    assert values.shape == (40, 6)
    assert 0.5 < kl.evaluation.knn(values, labels, values, labels, k=5)["top1"] <= 1
    assert 0.5 < kl.evaluation.linear_probe(values, labels, values, labels)["top1"] <= 1


@part
def results():
    written = Results(FOLDER / "results.jsonl")
    written.write("knn/top1", 0.5, k=20)
    assert written.read()[-1]["value"] == 0.5


@part
def torch_weights():
    backbone = kl.backbones.resnet_small((8, 8, 3))
    for name in ["b.safetensors", *(["b.pth"] if keras.backend.backend() == "torch" else [])]:
        kl.backbones.to_torch(backbone, FOLDER / name)
        again = kl.backbones.load(FOLDER / name, verbose=False)
        np.testing.assert_array_equal(*(m.get_layer("stem_conv").get_weights()[0] for m in (backbone, again)))


def command(*arguments):
    """What a command prints; it must succeed."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        status = cli.main(["leoclr", *map(str, arguments)])
    assert status == 0, (status, printed.getvalue())
    return printed.getvalue()


@part
def help_recipes_and_doctor():
    assert "pretrain RECIPE" in command("--help")
    assert "image_folder" in command("recipes")
    assert "keras" in command("doctor")


@part
def report():
    command("report", RUNS / "finished", "--output", FOLDER / "report.html")
    assert "</html>" in (FOLDER / "report.html").read_text(encoding="utf-8")


@part
def compare_and_watch():
    assert "knn" in command("compare", RUNS / "finished")
    assert "finished" in command("watch", RUNS / "finished")


if __name__ == "__main__":
    outcome = {}
    for name, function in PARTS.items():
        try:
            function()
            outcome[name] = ""
        except BaseException:
            outcome[name] = traceback.format_exc()
    outcome["loaded"] = [name for name in BLOCKED if name in sys.modules]
    print(json.dumps(outcome))
