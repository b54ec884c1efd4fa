"""The words of errors that no test of their module reads."""

import dataclasses
import io
import json
import re
import sys
import types

import numpy as np
import pytest
from PIL import Image

import keras_leoclr as kl
from keras_leoclr.backbones import loading, torch_architectures, torch_files
from keras_leoclr.backbones.named import named_backbone
from keras_leoclr.data import decode
from keras_leoclr.data.readers import bundled_scenes, tfds, voc_annotations
from keras_leoclr.evaluation import dense, feature_checks
from keras_leoclr.evaluation.run_evaluation import RunEvaluation
from keras_leoclr.recipes import fashion_mnist, pretrain
from keras_leoclr.runs import checkpoint_file
from keras_leoclr.search import index_file, update
from keras_leoclr.training import build
from keras_leoclr.training.recipe import Recipe

pytestmark = pytest.mark.backend_free


def words(text):
    return pytest.raises(Exception, match=re.escape(text))


def test_backbones_that_cannot_be_loaded(tmp_path):
    (tmp_path / "backbone.h5").write_bytes(b"")
    with words("must be the folder of a run, a .keras file or a torch file. Received: "):
        loading.load(tmp_path / "backbone.h5")
    with words("must be the folder of a finished run, with backbone.keras. Received: "):
        loading.load(tmp_path)


def test_torch_weights_that_are_no_network_of_a_known_kind(tmp_path):
    with words("must hold a ResNet with conv1 and layer1, or a ViT. Received: keys fc.weight"):
        torch_architectures.resnet_of({"fc.weight": np.zeros((2, 2))}, None, None, "a.pth")
    tokens = {"patch_embed.proj.weight": np.zeros((64, 3, 4, 4)), "pos_embed": np.zeros((1, 7, 64))}
    with words(
        "must hold a plain ViT, named as timm's vit_*_patch*. Received: 7 position embeddings, no square"
    ):
        torch_architectures.vit_of(tokens, None, "a.pth")
    with words("must hold a query encoder: a ResNet named as torchvision's or a ViT named as timm's"):
        torch_files.Checkpoint("a.pth", {"x": np.zeros(1)}, {"x": "x"}, {}).encoder("query")
    with words("`path`: no such file. Received: "):
        torch_files.read_checkpoint(tmp_path / "none.pth")
    (tmp_path / "damaged.safetensors").write_bytes(b"no weights")
    with words("must be a whole safetensors file. Received: "):
        torch_files.read_checkpoint(tmp_path / "damaged.safetensors")
    torch = pytest.importorskip("torch")
    torch.save({"a": torch.zeros(1000)}, tmp_path / "damaged.pth")
    for damaged in (b"no weights", (tmp_path / "damaged.pth").read_bytes()[:2000]):
        (tmp_path / "damaged.pth").write_bytes(damaged)
        with words("must be a whole file of torch.save. Received: "):
            torch_files.read_checkpoint(tmp_path / "damaged.pth")


def test_pictures_of_kinds_that_are_not_read(tmp_path):
    lab = io.BytesIO()
    Image.new("LAB", (4, 4)).save(lab, "TIFF")
    (tmp_path / "lab.tif").write_bytes(lab.getvalue())
    with words("colours in CIELAB, which are not converted"):
        list(kl.data.load(tmp_path))


def test_a_picture_without_pixels_is_named(monkeypatch):
    class Empty:
        width, height = 0, 4

    monkeypatch.setattr(decode.Image, "open", lambda *args, **kwargs: Empty())
    with words("no pixels, of size 0"):
        decode.read_header(io.BytesIO(b""))


def test_a_data_set_without_pictures_is_named(monkeypatch):
    class Builder:
        info = types.SimpleNamespace(features={"text": None})

    monkeypatch.setattr(tfds, "prepared", lambda name, data_dir: Builder())
    with words("tfds:reviews must have a feature `image` (H, W, C). Received: ['text']"):
        tfds.TFDSSource("reviews", "train", None)


