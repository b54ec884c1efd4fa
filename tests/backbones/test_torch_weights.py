"""Weights from torch and back, against features that torchvision and timm computed."""

import json
import os
import pathlib
import pickle

import keras
import numpy as np
import pytest

import keras_leoclr as kl
from keras_leoclr.backbones import TorchWeightsError, from_torch, load_torch, to_torch
from keras_leoclr.backbones.torch_layout import backbone_entries
from tests import torch_rule

torch = pytest.importorskip("torch")  # an environment with the lowest versions may be without

FIXTURES = np.load(pathlib.Path(__file__).parents[1] / "fixtures" / "torch.npz", allow_pickle=False)
SHAPES = json.loads(str(FIXTURES["shapes"]))
KERAS_NAMES = {"vit_tiny_mean": "vit_tiny"}


def state_of(name) -> dict:
    """Random weights in the layout of the library's own model."""
    return {k: torch.from_numpy(v) for k, v in torch_rule.drawn(SHAPES[name]).items()}


def shapes_of(backbone) -> dict:
    """Names and shapes in torch's layout, as `to_torch` would write them."""
    return {e.key: e.shape for e in backbone_entries(backbone, "")}


def small_backbone(**options):
    return kl.backbones.resnet_small((16, 16, 3), **{"widths": (8, 16), **options})


def small_state(backbone=None) -> dict:
    return {
        k: torch.from_numpy(v) for k, v in torch_rule.drawn(shapes_of(backbone or small_backbone())).items()
    }


def saved(path, content) -> pathlib.Path:
    torch.save(content, path)
    return path


def features(backbone, size=16, count=4):
    return backbone.predict(torch_rule.images(count, size), verbose=0)


def state_by_hand(backbone) -> dict:
    """All variables of a backbone as arrays."""
    return {v.path: np.array(keras.ops.convert_to_numpy(v)) for v in backbone.variables}


# === Parity with the real libraries ===


