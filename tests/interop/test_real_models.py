"""Backbones beside the real torchvision, timm and lightly, in both directions, at 224 pixels.

Not part of the suite: these libraries need another build of torch than it has. `make test-interop`.
"""

import numpy as np
import pytest
import timm
import torch
import torchvision
from lightly.models import ResNetGenerator
from lightly.models.modules import MoCoProjectionHead
from lightly.models.utils import deactivate_requires_grad

import keras_leoclr as kl
from keras_leoclr.backbones import from_torch, load_torch, to_torch
from tests import torch_rule

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101")
VITS = ("vit_tiny", "vit_small", "vit_base")


def randomised(model):
    """The model with weights and BatchNorm statistics from the rule of the fixtures, in inference mode."""
    shapes = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    model.load_state_dict({k: torch.from_numpy(v) for k, v in torch_rule.drawn(shapes).items()})
    return model.eval()


def torch_features(model, images):
    with torch.no_grad():
        return model(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy().reshape(len(images), -1)


def assert_same_features(backbone, theirs, size=224, count=2):
    images = torch_rule.images(count, size)
    expected = torch_features(theirs, images)
    actual = backbone.predict(images, verbose=0)
    deviation = np.abs(actual - expected).max() / np.abs(expected).max()
    print(f"{backbone.name}: largest deviation / largest feature {deviation:.1e}")
    assert deviation < 1e-4


def torchvision_model(name):
    model = getattr(torchvision.models, name)(weights=None)
    model.fc = torch.nn.Identity()
    return model


@pytest.mark.parametrize("name", RESNETS)
def test_from_torchvision(tmp_path, name):
    theirs = randomised(torchvision_model(name))
    torch.save(theirs.state_dict(), tmp_path / "model.pth")
    backbone = from_torch(tmp_path / "model.pth")
    assert backbone.name == name
    assert_same_features(backbone, theirs)


def with_random_statistics(backbone):
    """Every variable drawn anew, BatchNorm's statistics too."""
    rng = np.random.default_rng(0)
    for variable in backbone.variables:
        if variable.name in ("gamma", "moving_variance"):
            variable.assign(rng.uniform(0.5, 1.0, variable.shape))
        elif variable.name in ("beta", "moving_mean"):
            variable.assign(0.1 * rng.standard_normal(variable.shape))
    return backbone


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
@pytest.mark.parametrize("name", RESNETS)
def test_to_torchvision(tmp_path, name, suffix):
    backbone = with_random_statistics(kl.backbones.BUILDERS[name]((224, 224, 3)))
    to_torch(backbone, tmp_path / f"model.{suffix}")
    theirs = torchvision_model(name).eval()
    theirs.load_state_dict(loaded(tmp_path / f"model.{suffix}"), strict=True)
    assert_same_features(backbone, theirs)


def loaded(path):
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, weights_only=True)


def test_timm_reads_an_exported_resnet(tmp_path):
    backbone = with_random_statistics(kl.backbones.resnet50((224, 224, 3)))
    to_torch(backbone, tmp_path / "model.safetensors")
    theirs = timm.create_model("resnet50", num_classes=0, checkpoint_path=str(tmp_path / "model.safetensors"))
    assert_same_features(backbone, theirs.eval())


@pytest.mark.parametrize("pooling", ["token", "mean"])
@pytest.mark.parametrize("name", VITS)
def test_vits_from_and_to_timm(tmp_path, name, pooling):
    options = {} if pooling == "token" else {"global_pool": "avg", "class_token": False}
    make = lambda: timm.create_model(f"{name}_patch16_224", num_classes=0, **options)  # noqa: E731
    theirs = randomised(make())
    torch.save(theirs.state_dict(), tmp_path / "in.pth")
    backbone = from_torch(tmp_path / "in.pth")
    assert backbone.name == name
    assert_same_features(backbone, theirs)
    to_torch(backbone, tmp_path / "out.safetensors")
    again = make().eval()
    again.load_state_dict(loaded(tmp_path / "out.safetensors"), strict=True)
    assert_same_features(backbone, again)


class LightlyMoCo(torch.nn.Module):
    """MoCo as lightly's examples build it, from its own modules."""

    def __init__(self, backbone, width):
        super().__init__()
        self.backbone = backbone
        self.projection_head = MoCoProjectionHead(width, width, 128)
        self.backbone_momentum = torch.nn.Sequential(*backbone.children())
        self.projection_head_momentum = MoCoProjectionHead(width, width, 128)
        deactivate_requires_grad(self.backbone_momentum)


def test_from_lightly_with_a_torchvision_backbone(tmp_path):
    resnet = randomised(torchvision.models.resnet18(weights=None))
    model = LightlyMoCo(torch.nn.Sequential(*list(resnet.children())[:-1]), 512).eval()
    torch.save({"state_dict": model.state_dict(), "epoch": 3}, tmp_path / "last.ckpt")
    backbone = from_torch(tmp_path / "last.ckpt")
    assert_same_features(backbone, model.backbone)


def test_from_lightly_with_its_own_cifar_resnet(tmp_path):
    children = list(ResNetGenerator("resnet-18").children())[:-1]
    model = LightlyMoCo(torch.nn.Sequential(*children, torch.nn.AdaptiveAvgPool2d(1)), 512)
    randomised(model)
    torch.save({"state_dict": model.state_dict()}, tmp_path / "last.ckpt")
    backbone = from_torch(tmp_path / "last.ckpt", (32, 32, 3))
    assert_same_features(backbone, model.backbone, size=32)
    leoclr = kl.LeOCLR(kl.backbones.resnet18((32, 32, 3), stem="lightly"), queue_size=64)
    report = load_torch(leoclr, tmp_path / "last.ckpt", allow_missing=["queue"])
    assert report.missing == ("queue", "queue_ptr")
    expected = model.projection_head(torch.from_numpy(backbone.predict(torch_rule.images(2, 32), verbose=0)))
    actual = leoclr.query_encoder.predict(torch_rule.images(2, 32), verbose=0)
    np.testing.assert_allclose(actual, expected.detach().numpy(), atol=1e-3)


def test_from_solo_learns_cifar_resnet(tmp_path):
    """solo-learn takes torchvision's network and replaces its stem for CIFAR by this one."""
    theirs = torchvision_model("resnet18")
    theirs.conv1 = torch.nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=2, bias=False)
    theirs.maxpool = torch.nn.Identity()
    randomised(theirs)
    state = {f"backbone.{k}": v for k, v in theirs.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "last.ckpt")
    backbone = from_torch(tmp_path / "last.ckpt", (32, 32, 3), stem="solo_learn")
    assert_same_features(backbone, theirs, size=32)
