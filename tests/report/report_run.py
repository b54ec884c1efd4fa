"""The folder of a run that was never trained, with everything that a report shows."""

import csv
import dataclasses
import json

import numpy as np

import keras_leoclr as kl
from keras_leoclr import evaluation
from keras_leoclr.data.readers.arrays import ArrayImages
from keras_leoclr.data.source import Source
from keras_leoclr.evaluation.scores import Score, accuracy_scores
from keras_leoclr.recipes.fashion_mnist import RECIPE
from keras_leoclr.runs.results import Results
from keras_leoclr.views.preview import write_missed, write_views

NAMES = ("cat", "dog & <b>wolf</b>", "</script><script>alert(1)</script>")
EPOCHS = 6
TEST_IMAGES = 200


def source(count, seed, labelled=True):
    """Images in three colours, 8 x 8, that a random backbone can tell apart a little."""
    rng = np.random.default_rng(seed)
    colours = np.arange(count) % 3
    labels = (colours + (np.arange(count) % 5 == 0)) % 3  # some are of another class than their colour
    images = rng.integers(0, 120, (count, 8, 8, 3)) + 120 * np.eye(3, dtype=int)[colours][:, None, None]
    labels, names = (labels.astype("int64"), NAMES) if labelled else (None, ())
    return Source(ArrayImages(images.astype("uint8"), labels, names))


def write_run(folder, seed=0, labelled=True, better=0.8, resumed=(), **changes):
    """Writes a run.

    Args:
        folder: is made.
        seed: of the numbers.
        labelled: whether its images have labels.
        better: accuracy of the pretrained backbone; the random one has 0.6, pixels 0.7.
        resumed: positions (epoch, batch).
        **changes: to the recipe.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    recipe = dataclasses.replace(RECIPE, image_size=8, epochs=EPOCHS, **changes)
    (folder / "recipe.json").write_text(json.dumps(dataclasses.asdict(recipe)))
    about = {"backend": "tensorflow", "finished": True, "resumed": [list(at) for at in resumed]}
    about["environment"] = {"python": "3.11", "devices": ["CPU"], "packages": {"keras": "3.15.1"}}
    about["data"] = {"train": {"dataset": "<i>data</i>", "split": "train", "count": 90, "content": "ab" * 16}}
    (folder / "run.json").write_text(json.dumps(about))
    write_history(folder)
    results = Results(folder / "results.jsonl")
    backbone = kl.backbones.resnet_small((8, 8, 3), widths=(8, 16))
    views = kl.LeOCLRViews(8, crop_scale=(0.3, 0.8))
    train, test = source(90, seed, labelled), source(60, seed + 1, labelled)
    write_views(views, train, folder / "views.png", 8)
    write_missed(views, train, folder / "missed.png", 8)
    for subject, accuracy in (("raw pixels", 0.7), ("random", 0.6), ("pretrained", better)):
        protocol = {"subject": subject, "dataset": "shapes", "test_split": "test", "epoch": 1}
        scores = []
        if labelled:
            hits = np.arange(TEST_IMAGES) < accuracy * TEST_IMAGES
            for name in ("knn", "linear"):
                scores += accuracy_scores(
                    name, np.where(hits, 0, 1)[:, None], np.zeros(TEST_IMAGES, int), (1,)
                )
        if subject != "raw pixels":
            scores += evaluation.Embedding(backbone, train, test, views, images=40, examples=6).run()
            if labelled:
                confusion = {"confusion": rng.integers(1, 20, (3, 3)) + 40 * np.eye(3, dtype=int)}
                scores.append(Score("quality/worst_class", 0.5, None, None, confusion))
            for step in range(1, 5):
                how = {"images": 60, "crop_scale": step / 4}
                scores.append(Score("retrieval/recall@1", step * accuracy / 4, (0, 1), **how))
                how = {"change": "occlusion", "strength": step / 8, "severity": step}
                scores.append(Score("robustness/knn/top1", accuracy / step, (0, 1), **how))
        evaluation.write_scores(scores, results, **protocol)
    results.write("monitor/knn_top1", 0.7, epoch=EPOCHS, queries=1000)
    results.write("health/queue", 12, epoch=1, advice="try a <smaller> queue")
    return folder


def write_history(folder, epochs=range(EPOCHS), loss=lambda epoch: 0.9 - 0.05 * epoch):
    """`history.csv` with these epochs."""
    with (folder / "history.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        names = ["loss_to_chance", "feature_std", "knn_top1", "learning_rate", "images_per_second", "waiting"]
        writer.writerow(["epoch", *names])
        for epoch in epochs:
            knn = "NA" if epoch % 2 else 0.5 + 0.05 * epoch
            writer.writerow([epoch, loss(epoch), 0.08, knn, 0.1, 1000 + epoch, 0.01])
