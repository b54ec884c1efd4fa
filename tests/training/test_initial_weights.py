"""Runs that begin with the weights of a file, or with a network of another library."""

import dataclasses
import json
import pathlib
import re

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import keras_leoclr as kl
from keras_leoclr import cli, model_card
from keras_leoclr.recipes import image_folder
from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.training import beginning, settling
from keras_leoclr.training.recipe import Recipe
from tests.case import to_numpy
from tests.test_one_call import SMALL, arrays

backend_free = pytest.mark.backend_free
QUICK = {name: SMALL[name] for name in SMALL.keys() - {"backbone", "widths", "image_size"}}
MEAN, STD = (0.4, 0.45, 0.5), (0.2, 0.25, 0.3)


def tiny(include_top=False, weights=None, input_shape=None, pooling="avg"):
    """A network as those of `keras.applications` are, with preprocessing of its own."""
    images = keras.Input(input_shape)
    x = layers.Normalization(mean=[0.5] * 3, variance=[0.25] * 3)(layers.Rescaling(1 / 255)(images))
    x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(8, 3, strides=2, name="stem")(x)))
    return keras.Model(images, layers.GlobalAveragePooling2D()(x), name="tiny")


class Start(keras.callbacks.Callback):
    """Notes the weights of both encoders before the first step."""

    def on_train_begin(self, logs=None):
        self.query = self.model.query_encoder.get_weights()
        self.key = self.model.key_encoder.get_weights()


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A run that began with a network of the user's own, with its file and what it began with."""
    folder = tmp_path_factory.mktemp("begun")
    own = tiny(input_shape=(16, 16, 3))
    own.save(folder / "own.keras")
    start = Start()
    run = kl.pretrain(
        arrays(),
        folder / "run",
        initial_weights=folder / "own.keras",
        callbacks=[start],
        **{**QUICK, "verbose": 0},
    )
    return run, own, start, folder / "own.keras"


def test_both_encoders_begin_with_the_weights_of_the_file(begun):
    run, own, start, _ = begun
    for one, other in zip(start.query, start.key, strict=True):
        np.testing.assert_array_equal(one, other)
    expected = [weight for weight in own.get_weights() if weight.ndim]  # without the counter of Normalization
    stem = next(weight for weight in expected if weight.ndim == 4)
    assert any(weight.shape == stem.shape and (weight == stem).all() for weight in start.query)
    assert run.recipe["backbone"] == "initial_weights" and run.recipe["image_size"] == 16
    assert run.recipe["mean"] == run.recipe["std"] == [0.5] * 3


def test_the_starting_weights_are_judged_beside_random_ones(begun):
    run, _, _, path = begun
    subjects = [line["subject"] for line in run.lines if line["name"] == "linear/top1"]
    assert subjects == ["raw pixels", "random", "before", "pretrained"]
    card = json.loads((run.path / "backbone.json").read_text())
    about = card["training"]["initial_weights"]
    assert about["path"] == str(path) and len(about["sha256"]) == 64
    page = (run.path / "backbone.md").read_text()
    assert f"| began with | `{path}` (backbone), SHA-256 `{about['sha256']}` |" in page
    assert "| measurement | pretrained | before | random | raw pixels |" in page
    report = run.report.read_text()
    assert "the weights that it began with" in report and about["sha256"] in report
    assert "before" in run.table()


def test_its_backbone_takes_raw_images_and_normalises_once(begun):
    run, own, _, _ = begun
    images = np.random.default_rng(0).uniform(0, 255, (2, 16, 16, 3)).astype("float32")
    initial = keras.saving.load_model(run.path / "initial.keras")
    np.testing.assert_allclose(to_numpy(initial(images)), to_numpy(own(images)), atol=1e-5)
    assert kl.backbones.normalization_of(run.backbone()) == (((0.5,) * 3),) * 2
    values = kl.evaluate(run, arrays(), "knn", k=[5], verbose=False)
    assert 0 <= values["knn/top1"] <= 1
    assert cli.main(["leoclr", "report", str(run.path)]) == 0
    assert cli.main(["leoclr", "export", str(run.path), "--images", "4"]) == 0
    assert (run.path / "export" / "backbone.keras").is_file()


def test_a_run_goes_on_without_the_file(begun, tmp_path):
    run, _, _, path = begun
    moved = path.rename(tmp_path / "moved.keras")
    try:
        longer = {**QUICK, "epochs": 3, "override": True}
        again = kl.pretrain(arrays(), run, initial_weights=path, **longer)
        assert len(again.history) == 3 and again.recipe["epochs"] == 3
        assert [line["subject"] for line in again.lines if line["name"] == "linear/top1"].count("before") == 1
        with pytest.raises(ValueError, match=r"initial_weights"):
            kl.pretrain(arrays(), run, **longer)
    finally:
        moved.rename(path)


