"""Backbones in other formats."""

import dataclasses
import json
import pathlib
import shutil
import sys

import keras
import numpy as np
import pytest

import keras_leoclr as kl
from keras_leoclr import cli, export
from keras_leoclr.backbones.vit import build_vit
from tests.case import random_images
from tests.export.raw_images import MEAN, normalised
from tests.pictures import png

BACKEND = keras.backend.backend()


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
def test_the_name_of_a_folder_may_hold_a_dot(raw, tmp_path):
    images = random_images(4, 8, 8)
    exported = export.write(raw, tmp_path / "small-v1.0", "saved_model", images)
    assert (exported.path / "saved_model.pb").is_file() and (tmp_path / "small-v1.0.json").is_file()
    with pytest.raises(ValueError, match="`path` must be a folder, without the suffix of another format"):
        export.write(raw, tmp_path / "small.onnx", "saved_model", images)


@pytest.mark.backend_free
def test_a_file_of_the_name_of_the_card_is_not_replaced(raw, tmp_path, capsys):
    (tmp_path / "config.json").write_text("mine")
    with pytest.raises(FileExistsError, match="`path` needs the name config.json for its card, which is"):
        export.write(raw, tmp_path / "config.keras", "keras", random_images(4, 8, 8))
    raw.save(tmp_path / "raw.keras")
    arguments = ["export", tmp_path / "raw.keras", "--output", tmp_path, "--name", "config"]
    assert cli.main(["leoclr", *map(str, arguments)]) == 1
    words = "config.json for its card, which is there already; `--overwrite` replaces it"
    assert words in capsys.readouterr().err
    assert (tmp_path / "config.json").read_text() == "mine" and not (tmp_path / "config.keras").exists()
    assert cli.main(["leoclr", *map(str, arguments), "--overwrite"]) == 0
    assert json.loads((tmp_path / "config.json").read_text())["export"]["format"] == "keras"


@pytest.mark.backend_free
def test_backbones_of_other_channels_and_sizes(tmp_path, capsys):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "a.png").write_bytes(png(1, mode="RGBA"))
    (pictures / "b.png").write_bytes(png(2, mode="RGBA"))

    def exported(*shape, more=()):
        images = keras.Input(shape)
        made = keras.Model(images, keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(images)))
        made.save(tmp_path / "made.keras")
        arguments = ["export", tmp_path / "made.keras", "--overwrite", *more]
        return cli.main(["leoclr", *map(str, arguments)]), capsys.readouterr().err

    assert exported(8, 8, 1)[0] == 0  # the bundled pictures are grey
    of_pictures = ["--dataset", pictures, "--split", "train"]
    for shape, more, words in (
        ((8, 8, 4), (), "`--dataset` must name pictures of 4 channels, as the backbone takes them"),
        (
            (8, 8, 4),
            of_pictures,
            "`--dataset` must hold at least 3 pictures to compare the formats on. Received: 2",
        ),
        ((None, None, 3), (), "must hold a backbone of square images of one size"),
        ((8, 12, 3), (), "must hold a backbone of square images of one size"),
    ):
        code, error = exported(*shape, more=more)
        assert code == 1 and words in error
    (pictures / "c.png").write_bytes(png(3, mode="RGBA"))
    assert exported(8, 8, 4, more=of_pictures)[0] == 0


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
@pytest.mark.slow
def test_the_card_says_whether_images_were_antialiased(run, tmp_path):
    (tmp_path / "run").mkdir()
    for name in ("backbone.keras", "backbone.json"):
        shutil.copy(run / name, tmp_path / "run")
    recipe = json.loads((run / "recipe.json").read_text())
    for antialias, words in ((False, "bilinear"), (True, "bilinear, antialiased")):
        recipe["antialias_original"] = antialias
        (tmp_path / "run" / "recipe.json").write_text(json.dumps(recipe))
        assert cli.main(["leoclr", "export", str(tmp_path / "run"), "--images=4", "--overwrite"]) == 0
        card = json.loads((tmp_path / "run" / "export" / "backbone.json").read_text())
        assert card["input"]["resizing"] == f"the whole image to this size, {words}"


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
    page = (pathlib.Path(__file__).parents[2] / "docs" / "export.md").read_text()
    assert all(f"`{name}`" in page for name in FORMATS)


@pytest.mark.backend_free
def test_snippets_of_the_page_run(capsys):
    from tests.test_packaging import snippets

    scope = {}
    for snippet in snippets("docs/export.md"):
        exec(compile(snippet, "docs/export.md", "exec"), scope)
    assert "(0.286, 0.286, 0.286)" in capsys.readouterr().out
