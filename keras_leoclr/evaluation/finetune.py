"""Fine-tuning with a fraction of the labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import keras
import numpy as np

from keras_leoclr.checks import whole_number
from keras_leoclr.data.parts import with_labels
from keras_leoclr.evaluation.batches import clean_view
from keras_leoclr.evaluation.image_evaluators import TrainedOnImages
from keras_leoclr.evaluation.linear_on_crops import milestones
from keras_leoclr.evaluation.scores import Score
from keras_leoclr.evaluation.statistics import accuracies, best_classes, mean_of_runs
from keras_leoclr.evaluation.supervised import check_labels, classifier_on, logits_of, train_classifier

# Data sets of TensorFlow Datasets whose training split is the published list (arXiv 2002.05709).
PUBLISHED = {
    ("tfds:imagenet2012", 0.01): "tfds:imagenet2012_subset/1pct",
    ("tfds:imagenet2012", 0.1): "tfds:imagenet2012_subset/10pct",
}


def published_list(dataset: str, fraction: float) -> str | None:
    """The data set that holds the published list of labelled images, if there is one.

    Args:
        dataset: as `data.load` takes it.
        fraction: share of the labels.
    """
    return PUBLISHED.get((dataset, fraction))


def labelled_fraction(labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Numbers of a class-balanced random part of the images: `fraction` of each class, rounded.

    Args:
        labels: (N,).
        fraction: in (0, 1].
        seed: of the draw.

    Raises:
        ValueError: if a class would be left without an image.
    """
    if not 0 < fraction <= 1:
        raise ValueError(f"`fraction` must be in (0, 1]. Received: fraction={fraction}")
    rng = np.random.default_rng(seed)
    chosen = []
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        count = round(fraction * len(rows))
        if not count:
            raise ValueError(
                "`fraction` must leave an image of every class. "
                f"Received: fraction={fraction}, class {label} has {len(rows)} images"
            )
        chosen.append(rng.choice(rows, count, replace=False))
    return np.sort(np.concatenate(chosen))


@dataclasses.dataclass(eq=False, repr=False)
class Finetune(TrainedOnImages):
    """Accuracy after training backbone and head together on a part of the labels.

    SGD with momentum 0.9 and no weight decay, random resized crops and flips, rates times 0.2 at 60 %
    and 80 % of the epochs. The defaults are SwAV's for 1 % of the labels (arXiv 2006.09882, its code:
    20 epochs, batch 256, 0.02 for the backbone, 5 for the head); for 10 % they are 0.01 and 0.2. Test
    images are resized as a whole.

    Args:
        backbone: (B, S, S, 3) -> (B, F), or feature maps; copies of it are trained.
        train: source of images and labels, see `data.load`.
        test: source of images and labels.
        views: a `Preprocessing`, or views such as `LeOCLRViews`: size, mean and deviation of the images.
        fraction: share of each class's labels that is used, in (0, 1]; 1 for a published list.
        seeds: one run each; they draw the labels, the head, the order and the crops.
        epochs: passes over the labelled images.
        batch_size: images per step, at most as many as there are.
        backbone_rate: learning rate of the backbone, > 0.
        head_rate: learning rate of the head, > 0.
        crop_scale: area of the training crops, share of the image.
        verbose: whether to show progress bars.

    `run` yields finetune/top1 and finetune/top5: means over the seeds, with the deviation `top1_std` and
    the interval of the mean; and finetune_run/top1 for each seed.
    """

    fraction: float = 0.01
    seeds: Sequence[int] = (0, 1, 2)
    epochs: int = 20
    batch_size: int = 256
    backbone_rate: float = 0.02
    head_rate: float = 5.0
    crop_scale: tuple[float, float] = (0.08, 1.0)
    verbose: bool = False

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.fraction <= 1:
            raise ValueError(f"`fraction` must be in (0, 1]. Received: fraction={self.fraction}")
        if not (self.backbone_rate > 0 and self.head_rate > 0):
            raise ValueError(
                "`backbone_rate` and `head_rate` must be > 0. "
                f"Received: backbone_rate={self.backbone_rate}, head_rate={self.head_rate}"
            )
        if not len(self.seeds):
            raise ValueError("`seeds` must be whole numbers, at least one. Received: none")
        self.seeds, self.crop_scale = tuple(self.seeds), tuple(self.crop_scale)
        self.epochs = whole_number("epochs", self.epochs, 1)
        self.batch_size = whole_number("batch_size", self.batch_size, 1)

    def run(self) -> Iterator[Score]:
        self.train, labels = with_labels(self.train, "train")
        self.test, of_test = with_labels(self.test, "test")
        rates = {"backbone_rate": self.backbone_rate, "head_rate": self.head_rate}
        classes = check_labels(labels, of_test)
        parts = {seed: labelled_fraction(labels, self.fraction, seed) for seed in self.seeds}
        how = {"fraction": self.fraction, "labelled_images": len(parts[self.seeds[0]])}
        how |= {"epochs": self.epochs, "batch_size": self.batch_size, "crop_scale": self.crop_scale}
        runs = []
        for seed, rows in parts.items():
            keras.utils.set_random_seed(seed)  # of layers such as dropout
            _, classifier = classifier_on(self.backbone, classes, False, 0.01, seed)
            train_classifier(
                classifier,
                self.train.subset(rows) if len(rows) < len(labels) else self.train,
                clean_view(self.views, self.crop_scale, flip_probability=0.5),
                epochs=self.epochs,
                batch_size=min(self.batch_size, len(rows)),
                milestones=milestones(self.epochs, (0.6, 0.8)),
                gamma=0.2,
                seed=seed,
                verbose=self.verbose,
                **rates,
            )
            logits, test_labels = logits_of(classifier, self.test, self.views, self.batch_size)
            ranked = best_classes(logits)
            runs.append(accuracies(ranked, test_labels))
            hits = ranked[:, 0] == test_labels
            yield Score("finetune_run/top1", hits.mean(), None, hits, seed=seed, **how, **rates)
        how |= {"seeds": self.seeds, **rates}
        for name in ("top1", "top5"):
            mean, std, interval = mean_of_runs([run[name] for run in runs])
            yield Score(f"finetune/{name}", mean, interval, **{f"{name}_std": std}, **how)