def test_a_network_of_another_library_is_pretrained_and_normalised_once(tmp_path, monkeypatch):
    monkeypatch.setattr(keras.applications, "Tiny", tiny, raising=False)
    recipe = Recipe(
        dataset="fashion_mnist",
        backbone="applications:Tiny",
        image_size=16,
        queue_size=64,
        momentum=0.9,
        projection_dim=8,
        evaluate=False,
        map_images=0,
        knn_every=0,
        precision="mixed_bfloat16",
    )
    small = dataclasses.replace(recipe.smoke(), epochs=1, max_images=64)
    assert small.backbone == "applications:Tiny" and small.image_size == 16
    from keras_leoclr.recipes import pretrain

    pretrain(small, tmp_path, verbose=0, tensorboard="off")
    written = RunFolder(tmp_path).recipe()
    assert written["mean"] == written["std"] == [0.5] * 3
    assert kl.backbones.normalization_of(kl.Run(tmp_path).backbone()) == (((0.5,) * 3),) * 2
    assert pretrain(small, tmp_path, verbose=0, tensorboard="off") == {}  # finished
    model_card.write(tmp_path)
    assert "| began with | random weights |" in (tmp_path / "backbone.md").read_text()


@pytest.mark.slow
@pytest.mark.backend_free
def test_a_network_of_keras_applications_from_pictures_to_an_export_by_commands(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for number in range(48):
        split = "test" if number % 3 == 0 else "train"
        path = tmp_path / "pictures" / split / f"class{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)

    def run(*arguments):
        status = cli.main(["leoclr", *map(str, arguments)])
        printed = capsys.readouterr()
        assert status == 0, printed.err
        return printed.out

    network = ("--backbone", "applications:MobileNetV3Small", "--image_size", 32)
    few = ("--preset", "smoke", "--epochs", 1, "--batch_size", 8, "--queue_size", 16, "--tensorboard", "off")
    work = tmp_path / "run"
    printed = run(
        "pretrain", "image_folder", "--dataset", tmp_path / "pictures", "--workdir", work, *network, *few
    )
    assert "mean 0.5,0.5,0.5: what applications:MobileNetV3Small takes" in printed
    results = kl.Run(work).results
    assert 0 <= results["pretrained/linear/top1"] <= 1 and 0 <= results["random/knn/top1"] <= 1
    assert "knn/top1" in run("evaluate", "knn", "--workdir", work)
    run("export", work, "--formats", "keras,onnx", "--output", tmp_path / "export")
    backbone = keras.saving.load_model(tmp_path / "export" / "backbone.keras")
    pixels = rng.uniform(0, 255, (2, 32, 32, 3)).astype("float32")
    expected = kl.Run(work).backbone()(pixels)
    np.testing.assert_allclose(to_numpy(backbone(pixels)), to_numpy(expected), rtol=1e-4, atol=1e-5)
    run("embed", tmp_path / "pictures", "--backbone", work, "--output", tmp_path / "features.npz")
    assert np.load(tmp_path / "features.npz")["features"].shape == (32, 576)


# === Settings ===


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    small = kl.backbones.resnet_small((16, 16, 3), widths=(8, 16), stem="cifar")
    kl.backbones.with_normalization(small, MEAN, STD).save(folder / "small.keras")
    kl.backbones.to_torch(small, folder / "small.safetensors")
    kl.LeOCLR(small, projection_dim=6, hidden_dim=12, queue_size=20).save(folder / "leoclr.keras")
    kl.backbones.resnet_small((16, 16, 4), widths=(8, 16)).save(folder / "four.keras")
    return folder


@backend_free
def test_settings_are_taken_from_the_file_and_said(files):
    recipe = Recipe(dataset="fashion_mnist", initial_weights=str(files / "small.keras"))
    made, lines, _ = beginning.settled(recipe)
    assert (made.backbone, made.stem, made.widths) == ("resnet_small", "cifar", (8, 16))
    assert (made.image_size, made.mean, made.std) == (16, MEAN, STD)
    assert "image_size 16: that of the initial weights" in lines
    assert beginning.settled(made, given=())[0] == made
    whole = dataclasses.replace(recipe, initial_weights=str(files / "leoclr.keras"))
    made, _, _ = beginning.settled(whole)
    assert (made.projection_dim, made.hidden_dim, made.queue_size) == (6, 12, 20)
    assert beginning.settled(whole, given={"queue_size"})[0].queue_size == 65536
    torch = dataclasses.replace(recipe, initial_weights=str(files / "small.safetensors"), image_size=24)
    assert beginning.settled(torch)[0].image_size == 24
    assert beginning.settled(dataclasses.replace(torch, image_size=Recipe.image_size))[0].image_size == 16
    narrow = kl.backbones.resnet18((16, 16, 3), stem="cifar", width=8)
    kl.backbones.to_torch(narrow, files / "narrow.safetensors")
    made, _, _ = beginning.settled(dataclasses.replace(torch, initial_weights=f"{files}/narrow.safetensors"))
    assert (made.backbone, made.stem) == ("initial_weights", "cifar")
    assert beginning.of_run(made, RunFolder(files / "run"), False).backbone.input_shape == (None, 24, 24, 3)
    larger, _, _ = beginning.settled(dataclasses.replace(recipe, image_size=32))
    assert larger.image_size == 32  # a ResNet takes images of any size


@backend_free
@pytest.mark.parametrize("given", [None, {"channels", "initial_weights"}])
def test_four_channels_have_the_mean_of_the_weights_unless_another_was_asked_for(files, given):
    """ "auto", which is the mean of a recipe of four channels, has as many letters."""
    numbers = ((0.1, 0.2, 0.3, 0.4), (0.2, 0.2, 0.3, 0.3))
    four = kl.backbones.resnet_small((16, 16, 4), widths=(8, 16))
    kl.backbones.with_normalization(four, *numbers).save(files / "normalised.keras")
    recipe = Recipe(dataset="x", channels=4, initial_weights=str(files / "normalised.keras"), image_size=16)
    made = beginning.settled(recipe, given)[0]
    np.testing.assert_allclose((made.mean, made.std), numbers)
    with pytest.raises(ValueError, match="`mean` must be that of the images.*Received: mean=auto"):
        beginning.settled(recipe, {"mean"})


@backend_free
@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        (
            "small.keras",
            {"backbone": "resnet18"},
            "with the `backbone` that was asked for.*backbone='resnet18'",
        ),
        ("small.keras", {"stem": "patch"}, "with the `stem` that was asked for.*stem cifar.*stem='patch'"),
        ("small.keras", {"widths": (8, 32)}, "with the `widths` that was asked for"),
        (
            "small.keras",
            {"mean": (0.1, 0.1, 0.1)},
            r"`mean` must be that of .* 0.4,0.45,0.5. Received: mean=",
        ),
        ("four.keras", {}, "network of images with 3 channels. Received: .*of a network with 4"),
        ("small.keras", {"backbone": "applications:VGG16", "image_size": 32}, "must hold the weights of app"),
    ],
)
def test_weights_of_another_network_are_refused(files, name, given, words):
    recipe = Recipe(dataset="fashion_mnist", initial_weights=str(files / name), **given)
    with pytest.raises(ValueError, match=words):
        beginning.settled(recipe, given)