@pytest.mark.parametrize("name", SHAPES)
def test_features_equal_those_of_the_library_that_defines_the_layout(tmp_path, name):
    path = saved(tmp_path / f"{name}.pth", state_of(name))
    backbone = from_torch(path, verbose=False)
    assert backbone.name == KERAS_NAMES.get(name, name)
    expected = FIXTURES[name]
    actual = backbone.predict(torch_rule.images(2, 224), verbose=0)
    np.testing.assert_allclose(actual, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
@pytest.mark.parametrize("name", ["resnet18", "vit_tiny"])
def test_what_is_written_is_what_was_read(tmp_path, name, suffix):
    state = state_of(name)
    backbone = from_torch(saved(tmp_path / "in.pth", state), verbose=False)
    path = tmp_path / f"out.{suffix}"
    shapes = to_torch(backbone, path)
    assert shapes == {k: tuple(v.shape) for k, v in state.items()}
    if suffix == "pth":
        written = torch.load(path, weights_only=True)
    else:
        from safetensors.torch import load_file

        written = load_file(path)
    assert set(written) == set(state)
    for key, value in state.items():
        assert torch.equal(written[key], value), key
    assert os.listdir(tmp_path) in (["in.pth", path.name], [path.name, "in.pth"])  # no temporary file is left


def test_safetensors_say_which_encoder_and_stem_they_hold(tmp_path):
    from safetensors import safe_open

    model = kl.LeOCLR(small_backbone(stem="patch"), projection_dim=8, queue_size=16)
    model.key_encoder.set_weights([w + 1 for w in model.key_encoder.get_weights()])
    to_torch(model, tmp_path / "key.safetensors", encoder="key")
    with safe_open(tmp_path / "key.safetensors", framework="numpy") as file:
        assert file.metadata() == {
            "format": "pt",
            "architecture": "resnet_small",
            "encoder": "key",
            "stem": "patch",
            "image_size": "16",
        }
    backbone = from_torch(tmp_path / "key.safetensors", (16, 16, 3), verbose=False)
    key_backbone = model.key_encoder.layers[1]
    np.testing.assert_allclose(features(backbone), features(key_backbone), atol=1e-6)


@pytest.mark.parametrize("stem", ["imagenet", "cifar", "patch", "solo_learn", "lightly"])
def test_every_stem_comes_back(tmp_path, stem):
    backbone = small_backbone(stem=stem)
    to_torch(backbone, tmp_path / "b.safetensors")
    copy = from_torch(tmp_path / "b.safetensors", (16, 16, 3), verbose=False)
    np.testing.assert_allclose(features(copy), features(backbone), atol=1e-6)


# === Layouts of checkpoints ===


def with_prefix(state, prefix):
    return {f"{prefix}{k}": v for k, v in state.items()}


def moco_checkpoint(version=2, queue_size=32):
    """As MoCo's training script saves it, with the wrapper of its distributed training."""
    state = small_state()
    head = (
        {"fc.0.weight": (16, 16), "fc.0.bias": (16,), "fc.2.weight": (8, 16), "fc.2.bias": (8,)}
        if version == 2
        else {"fc.weight": (8, 16), "fc.bias": (8,)}
    )
    content = {}
    for number, encoder in enumerate(("encoder_q", "encoder_k")):
        part = {**state, **{k: torch.from_numpy(v) for k, v in torch_rule.drawn(head).items()}}
        content |= with_prefix({k: v + number for k, v in part.items()}, f"module.{encoder}.")
    rows = torch.nn.functional.normalize(torch.randn(8, queue_size, generator=torch.manual_seed(0)), dim=0)
    content |= {"module.queue": rows, "module.queue_ptr": torch.tensor([24])}
    return {"epoch": 200, "arch": "resnet", "state_dict": content, "optimizer": {"state": {}}}, state, rows


def sequential(state, without_pooling=False):
    """Names as `nn.Sequential(*resnet.children())` has them."""
    shift = 1 if without_pooling else 3
    numbers = {"conv1": 0, "bn1": 1, **{f"layer{i}": i + shift for i in range(1, 5)}}
    return {
        ".".join([str(numbers[key.split(".")[0]]), *key.split(".")[1:]]): value
        for key, value in state.items()
    }


def layouts():
    state = small_state()
    counters = {"bn1.num_batches_tracked": torch.tensor(3)}
    shortcut = {k.replace("downsample", "shortcut"): v for k, v in state.items()}
    other = {k: v + 1 for k, v in state.items()}
    return {
        "torchvision": {**state, **counters, "fc.weight": torch.zeros(3, 16), "fc.bias": torch.zeros(3)},
        "a model under its name": {"model": state, "epoch": 3},
        "wrapped for several devices": with_prefix(state, "module."),
        "MoCo v2": moco_checkpoint()[0],
        "MoCo v1": moco_checkpoint(1)[0],
        "lightly": {
            "state_dict": {
                **with_prefix(sequential(state), "backbone."),
                **with_prefix(sequential(other), "backbone_momentum."),
                "projection_head.layers.0.weight": torch.zeros(4, 16),
            }
        },
        "lightly's own ResNet": with_prefix(sequential(shortcut, without_pooling=True), "backbone."),
        "solo-learn": {
            "state_dict": {
                **with_prefix(state, "backbone."),
                **with_prefix(other, "momentum_backbone."),
                "classifier.weight": torch.zeros(3, 16),
                "queue": torch.zeros(2, 8, 16),
            },
            "hyper_parameters": {"lr": 0.3},
        },
    }


@pytest.mark.parametrize("name", layouts())
def test_the_query_encoder_is_found_in_every_layout(tmp_path, name):
    path = saved(tmp_path / "c.pth", layouts()[name])
    backbone = from_torch(path, (16, 16, 3), stem="patch", verbose=False)
    plain = from_torch(saved(tmp_path / "p.pth", small_state()), (16, 16, 3), stem="patch", verbose=False)
    np.testing.assert_array_equal(features(backbone), features(plain))


@pytest.mark.parametrize("name", ["MoCo v2", "lightly", "solo-learn"])
def test_the_key_encoder_is_found_too(tmp_path, name):
    path = saved(tmp_path / "c.pth", layouts()[name])
    backbone = from_torch(path, (16, 16, 3), stem="patch", encoder="key", verbose=False)
    first = keras.ops.convert_to_numpy(backbone.get_layer("stem_conv").kernel)
    expected = small_state()["conv1.weight"].numpy().transpose(2, 3, 1, 0) + 1
    np.testing.assert_array_equal(first, expected)


def test_a_moco_checkpoint_fills_the_whole_model(tmp_path):
    content, _, rows = moco_checkpoint()
    model = kl.LeOCLR(small_backbone(), projection_dim=8, queue_size=32)
    report = load_torch(model, saved(tmp_path / "moco.pth.tar", content))
    assert (report.missing, report.unexpected) == ((), ())
    assert set(report.loaded) == set(content["state_dict"])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(model.key_queue.keys), rows.numpy().T)
    assert int(keras.ops.convert_to_numpy(model.key_queue.pointer)) == 24
    query, key = (encoder.get_weights() for encoder in (model.query_encoder, model.key_encoder))
    for a, b in zip(query, key, strict=True):
        np.testing.assert_allclose(b, a + 1, rtol=1e-6)
    kernel = keras.ops.convert_to_numpy(model.query_encoder.layers[-1].get_layer("projection").kernel)
    name = "module.encoder_q.fc.2.weight"
    np.testing.assert_array_equal(kernel, content["state_dict"][name].numpy().T)


