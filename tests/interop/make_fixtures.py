"""Writes tests/fixtures/torch.npz: what torchvision's and timm's own models compute.

    python tests/interop/make_fixtures.py

For each model: the names and shapes of its state dict, and its features of two images at 224 pixels in
inference mode, with the weights that `tests/torch_rule.py` draws. `make interop-fixtures` runs it in
the environment of `make test-interop`.
"""

import json
import pathlib
import sys

import numpy as np
import timm
import torch
import torchvision

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
from tests import torch_rule  # noqa: E402

RESNETS = ("resnet18", "resnet34", "resnet50", "resnet101")
VITS = {"vit_tiny": {}, "vit_tiny_mean": {"global_pool": "avg", "class_token": False}}


def models():
    """(name, model without classifier) of each fixture."""
    for name in RESNETS:
        model = getattr(torchvision.models, name)(weights=None)
        model.fc = torch.nn.Identity()
        yield name, model
    for name, options in VITS.items():
        yield name, timm.create_model("vit_tiny_patch16_224", num_classes=0, **options)


def main():
    arrays = {}
    shapes = {}
    images = torch.from_numpy(torch_rule.images(2, 224).transpose(0, 3, 1, 2).copy())
    for name, model in models():
        shapes[name] = {key: list(value.shape) for key, value in model.state_dict().items()}
        state = {key: torch.from_numpy(value) for key, value in torch_rule.drawn(shapes[name]).items()}
        model.load_state_dict(state)
        with torch.no_grad():
            arrays[name] = model.eval()(images).numpy()
        print(name, arrays[name].shape, np.abs(arrays[name]).max(), arrays[name].std())
    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__, "timm": timm.__version__}
    path = ROOT / "tests" / "fixtures" / "torch.npz"
    np.savez_compressed(
        path, shapes=json.dumps(shapes, sort_keys=False), versions=json.dumps(versions), **arrays
    )
    print(path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
