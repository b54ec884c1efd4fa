"""Runs several evaluators on one backbone: it gives them their data, shares features, and writes results."""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_leoclr import data, evaluation, wording
from keras_leoclr.data.parts import check_any, has_label, without_labels
from keras_leoclr.data.splits import SET_ASIDE
from keras_leoclr.evaluation.suite_evaluators import MAKERS
from keras_leoclr.evaluation.suite_options import ALL, EVALUATORS, ON_LABELS, WITHOUT_TEST, SuiteOptions
from keras_leoclr.runs.results import Results
from keras_leoclr.views.preprocessing import Preprocessing

__all__ = ["ALL", "EVALUATORS", "Suite", "SuiteOptions"]

ON_ALL_FEATURES = ("knn", "linear", "few", "quality", "robustness")
ON_PIXELS = ("knn", "linear", "few")  # evaluators that can judge raw pixels, too
OF_DATA = ("dataset", "train_split", "test_split")  # entries of `about` that transfer replaces by its own
SHOWN = ("k", "crop_scale", "change", "strength", "class", "metric", "seed", "weight_decay", "learning_rate")


class Suite:
    """Evaluators of one backbone on one pair of sources; what several of them need is computed only once.

    Args:
        backbone: (B, S, S, 3) -> (B, F), or feature maps; it takes normalised images. None judges the
            normalised pixels themselves, with knn, linear and few.
        train: source of images and labels that classifiers are fitted to, see `data.load`. The evaluator
            embedding alone needs no labels; for transfer alone it may be None.
        test: source of images and labels that they are judged on; with None, embedding maps `train`. Classes
            are matched with those of `train` by their names, if both have them, see `numbered_as`.
        preprocessing: a `Preprocessing`, or views, with the size, mean and deviation of the backbone's
            images.
        results: file that the scores are written to.
        about: entries of every line of results besides the protocol of its evaluator: subject, dataset,
            train_split, test_split, epoch and whatever else distinguishes the measurement from others.
        options: settings of the evaluators; the defaults of `SuiteOptions` if None.
        cache: folder of cached features, see `extract_features`; None (the default) keeps nothing. Features
            of streams that are given as objects without a name in `about` are not kept.
        data_dir: folder where TensorFlow Datasets keeps its files.
        verbose: whether to print scores and show progress; false by default.

    Example:
        ```python
        suite = Suite(backbone, train, test, Preprocessing(224), Results("results.jsonl"), about)
        suite.run(["knn", "linear", "quality"])
        ```
    """

    def __init__(
        self,
        backbone: Any,
        train: Any,
        test: Any,
        preprocessing: Any,
        results: Results,
        about: dict[str, Any],
        options: SuiteOptions | None = None,
        cache: str | os.PathLike | None = None,
        data_dir: str | os.PathLike | None = None,
        verbose: bool = False,
    ):
        self.backbone = backbone
        self.train = None if train is None else data.as_source(train, "train")
        self.test = None if test is None else data.as_source(test, "test")
        if self.train is not None and self.test is not None:
            from keras_leoclr.data.class_numbers import numbered_as  # It needs TensorFlow, as sources do.

            name = "test_split" if "test_split" in about else "test"
            self.test = numbered_as(self.train, self.test, name)
        self.preprocessing = Preprocessing.of(preprocessing)
        self.results, self.about = results, dict(about)
        self.options = options or SuiteOptions()
        self.cache, self.data_dir, self.verbose = cache, data_dir, verbose
        self.shared: int | None = None

    def run(self, names: Sequence[str]) -> dict[str, float]:
        """Runs evaluators one after the other and writes their scores as they are computed.

        Args:
            names: names of evaluators, some of `EVALUATORS`.

        Returns:
            Values by the name of their measure; if a name has several values, the last one.
        """
        known = tuple(EVALUATORS) if self.backbone is not None else ON_PIXELS
        if unknown := [name for name in names if name not in known]:
            raise ValueError(f"`names` must be some of {', '.join(known)}. Received: {', '.join(unknown)}")
        if self.test is None and (needy := [name for name in names if name not in WITHOUT_TEST]):
            raise ValueError(
                "`test_split` must name images to judge on; without it only "
                f"{' and '.join(WITHOUT_TEST)} can be measured. {wording.settings(**SET_ASIDE)} judges on a "
                f"tenth of the pictures. Received: none, for {', '.join(needy)}"
            )
        if "robustness" in names:
            # Its names of changes are checked before hours of work. The module needs TensorFlow.
            from keras_leoclr.evaluation.robustness import strengths

            strengths(self.options.changes, self.preprocessing)
        if needed := set(names) & set(ON_ALL_FEATURES):  # Computed first, so that all evaluators share them.
            _ = self.sets if needed & set(ON_LABELS) else self.all_sets
        values = {}
        for name in names:
            scores, protocol = MAKERS[name](self)
            self.results.path.parent.mkdir(parents=True, exist_ok=True)
            protocol = self._protocol(name) | protocol
            values |= evaluation.write_scores(map(self._shown, scores), self.results, **protocol)
        return values

    def _protocol(self, name: str) -> dict[str, Any]:
        protocol = self.about | {"features": "pixels" if self.backbone is None else "backbone"}
        if name == "transfer":
            return {key: value for key, value in protocol.items() if key not in OF_DATA}
        test = self.train if self.test is None else self.test
        for split, source in (("train", self.train), ("test", test)):
            protocol[f"{split}_images"] = -1 if source.count is None else source.count
        if "all_sets" in vars(self):  # The images were counted; a stream may not know their number before.
            for split, labels in (("train", self.all_sets[1]), ("test", self.all_sets[3])):
                known = int(has_label(labels).sum())
                protocol[f"{split}_images"] = known if name in ON_LABELS else len(labels)
                if known < len(labels):
                    protocol[f"{split}_without_label"] = len(labels) - known
        if self.options.check_content and self.test is not None:
            protocol["test_content"] = self.test_content
        return protocol | ({} if self.shared is None else {"shared_images": self.shared})

    def _shown(self, score):
        if "left_out" in score.protocol and self.test is not None and len(self.test.class_names):
            names = self.test.class_names
            score.protocol["left_out_names"] = [names[number] for number in score.protocol["left_out"]]
        low, high = score.interval or (None, None)
        how = [f"{key} {score.protocol[key]}" for key in SHOWN if key in score.protocol]
        spread = "" if low is None else f"  ({low:.4f} to {high:.4f})"
        self._say(f"{score.name:28}{score.value:8.4f}{spread}  {', '.join(how)}".rstrip())
        return score

    def _say(self, text):
        if self.verbose:
            print(text, flush=True)

    # === What evaluators share ===

    @functools.cached_property
    def identities(self) -> list[dict[str, Any] | None]:
        """The identities of the training and test features, see `features_identity`."""
        names = [self.about.get(f"{split}_split", split) for split in ("train", "test")]
        return [
            evaluation.features_identity(source, self.about.get("dataset", ""), name, self.preprocessing)
            for source, name in zip((self.train, self.test), names, strict=True)
        ]

    @functools.cached_property
    def test_content(self) -> str | None:
        """The checksum of the test images, see `data_identity`; None if they are a stream."""
        return evaluation.data_identity(self.test, "", "").get("content")

    @functools.cached_property
    def frozen(self) -> Any:
        """The backbone in the precision that features are computed in."""
        return evaluation.in_precision(self.backbone, self.options.precision)

    @functools.cached_property
    def sets(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """`all_sets` without the images that have no label.

        Raises:
            ValueError: if no training image, or no test image, has a label.
        """
        sets = []
        for name, (features, labels) in {"train": self.all_sets[:2], "test": self.all_sets[2:]}.items():
            check_any(name, labels)
            known = has_label(labels)
            if not known.all():
                warnings.warn(without_labels(name, labels), stacklevel=2)
                features, labels = features[known], labels[known]
            sets += [features, labels]
        return tuple(sets)

    @functools.cached_property
    def all_sets(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Training features (N, F) and labels (N,), test features (M, F) and labels (M,); -1 for no label."""
        sources = (self.train, self.test)
        batches = [data.image_batches(s, self.preprocessing, self.options.batch) for s in sources]
        sets = []
        for number, (split, part) in enumerate(zip(("train", "test"), batches, strict=True)):
            if self.backbone is None:
                sets += _pixels(part)
                continue
            self._say(f"Features of {self.about.get('dataset')}, {self.about.get(f'{split}_split')}")
            identity = None if self.cache is None else self.identities[number]
            cache = None if identity is None else self.cache
            sets += evaluation.extract_features(self.frozen, part, self.verbose, cache, identity)
        if self.options.check_shared:
            self.shared = evaluation.shared_images(*batches)
        if self.shared:
            warnings.warn(
                f"{self.shared} of {len(sets[3])} test images are in the training set too, pixel by "
                "pixel: accuracies are too high.",
                stacklevel=2,
            )
        return tuple(sets)

    def test_part(self, most: int) -> tuple[Any, tuple[np.ndarray, np.ndarray] | None, dict[str, Any]]:
        """Test images, at most `most` of them, drawn by the seed; 0 takes all.

        Returns:
            Their source, their features and labels if these are known, and the entries for the protocol.
        """
        known = self.all_sets[2:] if "all_sets" in vars(self) else None
        count = self.test.count
        if not most or count is None or count <= most:
            return self.test, known, {}
        rows = np.sort(np.random.default_rng(self.options.draw).permutation(count)[:most])
        part = self.test.subset(rows)
        return part, known and tuple(array[rows] for array in known), {"test_images": most}

    def curve_train(self) -> tuple[np.ndarray, np.ndarray]:
        """Features and labels of the training images that the classifiers of curves are fitted to."""
        features, labels = self.sets[:2]
        most = self.options.curve_train_images
        rows = np.random.default_rng(self.options.draw).permutation(len(labels))[: most or None]
        return (features[rows], labels[rows]) if most else (features, labels)


def _pixels(batches: Any) -> list[np.ndarray]:
    """The images of batches as rows (N, S * S * 3), and their labels (N,)."""
    parts = [
        (np.reshape(images, (len(images), -1)), np.asarray(labels))
        for images, labels in batches.as_numpy_iterator()
    ]
    return [np.concatenate(part) for part in zip(*parts, strict=True)]
