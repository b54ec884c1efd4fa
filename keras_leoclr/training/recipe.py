"""The settings of a pretraining run. The file is long because each field holds all that is known of it."""

from __future__ import annotations

import dataclasses

from keras_leoclr.backbones.names import BACKBONES, LIBRARIES, STEMS, library_of
from keras_leoclr.checks import check_value_range
from keras_leoclr.distribution.strategies import STRATEGIES
from keras_leoclr.training import fields
from keras_leoclr.training.fields import MOST_SEED, setting
from keras_leoclr.views.settings import check_color_jitter, check_crop_scale, check_range, check_std

INITIAL = "initial_weights"  # value of `backbone` if the network comes from the file of initial weights


@dataclasses.dataclass(frozen=True)
class Recipe:
    """All settings that a run depends on; the defaults are those of MoCo v2 and LeOCLR for ImageNet-1K.

    Optimizer, queue, head, temperature and augmentation follow arXiv 2003.04297 and its reference settings
    (learning rate 0.03 at batch size 256, cosine); views and loss follow arXiv 2403.06813.
    """

    # === Data ===
    dataset: str = setting(
        "",
        "data set: a name such as fashion_mnist, a folder, tfds:NAME, or what else "
        "keras_leoclr.data.load takes",
        group="data",
    )
    data_dir: str | None = setting(
        None, "folder in which TensorFlow Datasets keeps its files", group="data", resumable=True
    )
    train_split: str = setting("train", "split to pretrain on, such as train or train[:10%]", group="data")
    probe_split: str = setting(
        "",
        "split whose labels kNN and the linear classifiers take; empty: the same as train_split",
        group="data",
        resumable=True,
    )
    test_split: str = setting(
        "test", "split whose images the final evaluation judges", group="data", resumable=True
    )
    on_error: str = setting(
        "raise",
        "what to do with a picture that cannot be read: raise stops, skip leaves it out and counts it",
        group="data",
        choices=("raise", "skip"),
    )
    max_failures: float | None = setting(
        None,
        "with --on_error skip, largest share of pictures that may be left out, in [0, 1]; by default 0.01, "
        "and always one picture",
        group="data",
        low=0,
        high=1,
        resumable=True,
    )
    shuffle_buffer: int = setting(
        0, "number of images that the buffer for shuffling a stream holds; 0: all images", group="data", low=0
    )
    max_images: int = setting(
        0, "largest number of images that is taken of each split; 0: all images", group="data", low=0
    )

    channels: int = setting(
        3,
        "number of channels of the pictures; pictures with others than 3 are read as they are, not as RGB",
        group="data",
        low=1,
        since="0.2.0",
    )
    value_range: tuple[float, ...] = setting(
        (),
        "the values that become black and white, low and high; empty for the range of 8 or 16 bits; auto "
        "measures the least and the greatest value",
        group="data",
        auto=True,
        since="0.2.0",
    )

    # === Views ===
    method: str = setting(
        "leoclr",
        "how views are paired: leoclr compares crops with the original, moco_v2 crops with each other; "
        "end_to_end is leoclr without a queue and with momentum 0, crop_to_original trains on the crops "
        "(of no paper)",
        group="views",
        choices=("leoclr", "moco_v2", "end_to_end", "crop_to_original"),
    )
    image_size: int = setting(224, "height and width of the views, in pixels", group="views", low=1)
    crop_scale: tuple[float, ...] = setting(
        (0.2, 1.0), "least and largest area of a crop, as shares of the area of the image", group="views"
    )
    num_crops: int = setting(2, "number of crops of an image (LeOCLR)", group="views", low=1)
    original_photometrics: bool = setting(
        True,
        "change colours and blur of the original as well, not of the crops alone (LeOCLR)",
        group="views",
    )
    antialias_original: bool = setting(
        False,
        "use an antialiasing filter where the original (LeOCLR) and judged pictures are made smaller",
        group="views",
    )
    antialias_crops: bool = setting(
        False, "use an antialiasing filter where crops are made smaller", group="views", since="0.2.0"
    )
    color_jitter: tuple[float, ...] = setting(
        (0.4, 0.4, 0.4, 0.1),
        "strength of the random changes of brightness, contrast, saturation and hue; 0: no change",
        group="views",
    )
    jitter_probability: float = setting(
        0.8, "probability that the colours of a view are changed", group="views", low=0, high=1
    )
    grayscale_probability: float = setting(
        0.2, "probability that a view is made grey", group="views", low=0, high=1
    )
    blur_probability: float = setting(0.5, "probability that a view is blurred", group="views", low=0, high=1)
    blur_sigma: tuple[float, ...] = setting(
        (0.1, 2.0), "least and largest standard deviation of the Gaussian blur, in pixels", group="views"
    )
    flip_probability: float = setting(
        0.5, "probability that a view is mirrored", group="views", low=0, high=1
    )
    mean: tuple[float, ...] = setting(
        (0.485, 0.456, 0.406),
        "mean of the pixels of each channel, in [0, 1], which is subtracted; auto measures it",
        group="views",
        auto=True,
    )
    std: tuple[float, ...] = setting(
        (0.229, 0.224, 0.225),
        "standard deviation of the pixels of each channel, in [0, 1], which is divided by; auto measures it",
        group="views",
        auto=True,
    )
    compile_views: bool = setting(
        True,
        "compile the computation of the views with XLA: faster, but a run takes longer to start",
        group="views",
        resumable=True,
    )
    views_on: str = setting(
        "auto",
        "where views are made: host (the CPU), device (within the training step), or auto: on the device "
        "if it is a GPU",
        group="views",
        choices=("auto", "host", "device"),
        resumable=True,
        since="0.2.0",
    )
    canvas: tuple[int, ...] = setting(
        (),
        "for views on the device, height and width of the area that pictures are put on, in pixels; empty: "
        "chosen by the pictures",
        group="views",
        since="0.2.0",
    )

    # === Model ===
    backbone: str = setting(
        "resnet50",
        f"network: one of {', '.join(BACKBONES)}; of another library by applications:NAME, keras_cv:NAME or "
        f"keras_hub:NAME; or {INITIAL}, the network of the file that --initial_weights names",
        group="model",
    )
    initial_weights: str = setting(
        "",
        "weights that the training begins with: folder of a run, .keras file or torch weights; empty: "
        "random weights",
        group="model",
        since="0.2.0",
    )
    stem: str = setting(
        "imagenet",
        "first layers of a ResNet: imagenet, cifar (small images), patch, solo_learn or lightly",
        group="model",
        choices=STEMS,
    )
    patch_size: int = setting(16, "height and width of the patches of a ViT, in pixels", group="model", low=1)
    widths: tuple[int, ...] = setting(
        (), "channels of each stage, for resnet_small only", group="model", low=1
    )
    projection_dim: int = setting(128, "number of entries of a query and of a key", group="model", low=1)
    hidden_dim: int = setting(
        0,
        "units of the hidden layer of the projection head; 0: as many as the backbone has features",
        group="model",
        low=0,
    )
    queue_size: int = setting(
        65536, "number of keys of earlier batches that serve as negatives", group="model", low=0
    )
    momentum: float = setting(
        0.999, "share of its weights that the key encoder keeps at each step", group="model", low=0, high=1
    )
    momentum_schedule: str = setting(
        "constant",
        "how the momentum changes: constant, or cosine, from momentum to 1 at the end",
        group="model",
        choices=("constant", "cosine"),
    )
    temperature: float = setting(
        0.2, "temperature of the loss: cosines are divided by it", group="model", above=0
    )
    bn_groups: int = setting(
        1,
        "number of parts of a device's batch, each of which BatchNorm normalises by itself",
        group="model",
        low=1,
    )
    enqueue: str = setting(
        "both",
        "which keys of an image enter the queue: both (all of them) or first",
        group="model",
        choices=("both", "first"),
    )

    # === Devices ===
    precision: str = setting(
        "auto",
        "precision of the computation: float32, mixed_bfloat16, mixed_float16, or auto: mixed_bfloat16 on "
        "GPUs that have it, else float32",
        group="devices",
        choices=("auto", "float32", "mixed_bfloat16", "mixed_float16"),
    )
    strategy: str = setting(
        "auto",
        "how devices share the work: none (one device), mirrored or multi_worker (TensorFlow), "
        "data_parallel (JAX); auto: all GPUs of the machine",
        group="devices",
        choices=tuple(dict.fromkeys(name for names in STRATEGIES.values() for name in names)),
    )
    jit_compile: str = setting(
        "auto",
        "compile the training step with XLA: on, off, or auto: with TensorFlow on GPUs alone",
        group="devices",
        choices=("auto", "on", "off"),
    )
    steps_per_execution: int = setting(
        1, "number of steps that run without a return to Python", group="devices", low=1
    )
    gradient_accumulation_steps: int = setting(
        1,
        "number of batches whose gradients are averaged for one update of the weights",
        group="devices",
        low=1,
    )

    # === Training ===
    epochs: int = setting(
        200, "number of passes over the training images", group="training", low=1, resumable=True
    )
    batch_size: int = setting(
        256, "number of images per step, on all devices together", group="training", low=1
    )
    learning_rate: float = setting(
        0.03,
        "learning rate after the warm-up for 256 images per update; it grows in proportion to their number",
        group="training",
        low=0,
    )
    warmup_epochs: float = setting(
        0.0, "number of epochs in which the learning rate rises from 0", group="training", low=0
    )
    optimizer: str = setting(
        "sgd",
        "optimizer of the weights: sgd or lars (for large batches)",
        group="training",
        choices=("sgd", "lars"),
    )
    sgd_momentum: float = setting(0.9, "momentum of the optimizer", group="training", low=0, below=1)
    weight_decay: float = setting(1e-4, "weight decay, as a part of the gradient", group="training", low=0)
    decay_all: bool = setting(
        True, "apply the weight decay to biases and BatchNorm as well, as MoCo does", group="training"
    )
    seed: int = setting(
        0,
        "seed of the random weights, of the order of the images and of the views",
        group="training",
        low=0,
        high=MOST_SEED,
    )

    # === Evaluation ===
    knn_every: int = setting(
        1,
        "number of epochs from one kNN measurement to the next; 0: none",
        group="evaluation",
        low=0,
        resumable=True,
    )
    knn_bank: int = setting(
        10000,
        "number of training images that vote in the kNN measurement; 0: four fifths, at most 10000",
        group="evaluation",
        low=0,
        resumable=True,
    )
    knn_queries: int = setting(
        2000,
        "number of other training images that are classified by the vote; 0: the rest, at most 2000",
        group="evaluation",
        low=0,
        resumable=True,
    )
    online_probe: bool = setting(
        True,
        "train a linear classifier alongside and measure its accuracy, where kNN is measured and there is "
        "one device",
        group="evaluation",
        resumable=True,
    )
    few_label_draws: int = setting(
        5,
        "number of random draws of 10 labelled images per class, whose mean the final evaluation takes",
        group="evaluation",
        low=1,
        resumable=True,
    )
    evaluate: bool = setting(
        True,
        "judge the backbone at the end, by kNN and linear classifiers on the test split",
        group="evaluation",
        resumable=True,
    )
    map_images: int = setting(
        600,
        "number of pictures on the map of the report: test images with --evaluate, training images "
        "without; 0: no map",
        group="evaluation",
        resumable=True,
    )
    curve_images: int = setting(
        500,
        "number of test images for the report's curves of retrieval and robustness; 0: no curves",
        group="evaluation",
        low=0,
        resumable=True,
    )

    def __post_init__(self):
        fields.check(self)
        if self.value_range != "auto":
            check_value_range(self.value_range)
        self._settle_channels()
        check_crop_scale(self.crop_scale)
        check_color_jitter(self.color_jitter)
        check_range("blur_sigma", self.blur_sigma)
        if self.std != "auto":
            check_std(self.std)
        if self.backbone not in (*BACKBONES, INITIAL) and not library_of(self.backbone)[0]:
            others = ", ".join(f"{library}:NAME" for library in LIBRARIES)
            raise ValueError(
                f"`backbone` must be one of {', '.join(BACKBONES)}, or {others}. "
                f"Received: backbone={self.backbone!r}"
            )
        if self.backbone == INITIAL and not self.initial_weights:
            raise ValueError(
                f"`backbone` {INITIAL} is the network of a file, which `initial_weights` must name. "
                "Received: initial_weights=''"
            )
        if self.canvas and (len(self.canvas) != 2 or min(self.canvas) < 1):
            raise ValueError(
                "`canvas` must be empty or two whole numbers >= 1, height and width in pixels. "
                f"Received: canvas={self.canvas}"
            )
        if self.map_images != 0 and self.map_images < 2:
            raise ValueError(f"`map_images` must be 0 or >= 2. Received: map_images={self.map_images}")
        if self.warmup_epochs >= self.epochs:
            raise ValueError(
                "`warmup_epochs` must be less than `epochs`. "
                f"Received: warmup_epochs={self.warmup_epochs:g}, epochs={self.epochs}"
            )

    def _settle_channels(self) -> None:
        """Where pictures are not RGB, the defaults that are for RGB give way; other values are checked."""
        given = {
            name: getattr(self, name) for name in ("mean", "std", "color_jitter", "grayscale_probability")
        }
        default = {field.name: field.default for field in dataclasses.fields(Recipe) if field.name in given}
        if self.channels != 3:
            for name in ("mean", "std"):
                if given[name] == default[name]:
                    object.__setattr__(self, name, "auto")
            if given["color_jitter"] == default["color_jitter"]:
                object.__setattr__(self, "color_jitter", (*default["color_jitter"][:2], 0.0, 0.0))
            if given["grayscale_probability"] == default["grayscale_probability"]:
                object.__setattr__(self, "grayscale_probability", 0.0)
            if any(self.color_jitter[2:]) or self.grayscale_probability:
                raise ValueError(
                    "`color_jitter` and `grayscale_probability` must have no saturation, hue and greyscale "
                    "for pictures that are not RGB, such as color_jitter=0.4,0.4,0,0. "
                    f"Received: channels={self.channels}, color_jitter={self.color_jitter}, "
                    f"grayscale_probability={self.grayscale_probability}"
                )
        for name in ("mean", "std"):
            value = getattr(self, name)
            if value != "auto" and (isinstance(value, str) or len(value) != self.channels):
                raise ValueError(
                    f"`{name}` must be auto or one number for each of the `channels`. "
                    f"Received: {name}={value!r}, channels={self.channels}"
                )

    @property
    def labelled_split(self) -> str:
        """The split whose labels are used by the kNN measurement and the probes."""
        return self.probe_split or self.train_split

    def smoke(self) -> Recipe:
        """A small version that runs in under a minute: few small images, two epochs, small network and queue.

        A ResNet becomes `resnet_small` with the same stem, a ViT becomes `vit_tiny`; views have at most 64
        pixels. A network of another library, or of initial weights, stays the same.
        """
        named = bool(library_of(self.backbone)[0])
        small = "vit_tiny" if self.backbone.startswith("vit") else "resnet_small"
        return dataclasses.replace(
            self,
            image_size=min(self.image_size, 96 if named else 64),
            backbone=self.backbone if self.initial_weights or named else small,
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


def knn_sizes(recipe: Recipe, count: int) -> tuple[int, int]:
    """The numbers of training images that vote, and that are classified, in the kNN measurement of a run.

    Args:
        recipe: the settings.
        count: number of training images; negative if it is not known.

    Raises:
        ValueError: if there are not enough images.
    """
    if count < 0:
        return recipe.knn_bank or 10000, recipe.knn_queries or 2000
    bank = recipe.knn_bank or min(10000, max(1, count * 4 // 5))
    queries = recipe.knn_queries or min(2000, max(1, count - bank))
    if bank + queries > count:
        raise ValueError(
            "`knn_bank` and `knn_queries` must not be more than the training images together, "
            f"{count}; 0 takes what fits, and `knn_every` 0 measures nothing. "
            f"Received: knn_bank={recipe.knn_bank}, knn_queries={recipe.knn_queries}"
        )
    return bank, queries
