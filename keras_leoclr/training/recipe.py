"""The settings of a pretraining run. The file is long because each field holds all that is known of it."""

from __future__ import annotations

import dataclasses

from keras_leoclr.backbones.names import BACKBONES, LIBRARIES, STEMS, library_of
from keras_leoclr.distribution.strategies import STRATEGIES
from keras_leoclr.training import fields
from keras_leoclr.training.fields import setting

INITIAL = "initial_weights"  # value of `backbone` if the network comes from the file of initial weights


@dataclasses.dataclass(frozen=True)
class Recipe:
    """All settings that a run depends on; the defaults are those of MoCo v2 and LeOCLR for ImageNet-1K.

    Optimizer, queue, head, temperature and augmentation follow arXiv 2003.04297 and its reference settings
    (learning rate 0.03 at batch size 256, cosine); views and loss follow arXiv 2403.06813.
    """

    # === Data ===
    dataset: str = setting("", "name or path, as keras_leoclr.data.load takes it", group="data")
    data_dir: str | None = setting(
        None, "where TensorFlow Datasets keeps its files", group="data", resumable=True
    )
    train_split: str = setting("train", "split to pretrain on", group="data")
    probe_split: str = setting(
        "",
        "split with labels, of the kNN measurement and the probes; empty for train_split",
        group="data",
        resumable=True,
    )
    test_split: str = setting("test", "split of the final evaluation", group="data", resumable=True)
    on_error: str = setting(
        "raise",
        "at a picture that cannot be read: raise, or skip and count",
        group="data",
        choices=("raise", "skip"),
    )
    max_failures: float | None = setting(
        None,
        "with skip, largest share of pictures that may fail; by default 0.01, but one always may",
        group="data",
        low=0,
        high=1,
        resumable=True,
    )
    shuffle_buffer: int = setting(0, "images that a stream is shuffled in; 0 for all", group="data")
    max_images: int = setting(0, "use only so many images of each split; 0 for all", group="data", low=0)

    # === Views ===
    method: str = setting(
        "leoclr",
        "leoclr, moco_v2, end_to_end, or crop_to_original, which is no paper's",
        group="views",
        choices=("leoclr", "moco_v2", "end_to_end", "crop_to_original"),
    )
    image_size: int = setting(224, "side of the views, pixels", group="views")
    crop_scale: tuple[float, ...] = setting(
        (0.2, 1.0), "area of the crops, share of the image, low and high", group="views"
    )
    num_crops: int = setting(2, "key views of an image (LeOCLR)", group="views")
    original_photometrics: bool = setting(
        True, "colour and blur for the original too (LeOCLR)", group="views"
    )
    antialias_original: bool = setting(
        False, "reduce the original with an antialiasing filter (LeOCLR)", group="views"
    )
    color_jitter: tuple[float, ...] = setting(
        (0.4, 0.4, 0.4, 0.1), "strength of brightness, contrast, saturation, hue", group="views"
    )
    jitter_probability: float = setting(0.8, "share of views with colour jitter", group="views")
    grayscale_probability: float = setting(0.2, "share of grey views", group="views")
    blur_probability: float = setting(0.5, "share of blurred views", group="views")
    blur_sigma: tuple[float, ...] = setting(
        (0.1, 2.0), "standard deviation of the blur, pixels, low and high", group="views"
    )
    flip_probability: float = setting(0.5, "share of mirrored views", group="views")
    mean: tuple[float, ...] = setting(
        (0.485, 0.456, 0.406), "mean of the data per channel, in [0, 1]", group="views"
    )
    std: tuple[float, ...] = setting(
        (0.229, 0.224, 0.225), "standard deviation of the data, in [0, 1]", group="views"
    )
    compile_views: bool = setting(
        True, "compile the views with XLA: faster, but a run starts later", group="views", resumable=True
    )
    views_on: str = setting(
        "auto",
        "make the views on the host, or on the device within the step; auto: on the device if it is a GPU",
        group="views",
        choices=("auto", "host", "device"),
        resumable=True,
        since="0.2.0",
    )
    canvas: tuple[int, ...] = setting(
        (),
        "for views on the device, height and width that pictures get, pixels; empty: by the pictures",
        group="views",
        since="0.2.0",
    )

    # === Model ===
    backbone: str = setting(
        "resnet50",
        f"one of {', '.join(BACKBONES)}; applications:, keras_cv: or keras_hub:NAME; or {INITIAL}, the "
        "network of that file",
        group="model",
    )
    initial_weights: str = setting(
        "",
        "what the training begins with: folder of a run, .keras file, torch weights; empty for random",
        group="model",
        since="0.2.0",
    )
    stem: str = setting(
        "imagenet",
        "of a ResNet: imagenet, cifar, patch, solo_learn or lightly",
        group="model",
        choices=STEMS,
    )
    patch_size: int = setting(16, "side of the patches of a ViT, pixels", group="model")
    widths: tuple[int, ...] = setting((), "channels per stage, for resnet_small only", group="model")
    projection_dim: int = setting(128, "length of queries and keys", group="model")
    hidden_dim: int = setting(
        0, "hidden layer of the projection head; 0 for the number of features", group="model"
    )
    queue_size: int = setting(65536, "past keys that serve as negatives", group="model")
    momentum: float = setting(0.999, "of the key encoder's moving average", group="model")
    momentum_schedule: str = setting(
        "constant",
        "constant, or cosine: from momentum to 1 at the end",
        group="model",
        choices=("constant", "cosine"),
    )
    temperature: float = setting(0.2, "of the loss", group="model")
    bn_groups: int = setting(
        1, "parts of a device's batch with BatchNorm statistics of their own", group="model"
    )
    enqueue: str = setting(
        "both", "keys that enter the queue: both or first", group="model", choices=("both", "first")
    )

    # === Devices ===
    precision: str = setting(
        "auto",
        "float32, mixed_bfloat16, mixed_float16, or auto: mixed_bfloat16 on GPUs that have it, else float32",
        group="devices",
        choices=("auto", "float32", "mixed_bfloat16", "mixed_float16"),
    )
    strategy: str = setting(
        "auto",
        "auto, none, mirrored or multi_worker (TensorFlow), data_parallel (JAX); auto: all GPUs",
        group="devices",
        choices=tuple(dict.fromkeys(name for names in STRATEGIES.values() for name in names)),
    )
    jit_compile: str = setting(
        "auto",
        "compile the step with XLA: auto (TensorFlow: on GPUs), on or off",
        group="devices",
        choices=("auto", "on", "off"),
    )
    steps_per_execution: int = setting(
        1, "steps that run without returning to Python", group="devices", low=1
    )
    gradient_accumulation_steps: int = setting(
        1, "batches whose gradients are averaged for one update", group="devices", low=1
    )

    # === Training ===
    epochs: int = setting(200, "passes over the images", group="training", low=1, resumable=True)
    batch_size: int = setting(256, "images per step, of all devices together", group="training", low=1)
    learning_rate: float = setting(
        0.03, "per 256 images of an update, after warm-up", group="training", low=0
    )
    warmup_epochs: float = setting(0.0, "epochs of linear warm-up", group="training", low=0)
    optimizer: str = setting("sgd", "sgd or lars", group="training", choices=("sgd", "lars"))
    sgd_momentum: float = setting(0.9, "momentum of the optimizer", group="training")
    weight_decay: float = setting(1e-4, "coupled weight decay", group="training")
    decay_all: bool = setting(True, "decay biases and BatchNorm too, as MoCo does", group="training")
    seed: int = setting(0, "of weights, order and views", group="training")

    # === Evaluation ===
    knn_every: int = setting(
        1, "epochs between kNN measurements; 0 for none", group="evaluation", low=0, resumable=True
    )
    knn_bank: int = setting(
        10000,
        "training images that vote in the kNN measurement; 0 for four fifths, at most 10000",
        group="evaluation",
        low=0,
        resumable=True,
    )
    knn_queries: int = setting(
        2000,
        "training images, others than those, that are classified; 0 for the rest, at most 2000",
        group="evaluation",
        low=0,
        resumable=True,
    )
    online_probe: bool = setting(
        True,
        "a linear classifier trained alongside, where kNN is measured and there is one device",
        group="evaluation",
        resumable=True,
    )
    few_label_draws: int = setting(
        5,
        "draws of 10 labelled images per class in the final evaluation",
        group="evaluation",
        low=1,
        resumable=True,
    )
    evaluate: bool = setting(
        True, "kNN and linear probes on the test split at the end", group="evaluation", resumable=True
    )
    map_images: int = setting(
        600,
        "pictures on the map of the report: test images with evaluate, else training images; 0 for no map",
        group="evaluation",
        resumable=True,
    )
    curve_images: int = setting(
        500,
        "test images of the report's curves of retrieval and robustness; 0 for no curves",
        group="evaluation",
        low=0,
        resumable=True,
    )

    def __post_init__(self):
        fields.check(self)
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
                f"Received: warmup_epochs={self.warmup_epochs}, epochs={self.epochs}"
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