def test_every_key_is_reported(tmp_path, capsys):
    content, _, _ = moco_checkpoint()
    path = saved(tmp_path / "moco.pth", content)
    report = load_torch(small_backbone(), path)
    assert set(report.loaded) | set(report.unused) == set(content["state_dict"])
    assert report.unused["module.encoder_q.fc.0.weight"] == "classifier or projection head"
    assert report.unused["module.encoder_k.conv1.weight"] == "the other encoder"
    assert report.unused["module.queue"] == "not part of an encoder"
    from_torch(path, (16, 16, 3), stem="patch")
    printed = capsys.readouterr().out
    assert f"{len(report.loaded)} keys loaded" in printed
    assert "not used, the other encoder: module.encoder_k." in printed


# === What does not fit ===


def refused(backbone, path, words, **options):
    before = state_by_hand(backbone)
    with pytest.raises(TorchWeightsError, match=words) as error:
        load_torch(backbone, path, **options)
    assert str(path) in str(error.value)
    for name, value in state_by_hand(backbone).items():
        np.testing.assert_array_equal(value, before[name])


def test_another_width_is_refused_with_both_shapes(tmp_path):
    path = saved(tmp_path / "wide.pth", small_state(small_backbone(widths=(16, 32))))
    refused(small_backbone(), path, r"conv1.weight \(16, 3, 3, 3\), model \(8, 3, 3, 3\)")


def test_a_deeper_network_is_refused_although_all_that_the_model_needs_is_there(tmp_path):
    path = saved(tmp_path / "deep.pth", small_state(small_backbone(blocks=2)))
    refused(small_backbone(), path, r"without a place in the model: encoder_q.layer1.1.conv1.weight")


def test_a_shallower_network_is_refused(tmp_path):
    path = saved(tmp_path / "flat.pth", small_state())
    refused(small_backbone(blocks=2), path, r"missing in the file: encoder_q.layer1.1.conv1.weight.* more")


def test_another_kind_of_network_is_refused(tmp_path):
    vit = kl.backbones.vit.build_vit(8, 16, 64, 1, 1)
    path = saved(tmp_path / "vit.pth", small_state(vit))
    refused(small_backbone(), path, "missing in the file: encoder_q.conv1.weight")


def test_a_missing_key_can_be_named(tmp_path):
    state = small_state()
    del state["bn1.bias"]
    path = saved(tmp_path / "c.pth", state)
    refused(small_backbone(), path, "missing in the file: encoder_q.bn1.bias")
    report = load_torch(small_backbone(), path, allow_missing=["bn1.bias"])
    assert report.missing == ("encoder_q.bn1.bias",)


def test_an_extra_key_can_be_named(tmp_path):
    path = saved(tmp_path / "c.pth", {**small_state(), "attention.weight": torch.zeros(2)})
    refused(small_backbone(), path, "encoder_q.attention.weight")
    report = load_torch(small_backbone(), path, allow_unexpected=["attention"])
    assert report.unexpected == ("attention.weight",)