@backend_free
def test_the_recipe_that_chooses_goes_by_the_file_and_smoke_keeps_the_network(files, tmp_path):
    given = {"dataset": "fashion_mnist", "initial_weights": str(files / "small.keras")}
    recipe, settle = settling.requested(image_folder, "smoke", given, tmp_path)
    made, lines = settle(recipe)
    assert (made.backbone, made.widths, made.image_size) == ("resnet_small", (8, 16), 16)
    assert not [line for line in lines if line.startswith(("backbone resnet18", "image_size 28"))]
    assert made.batch_size == 32 and made.max_images == 320


@backend_free
def test_a_backbone_is_a_known_name_or_that_of_a_library():
    with pytest.raises(
        ValueError, match="`backbone` must be one of resnet18.*or applications:NAME, keras_cv"
    ):
        Recipe(backbone="torchvision:resnet18")
    with pytest.raises(ValueError, match="`backbone` initial_weights is the network of a file"):
        Recipe(backbone="initial_weights")
    assert Recipe(backbone="keras_hub:resnet_18_imagenet").smoke().backbone == "keras_hub:resnet_18_imagenet"


@backend_free
def test_the_snippets_of_the_page_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = lambda **_: tiny(input_shape=(32, 32, 3))  # noqa: E731
    monkeypatch.setattr(keras.applications, "EfficientNetB0", small, raising=False)
    page = pathlib.Path(__file__).parents[2] / "docs" / "start_from_weights.md"
    scope = {}
    for snippet in re.findall(r"```python\n(.*?)```", page.read_text(), re.S):
        exec(compile(snippet, page.name, "exec"), scope)
    assert kl.backbones.normalization_of(scope["model"].backbone) is None
    weights = kl.backbones.read_initial_weights("efficientnet.keras")
    assert weights.normalization == (scope["mean"], scope["std"])
