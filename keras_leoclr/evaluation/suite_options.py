"""The names of the evaluators and their settings; importing this module loads no framework, nor NumPy."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

EVALUATORS = {
    "knn": "nearest neighbours vote (cosine, weighted)",
    "linear": "linear classifier of features, weight decay chosen on held-out training images",
    "few": "the same with a few labelled images per class",
    "linear_paper": "MoCo's and the paper's protocol: a head trained by SGD on crops of images",
    "finetune": "backbone and head trained on a fraction of the labels",
    "retrieval": "from a crop to its original",
    "robustness": "accuracy on cropped, shrunk, occluded and corrupted test images",
    "quality": "alignment, uniformity, RankMe, scores of the classes, confusion, nearest neighbours",
    "embedding": "map of the images and nearest neighbours, for the report; labels are not needed",
    "transfer": "linear accuracy on other data sets",
}
ALL = ("knn", "linear", "few", "retrieval", "robustness", "quality", "embedding")  # evaluators of "all"
WITHOUT_TEST = ("embedding", "transfer")  # evaluators that need no test split
OTHER_MEASURES = {"few": "per_class", "finetune": "fraction"}  # settings that make a result another measure
ON_LABELS = ("knn", "linear", "few", "robustness", "linear_paper", "finetune")  # those that need labels


@dataclasses.dataclass(frozen=True)
class SuiteOptions:
    """Settings of the evaluators. A setting with a name in brackets is used by that evaluator alone.

    Attributes:
        k: numbers of neighbours that vote (knn), (1, 20, 200) by default. Other evaluators use the second
            number, or the only one.
        temperature: temperature of the votes; 0.07 by default.
        leave_one_out: whether the training images are judged too, each by the others (knn).
        per_class: number of labelled images of each class, 10 by default (few).
        fewer_per_class: whether fewer images are used if a class has fewer than `per_class` training images.
            The evaluator is then skipped if a class has fewer than 2. If false (the default), too few images
            are an error (few).
        draws: number of times that these images are drawn, 5 by default (few).
        crop_scales: areas of the crops as shares of the image; () for the defaults (retrieval).
        changes: names of the changes; () for all (robustness).
        fraction: share of the labels, 0.01 by default (finetune).
        seeds: one training for each seed, (0, 1, 2) by default (finetune).
        backbone_rate: learning rate of the backbone; None for that of `Finetune`, or SwAV's for a published
            list of labels (finetune).
        head_rate: learning rate of the head; None as for the backbone (finetune).
        epochs: number of training epochs; None for 100 (linear_paper) or those of `Finetune` (finetune).
        learning_rates: candidates, of which the best on held-out images is used (linear_paper).
        targets: names in `evaluation.TARGETS`, or folders; () for all names (transfer).
        map_images: number of pictures on the map, 600 by default (embedding).
        projection: "pca" or "umap" (embedding).
        batch_size: images per call of the backbone, or per step of training; None for 256, or for that of
            `Finetune` (finetune).
        precision: dtype policy that features are computed in, such as "mixed_bfloat16"; None for the
            backbone's own.
        check_shared: whether to count test images that are also in the training set; true by default.
        check_content: whether results hold a checksum of the test images, if they are arrays or files.
        seed: seed of held-out parts, crops, noise and draws; 0 by default.
        quality_images: most test images that are used (quality); 0 for all.
        curve_images: most test images that are used (retrieval, robustness); 0 for all.
        curve_train_images: most training images that classifiers are fitted to (robustness); 0 for all.
        sample_seed: seed that draws these images and those on the map; None for `seed`.
    """

    k: tuple[int, ...] = (1, 20, 200)
    temperature: float = 0.07
    leave_one_out: bool = False
    per_class: int = 10
    fewer_per_class: bool = False
    draws: int = 5
    crop_scales: tuple[float, ...] = ()
    changes: tuple[str, ...] = ()
    fraction: float = 0.01
    seeds: tuple[int, ...] = (0, 1, 2)
    backbone_rate: float | None = None
    head_rate: float | None = None
    epochs: int | None = None
    learning_rates: tuple[float, ...] = (30.0,)
    targets: tuple[str, ...] = ()
    map_images: int = 600
    projection: str = "pca"
    batch_size: int | None = None
    precision: str | None = None
    check_shared: bool = True
    check_content: bool = True
    seed: int = 0
    quality_images: int = 0
    curve_images: int = 0
    curve_train_images: int = 0
    sample_seed: int | None = None

    def __post_init__(self):
        # They need NumPy, which the names do not.
        from keras_leoclr.checks import whole_number
        from keras_leoclr.evaluation.neighbour_votes import check_votes

        if not len(self.k):
            raise ValueError("`k` must be whole numbers >= 1, at least one. Received: none")
        check_votes(self.k, self.temperature)
        whole_number("draws", self.draws, 1)
        if not all(0 < scale <= 1 for scale in self.crop_scales):
            raise ValueError(
                f"`crop_scales` must be numbers in (0, 1]. Received: crop_scales={self.crop_scales}"
            )

    def named(self, evaluator: str) -> str:
        """The name of an evaluator, with the setting that makes its result another measure than usual.

        Args:
            evaluator: one of `EVALUATORS`.

        Returns:
            The name alone with usual settings, such as "finetune", or "finetune fraction 0.1".
        """
        setting = OTHER_MEASURES.get(evaluator)
        return with_setting(evaluator, {setting: getattr(self, setting)} if setting else {})

    @property
    def batch(self) -> int:
        """Images per call of the backbone, and per step of `linear_paper`."""
        return self.batch_size or 256

    @property
    def vote(self) -> dict[str, Any]:
        """Arguments of the evaluators, other than KNN, that let neighbours vote."""
        return {"k": self.k[min(1, len(self.k) - 1)], "temperature": self.temperature}

    @property
    def draw(self) -> int:
        """The seed that draws images for the evaluators that do not use all of them."""
        return self.seed if self.sample_seed is None else self.sample_seed


def with_setting(name: str, settings: Mapping[str, Any]) -> str:
    """A name, followed by the setting that makes a result another measure, if it is not the usual one.

    Args:
        name: name of an evaluator or of a measure.
        settings: settings by name; those that are no values of `OTHER_MEASURES` do not count.
    """
    for setting in OTHER_MEASURES.values():
        usual = getattr(SuiteOptions, setting)
        if (value := settings.get(setting, usual)) != usual:
            return f"{name} {setting} {value:g}"
    return name
