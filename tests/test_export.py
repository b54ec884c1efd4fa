"""Backbones out of the package: raw images in, cards, checked loading, other formats."""

import dataclasses
import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

import keras_leoclr as kl
from keras_leoclr import cli, export, model_card
from keras_leoclr.backbones.loading import BackboneFileError
from keras_leoclr.backbones.vit import build_vit
from keras_leoclr.recipes import fashion_mnist, pretrain
from keras_leoclr.runs.results import Results
from tests.case import random_images, small_model, to_numpy

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)
BACKEND = keras.backend.backend()


def normalised(images):
    return ((images / 255.0 - np.array(MEAN)) / np.array(STD)).astype("float32")


@pytest.fixture(scope="module")
def backbone():
    keras.utils.set_random_seed(3)
    made = kl.backbones.resnet_small((8, 8, 3), widths=(8, 16))
    norms = [layer for layer in made.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for number, layer in enumerate(norms):  # not the identity
        layer.moving_mean.assign(0.1 * number * np.ones(layer.moving_mean.shape))
    return made


@pytest.fixture(scope="module")
def raw(backbone):
    return kl.backbones.with_normalization(backbone, MEAN, STD)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run, small; tests that change it change it back."""
    recipe = dataclasses.replace(
        fashion_mnist.RECIPE.smoke(),
        widths=(8, 16),
        max_images=64,
        epochs=1,
        knn_every=0,
        evaluate=False,
    )
    workdir = tmp_path_factory.mktemp("run") / "small"
    pretrain(recipe, workdir, verbose=0)
    return workdir


# === Normalisation ===


def test_raw_images_give_the_features_of_normalised_ones(backbone, raw):
    images = random_images(4, 8, 8)
    expected = to_numpy(backbone(normalised(images), training=False))
    found = to_numpy(raw(images, training=False))  # uint8
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert [layer.name for layer in raw.layers[:3]] == ["images", "normalization", "stem_pad"]
    assert raw.get_layer("stem_conv") is backbone.get_layer("stem_conv")


def test_normalisation_is_seen_from_the_model_and_comes_off_again(backbone, raw):
    assert kl.backbones.normalization_of(raw) == (MEAN, STD)
    assert kl.backbones.normalization_of(backbone) is None
    back = kl.backbones.without_normalization(raw)
    images = normalised(random_images(3, 8, 8))
    np.testing.assert_array_equal(
        to_numpy(back(images, training=False)), to_numpy(backbone(images, training=False))
    )
    assert kl.backbones.without_normalization(back) is back
    with pytest.raises(ValueError, match="must not normalise already"):
        kl.backbones.with_normalization(raw, MEAN, STD)


@pytest.mark.backend_free
@pytest.mark.parametrize(("mean", "std"), [((0.5,), STD), (MEAN, (0.2, 0.0, 0.3)), ((0.1, np.nan, 0.2), STD)])
def test_numbers_that_do_not_fit_the_channels_are_refused(backbone, mean, std):
    with pytest.raises(ValueError, match="must be 3 finite numbers"):
        kl.backbones.with_normalization(backbone, mean, std)


def test_nothing_is_normalised_twice(raw):
    with pytest.raises(ValueError, match="without_normalization"):
        kl.LeOCLR(raw, queue_size=8)
    batches = [(normalised(random_images(4, 8, 8)), np.zeros(4, int))]
    with pytest.raises(ValueError, match="must yield raw images"):
        kl.evaluation.extract_features(raw, batches)
    from keras_leoclr.evaluation.supervised import classifier_on

    with pytest.raises(ValueError, match="must take normalised images"):
        classifier_on(raw, 3, True, 0.01, 0)


# === Without this package ===

ALONE = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("keras_leoclr", "keras_cv"):
            raise ImportError(name)

sys.meta_path.insert(0, Blocked())
import keras
import numpy as np

try:
    import keras_leoclr
    raise SystemExit("the package can be imported")
except ImportError:
    pass
for name in sys.argv[1].split(","):
    model = keras.saving.load_model(f"{name}.keras", safe_mode=True)
    images = np.load(f"{name}-images.npy")
    np.save(f"{name}-found.npy", keras.ops.convert_to_numpy(model(images, training=False)))
    assert all(type(layer).__module__.startswith("keras.") for layer in model.layers)
print(keras.backend.backend())
"""


@pytest.mark.slow
def test_the_file_opens_without_this_package(raw, tmp_path):
    vit = kl.backbones.with_normalization(build_vit(8, 16, 8, 1, 1, "token"), MEAN, STD)
    for name, model in (("resnet", raw), ("vit", vit)):
        images = random_images(2, *model.input_shape[1:3])
        model.save(tmp_path / f"{name}.keras")
        np.save(tmp_path / f"{name}-images.npy", images)
    done = subprocess.run(
        [sys.executable, "-c", ALONE, "resnet,vit"], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()[-1] == BACKEND
    for name, model in (("resnet", raw), ("vit", vit)):
        images = np.load(tmp_path / f"{name}-images.npy")
        found = np.load(tmp_path / f"{name}-found.npy")
        np.testing.assert_allclose(found, to_numpy(model(images, training=False)), atol=1e-5)


# === Runs, cards and loading ===


@pytest.mark.slow
def test_a_run_leaves_a_backbone_of_raw_images_and_its_card(run, capsys):
    loaded = kl.backbones.load(run)
    assert "keys loaded" in capsys.readouterr().out
    recipe = json.loads((run / "recipe.json").read_text())
    assert kl.backbones.normalization_of(loaded) == (tuple(recipe["mean"]), tuple(recipe["std"]))
    card = json.loads((run / "backbone.json").read_text())
    assert card["input"] | {"shape": [28, 28, 3], "range": "0 to 255"} == card["input"]
    assert card["data"] == {"dataset": "fashion_mnist", "split": "train", "images": 64}
    assert card["output"] == {"features": 16} and card["encoder"] == "query"
    assert card["training"]["epochs"] == 1 and card["recipe"] == recipe and card["results"] == []
    assert card["licence"]["data"].startswith("MIT")
    text = (run / "backbone.md").read_text()
    assert text == model_card.render(card) and card["file"]["sha256"] in text


@pytest.mark.slow
def test_the_key_encoder_and_the_projection_come_from_the_checkpoint(run):
    whole = keras.saving.load_model(run / "checkpoints" / "model.keras", compile=False)
    images = random_images(3, 28, 28)
    recipe = json.loads((run / "recipe.json").read_text())
    given = ((images / 255.0 - np.array(recipe["mean"])) / np.array(recipe["std"])).astype("float32")
    key = kl.backbones.load(run, encoder="key", projection=True, verbose=False)
    expected = to_numpy(whole.key_encoder(given, training=False))
    np.testing.assert_allclose(to_numpy(key(images, training=False)), expected, atol=1e-5)
    query = kl.backbones.load(run, normalization=False, verbose=False)
    expected = to_numpy(whole.backbone(given, training=False))
    np.testing.assert_allclose(to_numpy(query(given, training=False)), expected, atol=1e-5)


@pytest.mark.backend_free
@pytest.mark.slow
def test_evaluate_gives_the_same_with_an_old_file_and_refreshes_the_card(run, tmp_path, capsys):
    values = {}
    for kind in ("new", "old"):
        workdir = tmp_path / kind
        workdir.mkdir()
        for name in ("recipe.json", "backbone.keras", "backbone.json"):
            (workdir / name).write_bytes((run / name).read_bytes())
        if kind == "old":  # as files were before they had the layer, without a card
            (workdir / "backbone.json").unlink()
            kl.backbones.load(run, normalization=False, verbose=False).save(workdir / "backbone.keras")
        arguments = ["--workdir", workdir, "--noverbose", "--nocheck_shared", "--k", "1,5", "--nocache"]
        assert cli.main(["leoclr", "evaluate", "knn", *map(str, arguments)]) == 0
        values[kind] = [line["value"] for line in Results(workdir / "results.jsonl").read()]
    assert values["new"] == values["old"] and len(values["new"]) == 4
    assert not (tmp_path / "old" / "backbone.json").exists()
    card = json.loads((tmp_path / "new" / "backbone.json").read_text())
    assert [line["k"] for line in card["results"] if line["name"] == "knn/top1"] == [1, 5]
    assert card["data"]["images"] == 64  # kept
    assert "| knn/top1, k 5 | " in (tmp_path / "new" / "backbone.md").read_text()
    again = ["evaluate", "knn", "--workdir", str(tmp_path / "new"), "--mean", "0.1,0.1,0.1"]
    assert cli.main(["leoclr", *again]) == 2
    assert "normalises images itself" in capsys.readouterr().err


@pytest.fixture
def carded(raw, tmp_path):
    """A backbone with its card."""
    path = tmp_path / "backbone.keras"
    raw.save(path)
    (tmp_path / "backbone.json").write_text(json.dumps(model_card.describe(raw, path)))
    return path


def test_a_file_that_is_not_its_cards_is_refused(carded, backbone):
    kl.backbones.load(carded, verbose=False)
    other = kl.backbones.resnet_small((8, 8, 3), widths=(8, 8))
    other.save(carded)
    with pytest.raises(BackboneFileError, match=r"another network: output \(None, 8\), card \(None, 16\)"):
        kl.backbones.load(carded)
    backbone.save(carded)
    with pytest.raises(BackboneFileError, match=r"The network is the same. Received: SHA-256"):
        kl.backbones.load(carded)


@pytest.mark.backend_free
@pytest.mark.parametrize("damage", ["truncated", "one bit", "empty"])
def test_a_damaged_file_is_refused_with_or_without_a_card(carded, damage):
    content = bytearray(carded.read_bytes())
    middle = content.index(b"model.weights.h5") + 3000
    if damage == "one bit":
        content[middle] ^= 1
    carded.write_bytes({"truncated": content[:-200], "one bit": content, "empty": b""}[damage])
    for _ in range(2):
        with pytest.raises(BackboneFileError, match=r"must be a whole .keras file. Received: "):
            kl.backbones.load(carded)
        carded.with_suffix(".json").unlink(missing_ok=True)


@pytest.mark.backend_free
def test_what_holds_no_backbone_is_refused(tmp_path, carded):
    vector = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    vector.save(tmp_path / "vector.keras")
    with pytest.raises(BackboneFileError, match="from images"):
        kl.backbones.load(tmp_path / "vector.keras")
    images = keras.Input((4, 4, 3))
    code = keras.Model(images, keras.layers.Lambda(lambda x: x[:, 0, 0])(images))
    code.save(tmp_path / "code.keras")
    with pytest.raises(BackboneFileError, match="stock Keras layers"):
        kl.backbones.load(tmp_path / "code.keras")
    with pytest.raises(FileNotFoundError, match="backbone.keras"):
        kl.backbones.load(tmp_path / "..")
    with pytest.raises(ValueError, match="a backbone alone"):
        kl.backbones.load(carded, encoder="key", verbose=False)
    (tmp_path / "backbone.json").write_text("[]")
    with pytest.raises(BackboneFileError, match="must be a model card"):
        kl.backbones.load(carded)


def test_torch_files_and_whole_models_load_too(tmp_path):
    model = small_model()
    kl.backbones.to_torch(model, tmp_path / "key.safetensors", encoder="key")
    model.save(tmp_path / "model.keras")
    images = normalised(random_images(2, 32, 32))[:, :8, :8]
    expected = to_numpy(model.key_encoder.layers[1](images, training=False))
    for name, options in (("model.keras", {"encoder": "key"}), ("key.safetensors", {})):
        loaded = kl.backbones.load(tmp_path / name, verbose=False, **options)
        if loaded.input_shape[1] == 8:
            np.testing.assert_allclose(to_numpy(loaded(images, training=False)), expected, atol=1e-5)
        assert loaded.output_shape == (None, 16)


# === Formats ===

# what Keras writes on each backend with the packages of the extra `test`; docs/export.md has the rest
WRITTEN = {
    "tensorflow": ("keras", "saved_model", "onnx", "litert", "safetensors", "pth"),
    "jax": ("keras", "saved_model", "safetensors"),
    "torch": ("keras", "onnx", "pth"),
}
REFUSED = {"jax": "litert", "torch": "saved_model"}


@pytest.mark.slow
@pytest.mark.parametrize("format", WRITTEN[BACKEND])
def test_an_export_has_the_features_of_keras(raw, tmp_path, format):
    path = tmp_path / f"backbone{export.FORMATS[format].suffix}"
    images = random_images(5, 8, 8)
    exported = export.write(raw, path, format, images, about={"encoder": "query"})
    assert exported.deviation <= 1e-4 and exported.refused == ()
    assert exported.card["encoder"] == "query" and str(path) in str(exported)
    assert exported.card["normalization"]["mean"] == MEAN  # within the network or not
    with pytest.raises(FileExistsError, match="overwrite"):
        export.write(raw, path, format, images)


@pytest.mark.backend_free
@pytest.mark.slow
def test_a_vit_is_exported_to_onnx_without_the_operation_that_it_lacks(tmp_path):
    vit = build_vit(8, 16, 8, 1, 1)
    images = normalised(random_images(4, 16, 16))
    exported = export.write(vit, tmp_path / "vit.onnx", "onnx", images)
    assert exported.deviation <= 1e-4 and exported.refused == ()


def test_a_failed_export_leaves_what_was_there(raw, tmp_path, monkeypatch):
    format, path = "safetensors", tmp_path / "backbone.safetensors"
    path.write_bytes(b"before")
    wrong = dataclasses.replace(
        export.FORMATS[format], run=lambda path, images: np.ones((len(images), 16), "float32")
    )
    monkeypatch.setitem(export.FORMATS, format, wrong)
    with pytest.raises(export.ExportError, match="deviate from Keras' by .* of the largest"):
        export.write(raw, path, format, random_images(4, 8, 8), overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == [path.name] and path.read_bytes() == b"before"
    if BACKEND in REFUSED:
        format = REFUSED[BACKEND]
        target = tmp_path / f"x{export.FORMATS[format].suffix}"
        with pytest.raises(export.ExportError, match="KERAS_BACKEND=tensorflow leoclr export"):
            export.write(raw, target, format, random_images(4, 8, 8))
        assert [p.name for p in tmp_path.iterdir()] == [path.name]


@pytest.mark.backend_free
def test_a_missing_package_names_the_extra(raw, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r"keras-leoclr\[export\]"):
        export.write(raw, tmp_path / "x.onnx", "onnx", random_images(4, 8, 8))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.backend_free
@pytest.mark.slow
def test_the_command_exports_and_says_what_failed(run, tmp_path, capsys):
    arguments = ["export", run, "--output", tmp_path / "out", "--images", 4]
    more = ["--formats", "keras,safetensors", "--encoder=key", "--with-projection"]
    assert cli.main(["leoclr", *map(str, [*arguments, *more])]) == 1
    out, error = capsys.readouterr()
    path = tmp_path / "out" / "backbone-key-projection.keras"
    assert str(path) in out and "deviate by" in out and "safetensors" in error
    assert sorted(p.name for p in path.parent.iterdir()) == [path.with_suffix(".json").name, path.name]
    loaded = kl.backbones.load(path, verbose=False)
    assert loaded.output_shape == (None, 128) and kl.backbones.normalization_of(loaded)
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["encoder"] == "key" and card["projection"] and card["data"]["dataset"] == "fashion_mnist"
    plain = [*arguments, "--without-normalization", "--name", "plain"]
    assert cli.main(["leoclr", *map(str, plain)]) == 0
    assert kl.backbones.normalization_of(keras.saving.load_model(tmp_path / "out" / "plain.keras")) is None


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "`export` takes the folder of a run or a file"),
        (["x", "--formats", "caffe"], "`--formats` must be some of keras, saved_model"),
        (["x", "--encoder", "both"], "--encoder"),
        (["x", "--images", "2"], "`--images` must be 3 or more"),
    ],
)
def test_wrong_usage_is_refused(arguments, words, capsys):
    assert cli.main(["leoclr", "export", *arguments]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.backend_free
def test_the_command_and_the_module_know_the_same_formats():
    from keras_leoclr.commands.export import FORMATS

    assert tuple(export.FORMATS) == FORMATS
    page = (pathlib.Path(__file__).parent.parent / "docs" / "export.md").read_text()
    assert all(f"`{name}`" in page for name in FORMATS)


@pytest.mark.backend_free
def test_snippets_of_the_page_run(capsys):
    from tests.test_packaging import snippets

    scope = {}
    for snippet in snippets("docs/export.md"):
        exec(compile(snippet, "docs/export.md", "exec"), scope)
    assert "(0.286, 0.286, 0.286)" in capsys.readouterr().out
