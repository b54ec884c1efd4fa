"""Trains on pictures with views made on the device, and checks that kNN accuracy rises."""

from __future__ import annotations

import pathlib
import time

import keras
import numpy as np

import keras_leoclr as kl
from tools.gpu_checks import cases
from tools.gpu_checks.pictures import Canvases, pictures_in

# in the folder of the repository or beside it
PLACES = [root / "shared" / "data" / "cifar10.tar.xz" for root in pathlib.Path(__file__).parents[2:4]]
FEWEST_EPOCHS = 5
BUNDLED = pathlib.Path(kl.__file__).with_name("data") / "fashion_mnist"


def pictures_of(folder, size):
    """Training and test pictures (N, H, W, 3) uint8 with labels (N,), and their name.

    Args:
        folder: folder with CIFAR-10 as JPEG files, or its archive; if missing, bundled pictures are used.
        size: size of the checks.
    """
    path = pathlib.Path(folder) if folder else next(filter(pathlib.Path.exists, PLACES), None)
    if folder and not path.exists():
        raise FileNotFoundError(f"`--cifar10` must be a folder or an archive. Received: {folder}")
    if path is not None and (folder or size is cases.FULL):
        return "CIFAR-10", *pictures_in(path)
    count = (60000, 10000) if size is cases.FULL else (256, 128)
    sets = []
    for name, most in zip(("train", "test"), count, strict=True):
        with np.load(BUNDLED / f"{name}.npz") as stored:
            images, labels = (stored[key][:most] for key in ("image", "label"))
        images = np.repeat(images.reshape(len(images), 28, 28, 1), 3, axis=3)
        sets.append((images, labels.astype("int64")))
    return "the bundled pictures", *sets


def train(size, left, folder=None):
    """Trains LeOCLR and MoCo v2 with views on the device while time is left, with kNN after each epoch."""
    try:
        from keras_leoclr.views import device  # noqa: F401
    except ImportError:
        return None, "this version makes no views on the device", {}
    name, train, test = pictures_of(folder, size)
    pixels, batch = (32, 512) if size is cases.FULL else (16, 32)
    looks = {"mean": (0.49, 0.48, 0.45), "std": (0.25, 0.24, 0.26), "blur_probability": 0.0}
    kinds = {
        "LeOCLR": kl.LeOCLRViews(pixels, crop_scale=(0.2, 1.0), **looks),
        "MoCo v2": kl.MoCoV2Views(pixels, crop_scale=(0.2, 1.0), **looks),
    }
    seconds, figures = left() / len(kinds), {}
    for kind, views in kinds.items():
        ends = time.monotonic() + seconds
        figures[kind] = _trained(size, views, train, test, pixels, batch, ends)
    text = "; ".join(
        f"{kind}: kNN {' '.join(f'{value:.3f}' for value in found['knn'])}, "
        f"{found['images_per_second']:.0f} images/s"
        for kind, found in figures.items()
    )
    fine = verdict(size, [found["knn"] for found in figures.values()])
    short = "" if fine is not None else f"; not judged before {FEWEST_EPOCHS} epochs"
    return fine, f"{name}, kNN before training and after each epoch. {text}{short}", figures


def verdict(size, curves):
    """Whether kNN rose in each training; None if one had fewer epochs than `FEWEST_EPOCHS`.

    In the first epochs kNN can fall below that of the random network.
    """
    if size is not cases.FULL:
        return all(curve[-1] > 0.0 for curve in curves)
    if any(len(curve) - 1 < FEWEST_EPOCHS for curve in curves):
        return None
    return all(curve[-1] > curve[0] for curve in curves)


def _trained(size, views, train, test, pixels, batch, ends):
    """kNN accuracy before training and after each epoch that began before `ends`, but at least one epoch."""
    keras.utils.set_random_seed(0)
    stem = {"stem": "cifar"} if size is cases.FULL else {"widths": (8, 16)}
    backbone = getattr(kl.backbones, size.network)((pixels, pixels, 3), **stem)
    model = kl.LeOCLR(backbone, queue_size=4096 if size is cases.FULL else 64, momentum=0.99, views=views)
    model.compile(kl.optimizers.SGD(0.06, momentum=0.9, weight_decay=5e-4))
    accuracies = [_knn(model, views, train, test, pixels)]
    epoch, images, seconds, longest = 0, 0, 0.0, 0.0
    while not epoch or (time.monotonic() + longest < ends and size is cases.FULL):
        started = time.monotonic()
        data = Canvases(train[0], views, batch, epoch)
        model.fit(data, verbose=0, shuffle=False)
        trained = time.monotonic() - started
        if epoch:  # The first epoch includes the time of compilation and is not counted.
            images, seconds = images + len(data) * batch, seconds + trained
        accuracies.append(_knn(model, views, train, test, pixels))
        longest, epoch = time.monotonic() - started, epoch + 1
    speed = images / seconds if seconds else len(data) * batch / trained
    return {"knn": accuracies, "epochs": epoch, "images_per_second": speed}


def _knn(model, views, train, test, pixels):
    """kNN accuracy on 2,000 test pictures, with 10,000 training pictures as neighbours."""
    sets = []
    for (images, labels), most in ((train, 10000), (test, 2000)):
        images = _resized(images[:: max(1, len(images) // most)], pixels)
        labels = labels[:: max(1, len(labels) // most)]
        looks = views.settings.keys
        scaled = (images / 255.0 - np.asarray(looks.mean)) / np.asarray(looks.std)
        batches = [
            (scaled[i : i + 256].astype("float32"), labels[i : i + 256]) for i in range(0, len(labels), 256)
        ]
        sets += kl.evaluation.extract_features(model.backbone, batches)
    return kl.evaluation.knn(*sets, k=20)["top1"]


def _resized(images, pixels):
    from PIL import Image

    if images.shape[1] == pixels:
        return images
    return np.stack([np.asarray(Image.fromarray(image).resize((pixels, pixels))) for image in images])
