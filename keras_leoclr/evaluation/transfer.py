"""Linear accuracy on data sets that the backbone was not pretrained on."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from keras_leoclr.data.class_numbers import numbered_as
from keras_leoclr.data.loading import load
from keras_leoclr.data.parts import has_label
from keras_leoclr.data.pipeline import image_batches
from keras_leoclr.evaluation.batches import features_identity
from keras_leoclr.evaluation.feature_evaluators import Linear
from keras_leoclr.evaluation.features import extract_features
from keras_leoclr.evaluation.labels import kind_of
from keras_leoclr.evaluation.scores import Score
from keras_leoclr.views.preprocessing import Preprocessing

METRICS = ("top1", "mean_per_class", "map")


@dataclasses.dataclass(frozen=True)
class Target:
    """A data set to transfer to.

    Attributes:
        dataset: name of the data set, as `data.load` takes it.
        train_split: split that the classifier is fitted to; "train" by default.
        test_split: split that it is judged on; "test" by default.
        metric: "top1" (the default), or "mean_per_class" for data sets where that is usual. It is ignored for
            data with several labels per image, whose metric is mean average precision, "map".
    """

    dataset: str
    train_split: str = "train"
    test_split: str = "test"
    metric: str = "top1"


# Splits and metrics follow table 1 of arXiv 1805.08974, except for the birds, whose published split is used.
TARGETS = {
    target.dataset.removeprefix("tfds:"): target
    for target in (
        Target("tfds:cifar10"),
        Target("tfds:cifar100"),
        Target("tfds:cars196"),
        Target("tfds:caltech_birds2011"),
        Target("tfds:food101", test_split="validation"),
        Target("tfds:oxford_flowers102", "train+validation", metric="mean_per_class"),
        Target("tfds:oxford_iiit_pet", metric="mean_per_class"),
        Target("tfds:dtd", "train+validation"),
    )
}


class Transfer:
    """Softmax regression on the frozen features of each data set (the linear protocol of arXiv 1805.08974).

    Args:
        backbone: (B, S, S, 3) -> (B, F), or feature maps.
        views: a `Preprocessing`, or views such as `LeOCLRViews`: size, mean and deviation of the images.
        targets: data sets to evaluate on; by default all of `TARGETS`.
        data_dir: folder where TensorFlow Datasets keeps its files.
        batch_size: images per call of the backbone; 256 by default.
        cache: folder of cached features, see `extract_features`.
        seed: seed of the part that chooses the weight decay; 0 by default.
        verbose: whether to show progress bars; false by default.

    `run` yields transfer/NAME for each data set, with its `metric`, and transfer/mean over the data sets that
    could be loaded and judged on. The others are in `missing`, {name: reason}. If none could be judged on, it
    raises the last ValueError, if there was one.
    """

    def __init__(
        self,
        backbone: keras.Model,
        views: Any,
        targets: Sequence[Target] = tuple(TARGETS.values()),
        data_dir: str | os.PathLike | None = None,
        batch_size: int = 256,
        cache: str | os.PathLike | None = None,
        seed: int = 0,
        verbose: bool = False,
    ):
        bad = [target for target in targets if target.metric not in METRICS]
        if bad or not len(targets):
            raise ValueError(
                f"`targets` must be data sets with one of the metrics {', '.join(METRICS)}. "
                f"Received: {bad[0] if bad else 'none'}"
            )
        self.backbone, self.views, self.targets = backbone, Preprocessing.of(views), tuple(targets)
        self.data_dir, self.batch_size, self.cache = data_dir, batch_size, cache
        self.seed, self.verbose = seed, verbose
        self.missing: dict[str, str] = {}

    def run(self) -> Iterator[Score]:
        found, error = [], None
        for target in self.targets:
            name = os.path.basename(target.dataset.removeprefix("tfds:").rstrip("/"))
            try:
                score = self._score(name, target)
            except (OSError, ValueError) as raised:
                # The data are neither on disk nor can they be downloaded, or they cannot be judged on. The
                # other data sets are judged all the same.
                self.missing[name], error = str(raised), raised
                continue
            found.append((name, score.value))
            yield score
        if found:
            names, values = zip(*found, strict=True)
            yield Score(
                "transfer/mean", sum(values) / len(values), data_sets=len(names), targets=sorted(names)
            )
        elif isinstance(error, ValueError):
            raise error

    def _score(self, name: str, target: Target) -> Score:
        splits = (target.train_split, target.test_split)
        sources = [load(target.dataset, split, self.data_dir) for split in splits]
        sources[1] = numbered_as(*sources, name="targets")
        sets = []
        for source, split in zip(sources, splits, strict=True):
            batches = image_batches(source, self.views, self.batch_size)
            identity = features_identity(source, target.dataset, split, self.views)
            cache = None if identity is None else self.cache
            features, labels = extract_features(self.backbone, batches, self.verbose, cache, identity)
            known = has_label(labels)
            sets += [features, labels] if known.all() else [features[known], labels[known]]
        found = {score.name: score for score in Linear(*sets, seed=self.seed).run()}
        metric = target.metric if f"linear/{target.metric}" in found else kind_of(sets[1]).measure
        score = found[f"linear/{metric}"]
        how = dataclasses.asdict(target) | {
            "metric": metric,
            "train_images": len(sets[1]),
            "test_images": len(sets[3]),
        }
        kept = (score.hits, score.arrays)
        return Score(f"transfer/{name}", score.value, score.interval, *kept, **score.protocol, **how)