def test_settings_of_scenes_are_read_or_named():
    with words("`canvas` of `fashion_scenes` must be a number. Received: canvas=wide"):
        bundled_scenes.settings_of("fashion_scenes:canvas=wide")


def test_packages_that_are_missing_are_named_with_their_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "defusedxml", None)
    monkeypatch.setitem(sys.modules, "defusedxml.ElementTree", None)
    with words('annotations in XML need defusedxml: pip install "keras-leoclr[downstream]"'):
        voc_annotations.read_boxes("a.xml")
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    with words('average precision needs pycocotools: pip install "keras-leoclr[downstream]"'):
        dense.average_precision([], [], [])


def test_evaluations_of_nothing(tmp_path):
    rows, labels = np.zeros((2, 3), np.float32), np.array([0, -1])
    with words("`train_labels` must be >= 0. Received: -1"):
        feature_checks.check_features(rows, labels, rows, np.abs(labels))
    with words("`projection` must be one of pca, umap. Received: projection='tsne'"):
        kl.evaluation.Embedding(None, None, None, None, projection="tsne")
    with words("`dataset` must name a data set, a folder or a file. Received: none"):
        RunEvaluation(workdir=tmp_path, backbone="random")._data({})


def test_files_and_folders_that_are_not_there(tmp_path):
    for text, call in (
        ("`name_or_path`: no such file. Received: ", lambda: kl.data.load(tmp_path / "none.npz")),
        ("`index`: no such file. Received: ", lambda: index_file.PictureIndex.read(tmp_path / "none.index")),
    ):
        with words(text):
            call()
    with words("`folder`: no such folder. Received: "):
        update.update_index(tmp_path / "none", None, tmp_path / "a.index")
    with words("`format` must be one of keras, "):
        kl.export.write(None, tmp_path / "a", "gif", np.zeros((3, 4, 4, 3)))
    with words("`dataset` must name a data set, a folder or a file. Received: dataset=''"):
        pretrain(Recipe(), tmp_path / "run")
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(bytes([0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2]))
    with words("must hold 20 bytes for its shape (1, 2, 2). Received: 16"):
        kl.data.load(tmp_path)


def test_settings_that_contradict_each_other():
    with words("`warmup_epochs` must be less than `epochs`. Received: warmup_epochs=2, epochs=2"):
        dataclasses.replace(fashion_mnist.RECIPE, warmup_epochs=2, epochs=2)
    with words("`map_images` must be 0 or >= 2. Received: map_images=1"):
        Recipe(map_images=1)


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / "step.safetensors"
    checkpoint_file.write(path, {"w": np.arange(4.0)}, {"epoch": 1})
    return path


def test_damage_of_a_checkpoint_is_told(checkpoint):
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(checkpoint_file.DamagedCheckpointError, match=r"SHA-256 \w+\.\.\., written as \w+"):
        checkpoint_file.read(checkpoint)
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(whole[8 : 8 + length])
    del header["__metadata__"]["sha256"]
    for text, changed in (
        ("the header has no SHA-256", json.dumps(header).ljust(length)),
        ("the header cannot be read: ", "{" * length),
    ):
        checkpoint.write_bytes(whole[:8] + changed.encode() + whole[8 + length :])
        with words(text):
            checkpoint_file.read(checkpoint)


# === Networks of other libraries, and detections ===


def test_networks_that_a_recipe_cannot_make():
    with words("`backbone` must name a network of keras.applications."):
        named_backbone("applications:ResNot50", 32)
    recipe = Recipe(backbone="initial_weights", initial_weights="run")
    with words("`backbone` must be made from the file of `initial_weights`. Received: backbone="):
        build.make_backbone(recipe)


def test_detections_of_other_pictures():
    pytest.importorskip("pycocotools")
    with words("`truth` and `detected` must be of the same pictures. Received: 0 and 1 pictures"):
        dense.average_precision([], [None], [])
