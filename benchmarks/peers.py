"""lightly and torchvision at work: what `views.py` and `input.py` compare with.

Runs in an environment of its own (`make .venv-interop/.done`), reads one JSON request per line and
answers with images/s. A DataLoader with two workers makes batches of views, as their users do.
"""

import json
import pathlib
import sys
import time

import numpy as np
import torch
from lightly.transforms import MoCoV2Transform
from lightly.transforms.simclr_transform import SimCLRViewTransform
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WORKERS = 2


class Pictures(Dataset):
    """Arrays or files, `count` of them drawn in turn, and a transform."""

    def __init__(self, items, transform, count, as_tensor=False):
        self.items = items
        self.transform = transform
        self.count = count
        self.as_tensor = as_tensor

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        item = self.items[index % len(self.items)]
        if isinstance(item, pathlib.Path):
            with Image.open(item) as file:
                image = file.convert("RGB")
        elif self.as_tensor:
            image = torch.from_numpy(item.transpose(2, 0, 1).copy())
        else:
            image = Image.fromarray(item)
        return self.transform(image)


class LeOCLRByHand:
    """Original and two crops from lightly's view transform: what its users would have to write."""

    def __init__(self, size):
        self.original = v2.Compose([v2.Resize((size, size)), *_photometrics()])
        self.crop = SimCLRViewTransform(input_size=size, cj_strength=1.0, cj_bright=0.4, cj_contrast=0.4)

    def __call__(self, image):
        return [self.original(image), self.crop(image), self.crop(image)]


def _photometrics():
    return [
        v2.RandomHorizontalFlip(),
        v2.RandomApply([v2.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
        v2.RandomGrayscale(0.2),
        v2.RandomApply([v2.GaussianBlur(13, (0.1, 2.0))], p=0.5),
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(MEAN, STD),
    ]


def _transform(kind, size):
    if kind == "lightly two views":
        return MoCoV2Transform(input_size=size)
    if kind == "lightly three views":
        return LeOCLRByHand(size)
    if kind == "torchvision one view":
        return v2.Compose([v2.RandomResizedCrop((size, size), (0.2, 1.0), antialias=True), *_photometrics()])
    if kind == "decode only":
        return lambda image: torch.zeros(1) if image.load() else None
    raise ValueError(kind)


def images_per_second(kind, size, batch_size, batches, folder=None):
    """Speed of a DataLoader over `batches` batches, after two that start its workers."""
    if folder:
        items = sorted(pathlib.Path(folder).glob("*.jpg"))
    else:
        items = list(np.random.default_rng(0).integers(0, 256, (64, size, size, 3), dtype=np.uint8))
    as_tensor = kind.startswith("torchvision")
    dataset = Pictures(items, _transform(kind, size), (batches + 2) * batch_size, as_tensor)
    loader = iter(DataLoader(dataset, batch_size, num_workers=WORKERS, drop_last=True))
    next(loader), next(loader)
    started = time.perf_counter()
    for _ in loader:
        pass
    return batches * batch_size / (time.perf_counter() - started)


def main():
    torch.set_num_threads(1)
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        print(json.dumps(images_per_second(**json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
