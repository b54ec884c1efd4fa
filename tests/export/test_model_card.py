"""Cards of backbones, and loading that checks them."""

import json

import keras
import numpy as np
import pytest

import keras_leoclr as kl
from keras_leoclr import cli, model_card
from keras_leoclr.backbones.loading import BackboneFileError
from keras_leoclr.runs.results import Results
from tests.case import random_images, small_model, to_numpy
from tests.export.raw_images import normalised


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
