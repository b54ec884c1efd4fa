"""The evaluators by name, and their settings; importing this module loads no framework."""

from __future__ import annotations

import dataclasses
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
ALL = ("knn", "linear", "few", "retrieval", "robustness", "quality", "embedding")  # what "all" stands for


@dataclasses.dataclass(frozen=True)
class SuiteOptions:
    """Settings of the evaluators. Where one is named in brackets, the setting is of that evaluator alone.

    Attributes:
        k: numbers of neighbours that vote (knn). The second, or the only one, is used by other evaluators.
        temperature: of the votes.
        leave_one_out: whether the training images are judged by each other, too (knn).
        per_class: labelled images of each class (few).
        fewer_per_class: whether fewer are used where a class has fewer than `per_class` training images, and
            the evaluator is left out where one has fewer than 2; otherwise that is an error (few).
        draws: how many times these images are drawn (few).
        crop_scales: areas of the crops, shares of the image; () for the evaluator's own (retrieval).
        changes: names of the changes; () for all (robustness).
        fraction: share of the labels (finetune).
        seeds: one run each (finetune).
        backbone_rate: learning rate of the backbone (finetune).
        head_rate: learning rate of the head (finetune).
        epochs: of training; None for 100 (linear_paper) or 20 (finetune).
        learning_rates: candidates; the best on held-out images is used (linear_paper).
        targets: names in `evaluation.TARGETS`, or folders; () for all of them (transfer).
        map_images: pictures on the map (embedding).
        projection: "pca" or "umap" (embedding).
        batch_size: images per call of the backbone, or per step of training.
        precision: policy that features are computed in, such as "mixed_bfloat16"; None for the backbone's.
        check_shared: whether test images that are in the training set, too, are counted.
        check_content: whether results hold a checksum of the test images, where they are arrays or files.
        seed: of held-out parts, crops, noise and draws.
        quality_images: most test images that are used (quality); 0 for all.
        curve_images: most test images that are used (retrieval, robustness); 0 for all.
        curve_train_images: most training images that classifiers are fitted to (robustness); 0 for all.
        sample_seed: draws these images and those on the map; None for `seed`.
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
    backbone_rate: float = 0.02
    head_rate: float = 5.0
    epochs: int | None = None
    learning_rates: tuple[float, ...] = (30.0,)
    targets: tuple[str, ...] = ()
    map_images: int = 600
    projection: str = "pca"
    batch_size: int = 256
    precision: str | None = None
    check_shared: bool = True
    check_content: bool = True
    seed: int = 0
    quality_images: int = 0
    curve_images: int = 0
    curve_train_images: int = 0
    sample_seed: int | None = None

    @property
    def vote(self) -> dict[str, Any]:
        """Arguments of the evaluators that let neighbours vote, besides KNN."""
        return {"k": self.k[min(1, len(self.k) - 1)], "temperature": self.temperature}

    @property
    def draw(self) -> int:
        """The seed that draws the images of the evaluators that do not use all of them."""
        return self.seed if self.sample_seed is None else self.sample_seed
