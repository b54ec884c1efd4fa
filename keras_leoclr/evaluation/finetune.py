"""Fine-tuning with a fraction of the labels."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

import keras
import numpy as np

from keras_leoclr.checks import number, whole_number
from keras_leoclr.data.parts import with_labels
from keras_leoclr.evaluation.batches import clean_view
from keras_leoclr.evaluation.image_evaluators import TrainedOnImages
from keras_leoclr.evaluation.label_draws import labelled_fraction
from keras_leoclr.evaluation.linear_on_crops import milestones
from keras_leoclr.evaluation.scores import Score
from keras_leoclr.evaluation.statistics import mean_of_runs
from keras_leoclr.evaluation.supervised import check_labels, classifier_on, logits_of, train_classifier

# Data sets of TensorFlow Datasets whose training split is the published list of labels (arXiv 2002.05709).
PUBLISHED = {
    ("tfds:imagenet2012", 0.01): "tfds:imagenet2012_subset/1pct",
    ("tfds:imagenet2012", 0.1): "tfds:imagenet2012_subset/10pct",
}

# SwAV's settings for ImageNet, and the bounds that keep the training of a smaller set from being a few steps.
EPOCHS, STEPS, STEPS_OF_AN_EPOCH = 20, 500, 50
SMALLEST_BATCH, LARGEST_BATCH = 32, 256

# SwAV's learning rates for these shares of the labels of ImageNet.
RATES_OF_PUBLISHED = {
    0.01: {"backbone_rate": 0.02, "head_rate": 5.0},
    0.1: {"backbone_rate": 0.01, "head_rate": 0.2},
}


def published_list(dataset: str, fraction: float) -> str | None:
    """Returns the data set that holds the published list of labelled images, or None if there is none.

    Args:
        dataset: name of the data set, as `data.load` takes it.
        fraction: share of the labels, in (0, 1].
    """
    return PUBLISHED.get((dataset, fraction))


@dataclasses.dataclass(eq=False, repr=False)
class Finetune(TrainedOnImages):
    """Accuracy after training the backbone and a head together on a fraction of the labels.

    Training uses SGD with momentum 0.9 and no weight decay, random resized crops and flips; the learning
    rates are multiplied by 0.2 at 60 % and 80 % of the epochs. Test images are resized as a whole.

    The settings that are not given are SwAV's for 10 % of ImageNet (arXiv 2006.09882 and its code): 20 epochs
    of batches of 256, learning rates of 0.01 for the backbone and 0.2 for the head. With fewer images this
    would be a few steps. Therefore a batch has at most a fiftieth of the labelled images, as with SwAV's 1 %
    of ImageNet, but 32 or more, and there are as many epochs as 500 steps need. SwAV's rates for 1 % of
    ImageNet are 0.02 and 5; `RATES_OF_PUBLISHED` has those of the published lists.

    Args:
        backbone: (B, S, S, 3) -> (B, F), or feature maps; copies of it are trained.
        train: source of images and labels, see `data.load`.
        test: source of images and labels.
        views: a `Preprocessing`, or views such as `LeOCLRViews`: size, mean and deviation of the images.
        fraction: share of the labels of each class that is used, in (0, 1]; 0.01 by default, and 1 for a
            published list. With several labels per image it is about that share, see
            `label_draws.labelled_fraction`.
        seeds: one training for each seed, (0, 1, 2) by default. A seed determines the labelled images, the
            head, the order and the crops.
        epochs: passes over the labelled images; by default as said above.
        batch_size: images per step, at most as many as are labelled; by default as said above.
        backbone_rate: learning rate of the backbone, > 0; 0.01 by default.
        head_rate: learning rate of the head, > 0; 0.2 by default.
        crop_scale: range of the area of the training crops as a share of the image; (0.08, 1) by default.
        verbose: whether to show progress bars; false by default.

    `run` yields finetune/top1 and finetune/top5, means over the seeds with the standard deviation `top1_std`
    and the interval of the mean, and finetune_run/top1 for each seed. Their `labelled_images` are the number
    of images that the seed draws, and the mean of these numbers. With several labels per image it yields
    finetune/map and finetune_run/map, and the head has a sigmoid and binary cross-entropy for each class.
    """

    fraction: float = 0.01
    seeds: Sequence[int] = (0, 1, 2)
    epochs: int | None = None
    batch_size: int | None = None
    backbone_rate: float = 0.01
    head_rate: float = 0.2
    crop_scale: tuple[float, float] = (0.08, 1.0)
    verbose: bool = False

    def __post_init__(self):
        super().__post_init__()
        if not 0 < self.fraction <= 1:
            raise ValueError(f"`fraction` must be in (0, 1]. Received: fraction={self.fraction}")
        for name in ("backbone_rate", "head_rate"):
            number(name, getattr(self, name), 0, above=True)
        if not len(self.seeds):
            raise ValueError("`seeds` must be whole numbers, at least one. Received: none")
        self.seeds, self.crop_scale = tuple(self.seeds), tuple(self.crop_scale)
        for name in ("epochs", "batch_size"):
            if getattr(self, name) is not None:
                setattr(self, name, whole_number(name, getattr(self, name), 1))

    def run(self) -> Iterator[Score]:
        self.train, labels = with_labels(self.train, "train")
        self.test, of_test = with_labels(self.test, "test")
        kind, classes = check_labels(labels, of_test)
        parts = {seed: labelled_fraction(labels, self.fraction, seed) for seed in self.seeds}
        labelled = len(parts[self.seeds[0]])
        epochs, batch_size = self._length(labelled)
        rates = {"backbone_rate": self.backbone_rate, "head_rate": self.head_rate}
        how = {"fraction": self.fraction, "train_images": len(labels), "test_images": len(of_test)}
        how |= {"epochs": epochs, "batch_size": batch_size, "crop_scale": self.crop_scale}
        runs = []
        for seed, rows in parts.items():
            keras.utils.set_random_seed(seed)  # This seeds layers such as dropout.
            _, classifier = classifier_on(self.backbone, classes, False, 0.01, seed)
            train_classifier(
                classifier,
                self.train.subset(rows) if len(rows) < len(labels) else self.train,
                clean_view(self.views, self.crop_scale, flip_probability=0.5),
                epochs=epochs,
                batch_size=batch_size,
                milestones=milestones(epochs, (0.6, 0.8)),
                gamma=0.2,
                seed=seed,
                verbose=self.verbose,
                **rates,
            )
            logits, test_labels = logits_of(classifier, self.test, self.views, LARGEST_BATCH)
            answers = kind.answers(logits)
            runs.append(kind.judged(answers, test_labels, labels))
            own = {"seed": seed, "labelled_images": len(rows), **how, **rates}
            one = next(iter(kind.scores("finetune_run", answers, test_labels, labels, **own)))
            one.interval = None  # It would be over the images, while that of finetune/ is over the seeds.
            yield one
        how |= {"labelled_images": round(float(np.mean([len(rows) for rows in parts.values()])))}
        how |= {"seeds": self.seeds, **rates, **kind.notes(of_test, labels)}
        for name in kind.measures:
            mean, std, interval = mean_of_runs([run[name] for run in runs])
            yield Score(f"finetune/{name}", mean, interval, **{f"{name}_std": std}, **how)

    def _length(self, labelled: int) -> tuple[int, int]:
        """Epochs and batch size for a number of labelled images."""
        batch_size = self.batch_size or min(LARGEST_BATCH, max(SMALLEST_BATCH, labelled // STEPS_OF_AN_EPOCH))
        batch_size = min(batch_size, labelled)
        return self.epochs or max(EPOCHS, math.ceil(STEPS / (labelled // batch_size))), batch_size
