"""The settings of a pretraining run."""

from __future__ import annotations

import dataclasses
from typing import Any

from keras_leoclr import backbones, distribution

CHOICES = {
    "on_error": ("raise", "skip"),
    "method": ("leoclr", "moco_v2", "end_to_end", "crop_to_original"),
    "backbone": tuple(backbones.BUILDERS),
    "momentum_schedule": ("constant", "cosine"),
    "optimizer": ("sgd", "lars"),
    "precision": ("float32", "mixed_bfloat16", "mixed_float16"),
    "strategy": tuple(dict.fromkeys(s for known in distribution.STRATEGIES.values() for s in known)),
    "jit_compile": ("auto", "on", "off"),
}


def setting(default: Any, help: str) -> Any:
    """A field of a recipe with the text that `--help` shows for it."""
    return dataclasses.field(default=default, metadata={"help": help})


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that a run depends on; the defaults are MoCo v2's and LeOCLR's for ImageNet-1K.

    Sources: optimizer, queue, head, temperature and augmentation arXiv 2003.04297 and its reference
    settings (learning rate 0.03 at batch 256, cosine); views and loss arXiv 2403.06813.
    """

    dataset: str = setting("", "name or path, as keras_leoclr.data.load takes it")
    data_dir: str | None = setting(None, "where TensorFlow Datasets keeps its files")
    train_split: str = setting("train", "split to pretrain on")
    probe_split: str = setting(
        "", "split with labels, of the kNN measurement and the probes; empty for train_split"
    )
    test_split: str = setting("test", "split of the final evaluation")
    on_error: str = setting("raise", "at a picture that cannot be read: raise, or skip and count")
    shuffle_buffer: int = setting(0, "images that a stream is shuffled in; 0 for all")
    max_images: int = setting(0, "use only the first images of each split; 0 for all")

    method: str = setting("leoclr", "leoclr, moco_v2, end_to_end, or crop_to_original, which is no paper's")
    image_size: int = setting(224, "side of the views, pixels")
    crop_scale: tuple[float, ...] = setting((0.2, 1.0), "area of the crops, share of the image, low and high")
    num_crops: int = setting(2, "key views of an image (LeOCLR)")
    original_photometrics: bool = setting(True, "colour and blur for the original too (LeOCLR)")
    antialias_original: bool = setting(False, "reduce the original with an antialiasing filter (LeOCLR)")
    color_jitter: tuple[float, ...] = setting(
        (0.4, 0.4, 0.4, 0.1), "strength of brightness, contrast, saturation, hue"
    )
    jitter_probability: float = setting(0.8, "share of views with colour jitter")
    grayscale_probability: float = setting(0.2, "share of grey views")
    blur_probability: float = setting(0.5, "share of blurred views")
    blur_sigma: tuple[float, ...] = setting(
        (0.1, 2.0), "standard deviation of the blur, pixels, low and high"
    )
    flip_probability: float = setting(0.5, "share of mirrored views")
    mean: tuple[float, ...] = setting((0.485, 0.456, 0.406), "mean of the data per channel, in [0, 1]")
    std: tuple[float, ...] = setting((0.229, 0.224, 0.225), "standard deviation of the data, in [0, 1]")

    compile_views: bool = setting(True, "compile the views with XLA: faster, but a run starts later")

    backbone: str = setting("resnet50", f"one of {', '.join(backbones.BUILDERS)}")
    stem: str = setting("imagenet", "of a ResNet: imagenet, cifar, patch, solo_learn or lightly")
    patch_size: int = setting(16, "side of the patches of a ViT, pixels")
    widths: tuple[int, ...] = setting((), "channels per stage, for resnet_small only")
    projection_dim: int = setting(128, "length of queries and keys")
    hidden_dim: int = setting(0, "hidden layer of the projection head; 0 for the number of features")
    queue_size: int = setting(65536, "past keys that serve as negatives")
    momentum: float = setting(0.999, "of the key encoder's moving average")
    momentum_schedule: str = setting("constant", "constant, or cosine: from momentum to 1 at the end")
    temperature: float = setting(0.2, "of the loss")
    bn_groups: int = setting(1, "parts of a device's batch with BatchNorm statistics of their own")
    enqueue: str = setting("both", "keys that enter the queue: both or first")

    precision: str = setting("float32", "float32, mixed_bfloat16 or mixed_float16")
    strategy: str = setting(
        "auto", "auto, none, mirrored or multi_worker (TensorFlow), data_parallel (JAX); auto: all GPUs"
    )
    jit_compile: str = setting("auto", "compile the step with XLA: auto (TensorFlow: on GPUs), on or off")
    steps_per_execution: int = setting(1, "steps that run without returning to Python")
    gradient_accumulation_steps: int = setting(1, "batches whose gradients are averaged for one update")

    epochs: int = setting(200, "passes over the images")
    batch_size: int = setting(256, "images per step, of all devices together")
    learning_rate: float = setting(0.03, "per 256 images of an update, after warm-up")
    warmup_epochs: float = setting(0.0, "epochs of linear warm-up")
    optimizer: str = setting("sgd", "sgd or lars")
    sgd_momentum: float = setting(0.9, "momentum of the optimizer")
    weight_decay: float = setting(1e-4, "coupled weight decay")
    decay_all: bool = setting(True, "decay biases and BatchNorm too, as MoCo does")
    seed: int = setting(0, "of weights, order and views")

    knn_every: int = setting(1, "epochs between kNN measurements; 0 for none")
    knn_bank: int = setting(
        10000, "training images that vote in the kNN measurement; 0 for four fifths, at most 10000"
    )
    knn_queries: int = setting(
        2000, "training images, others than those, that are classified; 0 for the rest, at most 2000"
    )
    online_probe: bool = setting(
        True, "a linear classifier trained alongside, where kNN is measured and there is one device"
    )
    few_label_draws: int = setting(5, "draws of 10 labelled images per class in the final evaluation")
    evaluate: bool = setting(True, "kNN and linear probes on the test split at the end")
    map_images: int = setting(
        600,
        "pictures on the map of the report: test images with evaluate, else training images; 0 for no map",
    )
    curve_images: int = setting(
        500, "test images of the report's curves of retrieval and robustness; 0 for no curves"
    )

    def __post_init__(self):
        for name, known in CHOICES.items():
            value = getattr(self, name)
            if value not in known:
                raise ValueError(f"`{name}` must be one of {', '.join(known)}. Received: {name}={value!r}")
        for name in (
            "epochs",
            "batch_size",
            "steps_per_execution",
            "gradient_accumulation_steps",
            "few_label_draws",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be >= 1. Received: {name}={getattr(self, name)}")
        for name in (
            "learning_rate",
            "warmup_epochs",
            "knn_every",
            "knn_bank",
            "knn_queries",
            "max_images",
            "curve_images",
        ):
            if getattr(self, name) < 0:
                raise ValueError(f"`{name}` must be >= 0. Received: {name}={getattr(self, name)}")
        if self.map_images != 0 and self.map_images < 2:
            raise ValueError(f"`map_images` must be 0 or >= 2. Received: map_images={self.map_images}")
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                "`warmup_epochs` must be less than `epochs`. "
                f"Received: warmup_epochs={self.warmup_epochs}, epochs={self.epochs}"
            )

    @property
    def labelled_split(self) -> str:
        """The split whose labels the kNN measurement and the probes take."""
        return self.probe_split or self.train_split

    def smoke(self) -> Recipe:
        """The same run in under a minute: a few small images, two epochs, small network, batches and queue.

        A ResNet becomes `resnet_small` with the same stem, a ViT `vit_tiny`; views are 64 pixels or less.
        """
        return dataclasses.replace(
            self,
            image_size=min(self.image_size, 64),
            backbone="vit_tiny" if self.backbone.startswith("vit") else "resnet_small",
            max_images=320,
            epochs=2,
            warmup_epochs=0.0,
            batch_size=min(self.batch_size, 32),
            bn_groups=min(self.bn_groups, 2),
            queue_size=min(self.queue_size, 256),
            knn_bank=min(self.knn_bank, 200),
            knn_queries=min(self.knn_queries, 100),
            few_label_draws=1,
            map_images=min(self.map_images, 60),
            curve_images=0,
            compile_views=False,
        )
