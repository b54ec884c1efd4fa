"""The number of attention heads of a ViT in a torch file, which the shapes of its tensors do not tell."""

import numpy as np
import pytest
import safetensors.numpy

import keras_leoclr as kl
from keras_leoclr import export
from keras_leoclr.backbones import TorchWeightsError, from_torch, load_torch, read_initial_weights, to_torch
from keras_leoclr.backbones.torch_architectures import heads_of_file
from keras_leoclr.backbones.torch_files import Checkpoint, read_metadata
from keras_leoclr.backbones.torch_layout import attention_of
from keras_leoclr.backbones.vit import build_vit
from tests.case import random_images, to_numpy

backend_free = pytest.mark.backend_free


def vit(width, heads):
    """A ViT with a single block, for 16 x 16 pixels, whose features depend on the number of heads."""
    backbone = build_vit(8, 16, width, 1, heads)
    backbone.set_weights([5 * weight for weight in backbone.get_weights()])
    return backbone


def written(backbone, path, prefix=""):
    """A file of the weights alone, as other programs write them, without metadata."""
    to_torch(backbone, path)
    arrays = safetensors.numpy.load_file(path)
    safetensors.numpy.save_file({prefix + name: array for name, array in arrays.items()}, path)
    return path


def same_features(one, other):
    images = np.random.default_rng(0).normal(size=(2, 16, 16, 3)).astype("float32")
    expected = to_numpy(other(images, training=False))
    return np.allclose(to_numpy(one(images, training=False)), expected, atol=1e-4 * np.abs(expected).max())


def test_a_file_of_to_torch_names_its_heads(tmp_path, capsys):
    path, backbone = tmp_path / "vit.safetensors", vit(16, 4)
    to_torch(backbone, path)
    assert read_metadata(path)["num_heads"] == "4"
    read = from_torch(path)
    assert attention_of(read) == (16, 4) and same_features(read, backbone)
    assert "attention heads: 4, as the metadata of the file say" in capsys.readouterr().out
    assert attention_of(read_initial_weights(path).backbone) == (16, 4)


def test_the_vit_s_of_moco_v3_has_12_heads(tmp_path, capsys):
    backbone = vit(384, 12)
    path = written(backbone, tmp_path / "moco_v3.safetensors", "module.base_encoder.")
    read = from_torch(path)
    assert attention_of(read) == (384, 12) and same_features(read, backbone) and read.name == "vit"
    assert "attention heads: 12, those of MoCo v3's ViT of width 384" in capsys.readouterr().out
    with pytest.raises(
        TorchWeightsError, match="a ViT with 12 attention heads, those of MoCo v3's .* with 6"
    ):
        load_torch(vit(384, 6), path)
    assert load_torch(vit(384, 12), path).notes == (
        "attention heads: 12, those of MoCo v3's ViT of width 384",
    )


@backend_free
@pytest.mark.parametrize(
    ("width", "heads", "words"),
    [
        (192, 3, "those of timm's ViT of width 192"),
        (384, 6, "those of timm's ViT of width 384"),
        (768, 12, "those of timm's ViT of width 768"),
        (1024, 16, "those of timm's ViT of width 1024"),
        (1280, 16, "those of timm's ViT of width 1280"),
        (1408, 16, "those of timm's ViT of width 1408"),
        (512, 8, "assumed as width / 64, because the file does not tell it and width 512 is none"),
        (160, None, ""),
    ],
)
def test_without_names_the_width_decides(width, heads, words):
    found, why = heads_of_file(Checkpoint("vit.pth", {}, {}, {}), width, None)
    assert found == heads and why.startswith(words)
    assert heads_of_file(Checkpoint("vit.pth", {}, {}, {}), width, 5) == (5, "as `num_heads` says")


@backend_free
def test_an_argument_is_needed_where_nothing_decides(tmp_path, capsys):
    backbone = vit(80, 5)
    path = written(backbone, tmp_path / "narrow.safetensors")
    for given in (None, 0, -5):
        with pytest.raises(
            TorchWeightsError, match="a width of 80, for which `from_torch` needs `num_heads`"
        ):
            from_torch(path, num_heads=given)
    assert same_features(from_torch(path, num_heads=5), backbone)
    assert not same_features(from_torch(path, num_heads=4, verbose=False), backbone)
    assert "attention heads: 5, as `num_heads` says" in capsys.readouterr().out
    from_torch(written(vit(128, 4), tmp_path / "wide.safetensors"))
    assert "attention heads: 2, assumed as width / 64" in capsys.readouterr().out
    assert load_torch(vit(128, 4), path.with_name("wide.safetensors")).notes == (
        "attention heads: 4, those of the model",
    )


@backend_free
@pytest.mark.parametrize("format", ["safetensors", "pth"])
def test_a_vit_of_any_number_of_heads_is_exported(tmp_path, format):
    if format == "pth":
        pytest.importorskip("torch")
    raw = kl.backbones.with_normalization(vit(16, 4), (0.4,) * 3, (0.2,) * 3)
    found = export.write(raw, tmp_path / f"vit.{format}", format, random_images(3, 16, 16))
    assert found.deviation <= 1e-4
