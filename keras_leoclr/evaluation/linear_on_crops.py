"""The linear protocol of MoCo and of LeOCLR's paper: a head trained on random crops of images."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from keras_leoclr.checks import whole_number
from keras_leoclr.data.parts import with_labels
from keras_leoclr.evaluation.batches import clean_view
from keras_leoclr.evaluation.features import checksum
from keras_leoclr.evaluation.image_evaluators import TrainedOnImages
from keras_leoclr.evaluation.scores import Score
from keras_leoclr.evaluation.supervised import (
    DivergedError,
    check_labels,
    classifier_on,
    logits_of,
    train_classifier,
)


@dataclasses.dataclass(eq=False, repr=False)
class LinearProbe(TrainedOnImages):
    """A linear head on a frozen backbone, trained on random crops.

    This is MoCo's protocol (arXiv 1911.05722, section 4.1): SGD with momentum 0.9, no weight decay, 100
    epochs, batch size 256, learning rate 30, multiplied by 0.1 at epochs 60 and 80, weights of the head from
    N(0, 0.01), random resized crops and flips, BatchNorm in inference mode. There are two differences: test
    images are resized as a whole instead of cropped at the centre, and the best of several learning rates is
    chosen on a held-out part of the training set before the head is trained on all of it. `Linear` and
    `linear_probe` are the fast alternative: softmax regression on the features of whole images.

    Args:
        backbone: (B, S, S, 3) -> (B, F), or feature maps; a copy of it is used.
        train: source of training images and labels, see `data.load`.
        test: source of test images and labels.
        views: a `Preprocessing`, or views such as `LeOCLRViews`: size, mean and deviation of the images.
        learning_rates: candidates for the learning rate, > 0; (30,) by default.
        epochs: passes over the training images, 100 by default; the learning rate falls at 60 % and 80 %.
        batch_size: images per step; 256 by default.
        crop_scale: range of the area of the training crops as a share of the image; (0.08, 1) by default.
        held_out: share of the training images that the learning rate is chosen on, in (0, 1); 0.1 by default.
        seed: seed of the head, the order, the crops and the held-out part; 0 by default.
        verbose: whether to show progress bars; false by default.

    `run` yields linear_sgd/top1, linear_sgd/top5 and linear_sgd/mean_per_class. With several labels per image
    it yields linear_sgd/map, and the head is trained with a sigmoid and binary cross-entropy for each class.
    It raises RuntimeError if any bit of the backbone's weights has changed.
    """

    learning_rates: Sequence[float] = (30.0,)
    epochs: int = 100
    batch_size: int = 256
    crop_scale: tuple[float, float] = (0.08, 1.0)
    held_out: float = 0.1
    seed: int = 0
    verbose: bool = False

    def __post_init__(self):
        super().__post_init__()
        rates = self.learning_rates
        if not len(rates) or min(rates) <= 0:
            raise ValueError(f"`learning_rates` must be numbers > 0. Received: {rates}")
        if not 0 < self.held_out < 1:
            raise ValueError(f"`held_out` must be in (0, 1). Received: held_out={self.held_out}")
        self.learning_rates, self.crop_scale = tuple(map(float, rates)), tuple(self.crop_scale)
        self.epochs = whole_number("epochs", self.epochs, 1)
        self.batch_size = whole_number("batch_size", self.batch_size, 1)

    def run(self) -> Iterator[Score]:
        self.train, labels = with_labels(self.train, "train")
        self.test, of_test = with_labels(self.test, "test")
        self.kind, self.classes = check_labels(labels, of_test)
        how = {"solver": "sgd", "epochs": self.epochs, "batch_size": self.batch_size, "seed": self.seed}
        how |= {"crop_scale": self.crop_scale, "learning_rates_tried": self.learning_rates}
        how |= {"train_images": len(labels), "test_images": len(of_test)}
        rate = self.learning_rates[0]
        if len(self.learning_rates) > 1:
            part = self.kind.held_out(labels, self.held_out, np.random.default_rng(self.seed))
            fit_on, choose_on = (self.train.subset(np.flatnonzero(rows)) for rows in (~part, part))
            values = {one: self._value(fit_on, choose_on, one) for one in self.learning_rates}
            rate = max(values, key=values.get)
            how |= {"held_out": self.held_out, f"held_out_{self.kind.measure}": values[rate]}
        logits, test_labels = self._logits(self.train, self.test, rate)
        judged = ("linear_sgd", self.kind.answers(logits), test_labels, labels)
        yield from self.kind.scores(*judged, learning_rate=rate, **how)
        yield from self.kind.mean_scores(*judged, learning_rate=rate, **how)

    def _value(self, train, test, rate):
        """The value on `test`; -1 if the training diverged, so that another learning rate is chosen."""
        try:
            return self.kind.value(*self._logits(train, test, rate))
        except DivergedError:
            return -1.0

    def _logits(self, train, test, rate):
        frozen, classifier = classifier_on(self.backbone, self.classes, True, 0.01, self.seed)
        before = checksum(frozen)
        train_classifier(
            classifier,
            train,
            clean_view(self.views, self.crop_scale, flip_probability=0.5),
            epochs=self.epochs,
            batch_size=self.batch_size,
            head_rate=rate,
            backbone_rate=0.0,
            milestones=milestones(self.epochs, (0.6, 0.8)),
            gamma=0.1,
            seed=self.seed,
            verbose=self.verbose,
        )
        if checksum(frozen) != before:
            raise RuntimeError(
                "The backbone changed while its head was trained: this is no linear evaluation."
            )
        return logits_of(classifier, test, self.views, self.batch_size)


def milestones(epochs: int, shares: Sequence[float]) -> tuple[int, ...]:
    """Epochs at which the learning rate falls, given as shares of all epochs; none is the first epoch."""
    return tuple(sorted({round(share * epochs) for share in shares} - {0, epochs}))