def test_a_queue_of_another_size_is_refused(tmp_path):
    content, _, _ = moco_checkpoint(queue_size=64)
    model = kl.LeOCLR(small_backbone(), projection_dim=8, queue_size=32)
    with pytest.raises(TorchWeightsError, match=r"queue \(8, 64\), model \(8, 32\)"):
        load_torch(model, saved(tmp_path / "moco.pth", content))


def test_another_stem_of_the_same_shapes_is_refused(tmp_path):
    to_torch(small_backbone(stem="patch"), tmp_path / "b.safetensors")
    refused(
        small_backbone(stem="cifar"), tmp_path / "b.safetensors", "stem='patch', a model with stem='cifar'"
    )


def test_grouped_convolutions_are_refused(tmp_path):
    state = small_state(kl.backbones.resnet50((32, 32, 3), width=8))
    state["layer1.0.conv2.weight"] = torch.zeros(8, 2, 3, 3)
    with pytest.raises(TorchWeightsError, match="must not have grouped convolutions"):
        from_torch(saved(tmp_path / "resnext.pth", state))


def test_a_file_with_two_query_encoders_is_refused(tmp_path):
    state = small_state()
    path = saved(tmp_path / "c.pth", {**with_prefix(state, "a."), **with_prefix(state, "b.")})
    with pytest.raises(
        TorchWeightsError, match="must hold one query encoder. Received: encoders at 'a.', 'b.'"
    ):
        from_torch(path)


def test_a_key_encoder_that_is_not_there_is_named(tmp_path):
    path = saved(tmp_path / "c.pth", small_state())
    with pytest.raises(TorchWeightsError, match="must hold a key encoder.*only a query encoder"):
        from_torch(path, encoder="key")


# === What is no checkpoint ===


class Malice:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_a_checkpoint_is_not_run(tmp_path, legacy):
    trace = tmp_path / "trace"
    content = {**small_state(), "extra": Malice(trace)}
    path = tmp_path / "evil.pth"
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    refused(small_backbone(), path, "must hold tensors only")
    assert not trace.exists()


def test_a_bare_pickle_with_code_is_not_run(tmp_path):
    trace = tmp_path / "trace"
    path = tmp_path / "evil.pt"
    path.write_bytes(pickle.dumps(Malice(trace)))
    refused(small_backbone(), path, "must ")
    assert not trace.exists()


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path, suffix, share):
    path = tmp_path / f"half.{suffix}"
    to_torch(small_backbone(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    refused(small_backbone(), path, "must be a whole")


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_what_is_no_checkpoint_is_refused(tmp_path, suffix):
    path = tmp_path / f"notes.{suffix}"
    path.write_text("not a checkpoint at all, but notes of some length\n" * 9)
    refused(small_backbone(), path, "must be a whole|must hold tensors only")


def test_a_file_without_a_network_is_refused(tmp_path):
    path = saved(tmp_path / "c.pth", {"weight": torch.zeros(3)})
    with pytest.raises(TorchWeightsError, match="must hold a query encoder.*keys weight"):
        from_torch(path)


def test_an_unknown_suffix_is_refused(tmp_path):
    path = tmp_path / "c.npz"
    path.write_bytes(b"")
    with pytest.raises(TorchWeightsError, match="must end in .safetensors or .pth"):
        from_torch(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file. Received: .*none.pth"):
        from_torch(tmp_path / "none.pth")


def test_a_backbone_of_ones_own_cannot_be_written(tmp_path):
    own = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.PReLU()])
    with pytest.raises(ValueError, match="must be a ResNet or ViT of keras_leoclr.backbones"):
        to_torch(own, tmp_path / "own.pth")
    assert os.listdir(tmp_path) == []


def test_a_write_that_fails_keeps_the_file_that_was_there(tmp_path, monkeypatch):
    path = tmp_path / "b.pth"
    to_torch(small_backbone(), path)
    before = path.read_bytes()

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        to_torch(small_backbone(), path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["b.pth"]
