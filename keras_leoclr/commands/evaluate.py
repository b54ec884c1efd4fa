"""`leoclr evaluate`: judges a backbone and writes what it finds to `results.jsonl`."""

from __future__ import annotations

import json
import pathlib
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from keras_leoclr.commands.command import ONE, Command, workdir
from keras_leoclr.commands.flags import Flag, Given, UsageError, known

EVALUATORS = {
    "knn": "nearest neighbours vote (cosine, weighted)",
    "linear": "softmax regression on features, weight decay chosen on held-out training images",
    "few": "the same with a few labelled images per class",
    "linear_paper": "MoCo's and the paper's protocol: a head trained by SGD on crops of images",
    "finetune": "backbone and head trained on a fraction of the labels",
    "retrieval": "from a crop to its original",
    "robustness": "accuracy on cropped, shrunk, occluded and corrupted test images",
    "quality": "alignment, uniformity, RankMe, accuracy per class, confusion, nearest neighbours",
    "embedding": "map of the images and nearest neighbours, for the report; labels are not needed",
    "transfer": "linear accuracy on other data sets",
}
OF_ALL = ("knn", "linear", "few", "retrieval", "robustness", "quality", "embedding")
TEXT = (
    "leoclr evaluate WHAT[,WHAT ...] --workdir DIR [--backbone FILE|random] [--dataset NAME] [--FLAG VALUE "
    "...]\n\nWHAT is one of\n"
    + "\n".join(f"  {name:14}{text}" for name, text in EVALUATORS.items())
    + f"""
  {"all":14}{", ".join(OF_ALL)}

In the folder of a run (--workdir), data set, splits and normalisation are those of its recipe.json and the
backbone is its backbone.keras; flags take precedence. A backbone that normalises images itself keeps its own
numbers. --backbone random judges the same backbone with new
weights, or, in an empty folder, one of --architecture. Results are appended to DIR/results.jsonl, the hits of
single images, confusion matrices and lists of neighbours go to DIR/evaluation/, features are kept in
DIR/features/. `leoclr compare DIR` prints the table; the model card, DIR/backbone.md, has the main ones."""
)


FLAGS = (
    workdir("folder of a run, or for the results", "a folder for the results"),
    Flag("backbone", str, None, "a .keras file, or random; by default backbone.keras in the folder"),
    Flag(
        "architecture",
        str,
        "",
        "with --backbone random and no backbone.keras: such as resnet18, resnet_small",
    ),
    Flag(
        "subject",
        str,
        None,
        "name of the backbone in the results; by default pretrained, random or the file's",
    ),
    Flag("dataset", str, None, "name or path, as keras_leoclr.data.load takes it"),
    Flag("data_dir", str, None, "where TensorFlow Datasets keeps its files"),
    Flag("train_split", str, None, "split that classifiers are fitted to"),
    Flag("test_split", str, None, "split that they are judged on"),
    Flag("max_images", int, 0, "use only the first images of each split; 0 for all", low=0),
    Flag("image_size", int, None, "side of the images, pixels; by default the backbone's", low=1),
    Flag("mean", tuple[float, ...], None, "mean of the data per channel, in [0, 1]"),
    Flag("std", tuple[float, ...], None, "standard deviation of the data per channel, in [0, 1]"),
    Flag("batch_size", int, 256, "images per call of the backbone, or per step of training", low=1),
    Flag(
        "precision",
        str,
        None,
        "of the features",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
    ),
    Flag("cache", bool, True, "keep features in the folder"),
    Flag("check_shared", bool, True, "count test images that are in the training set too"),
    Flag("seed", int, 0, "of held-out parts, crops, noise and draws", low=0),
    Flag("k", tuple[int, ...], (1, 20, 200), "neighbours that vote (knn); the second is used elsewhere"),
    Flag("temperature", float, 0.07, "of the votes"),
    Flag("leave_one_out", bool, False, "judge the training images by each other too (knn)"),
    Flag("per_class", int, 10, "labelled images per class (few)", low=2),
    Flag("draws", int, 5, "of these images (few)", low=1),
    Flag("crop_scales", tuple[float, ...], (), "areas of the crops, shares of the image (retrieval)"),
    Flag("changes", tuple[str, ...], (), "some of the changes, by default all (robustness)"),
    Flag("fraction", float, 0.01, "share of the labels (finetune)"),
    Flag("seeds", tuple[int, ...], (0, 1, 2), "one run each (finetune)"),
    Flag("backbone_rate", float, 0.02, "learning rate of the backbone (finetune)"),
    Flag("head_rate", float, 5.0, "learning rate of the head (finetune)"),
    Flag("epochs", int, None, "of training; by default 100 (linear_paper) or 20 (finetune)", low=1),
    Flag(
        "learning_rates",
        tuple[float, ...],
        (30.0,),
        "candidates; the best on held-out images is used (linear_paper)",
    ),
    Flag(
        "targets",
        tuple[str, ...],
        (),
        "names in keras_leoclr.evaluation.TARGETS, or folders; all of them (transfer)",
    ),
    Flag("map_images", int, 600, "pictures on the map (embedding)", low=2),
    Flag("projection", str, "pca", "of the map; umap needs umap-learn", choices=("pca", "umap")),
    Flag("verbose", bool, True, "show progress"),
    Flag("json", bool, False, "print each result as a line of JSON, and nothing else"),
)


def _run(given: Given) -> int:
    asked = [known("evaluation", what, (*EVALUATORS, "all")) for what in given.rest[0].split(",")]
    chosen = [what for one in asked for what in (OF_ALL if one == "all" else (one,))]
    evaluation = _Evaluation({**given, "verbose": given["verbose"] and not given["json"]})
    for what in chosen:
        evaluation.write(what)
    return 0


def _numbers(name: str, given: list[str], kind: type = float) -> tuple:
    try:
        return tuple(kind(value) for value in given)
    except ValueError as error:
        raise UsageError(
            f"`--{name}` must be comma-separated numbers. Received: {','.join(given)}"
        ) from error


class _Evaluation:
    """A backbone, data and where results go."""

    def __init__(self, given: dict[str, Any]):
        from keras_leoclr import data
        from keras_leoclr.runs.results import Results
        from keras_leoclr.views import IMAGENET_MEAN, IMAGENET_STD, LeOCLRViews

        self.given = given
        self.workdir = pathlib.Path(given["workdir"])
        settings = self.workdir / "recipe.json"
        self.recipe = json.loads(settings.read_text(encoding="utf-8")) if settings.is_file() else {}
        self.dataset = self._setting("dataset", None)
        self.data_dir = self._setting("data_dir", None)
        labelled = self.recipe.get("probe_split") or self.recipe.get("train_split", "train")
        self.splits = [given["train_split"] or labelled, self._setting("test_split", "test")]
        self.normalization = None
        self.backbone, self.subject, self.epoch = self._backbone()
        size = given["image_size"] or self.backbone.input_shape[1] or self.recipe.get("image_size")
        if not size:
            raise UsageError("`--image_size` must be given for a backbone of any size. Received: none")
        if self.normalization is None:
            mean = _numbers("mean", self._setting("mean", IMAGENET_MEAN))
            std = _numbers("std", self._setting("std", IMAGENET_STD))
        else:
            mean, std = self.normalization
        self.views = LeOCLRViews(size, mean=mean, std=std)
        self.results = Results(self.workdir / "results.jsonl")
        self.load = data.load
        self._sources = self._sets = self.shared = None
        self.identities = []

    def _setting(self, name, default):
        given = self.given[name]
        return self.recipe.get(name, default) if given is None else given

    def _backbone(self):
        import keras

        from keras_leoclr import backbones
        from keras_leoclr.backbones.copying import copy_of

        file, epochs = self.given["backbone"], self.recipe.get("epochs")
        own = self.workdir / "backbone.keras"
        keras.utils.set_random_seed(self.given["seed"])
        if file == "random" and not own.is_file():
            name = self.given["architecture"]
            if name not in backbones.BUILDERS or not self.given["image_size"]:
                raise UsageError(
                    "`--backbone random` needs a backbone.keras in the folder, or `--image_size` and "
                    f"`--architecture`, one of {', '.join(backbones.BUILDERS)}. Received: {name!r}"
                )
            size = self.given["image_size"]
            build = backbones.BUILDERS[name]
            made = build(image_size=size) if name.startswith("vit") else build((size, size, 3))
            return made, self.given["subject"] or "random", 0
        path = own if file in (None, "random") else pathlib.Path(file)
        if not path.is_file():
            raise UsageError(f"`--backbone` must be a .keras file. Received: {path}")
        loaded = backbones.load(path, verbose=False)
        self.normalization = backbones.normalization_of(loaded)
        if self.normalization is not None and (given := [n for n in ("mean", "std") if self.given[n]]):
            raise UsageError(
                f"`--{given[0]}` cannot be given for a backbone that normalises images itself. "
                f"Received: {path}, with mean {self.normalization[0]} and std {self.normalization[1]}"
            )
        # one place normalises, the views: features are those of the backbone as it was trained
        loaded = backbones.without_normalization(loaded)
        if file == "random":
            return copy_of(loaded, weights=False), self.given["subject"] or "random", 0
        subject, epoch = ("pretrained", epochs) if path == own else (path.stem, None)
        return loaded, self.given["subject"] or subject, epoch

    # === Data ===

    def sources(self):
        """Training and test images with labels."""
        from keras_leoclr.evaluation import data_identity

        if self._sources is None:
            if not self.dataset:
                raise UsageError("`--dataset` must name a data set, a folder or a file. Received: none")
            self._sources = [self._part(self.load(self.dataset, s, self.data_dir)) for s in self.splits]
            for source, split in zip(self._sources, self.splits, strict=True):
                self.identities.append(data_identity(source, self.dataset, split))
        return self._sources

    def _part(self, source):
        import numpy as np

        from keras_leoclr.evaluation.batches import rows_of

        most = self.given["max_images"] or self.recipe.get("max_images", 0)
        count = int(source.cardinality())
        return source if not most or 0 <= count <= most else rows_of(source, np.arange(most))

    def sets(self):
        """Training features and labels, test features and labels."""
        from keras_leoclr import data, evaluation

        if self._sets is not None:
            return self._sets
        self._sets, batches = [], []
        for source, split, identity in zip(self.sources(), self.splits, self.identities, strict=True):
            identity = identity | {"size": self.views.image_size}
            identity |= {name: list(getattr(self.views.key_view, name)) for name in ("mean", "std")}
            part = data.image_batches(source, self.views, self.given["batch_size"])
            batches.append(part)
            self._say(f"Features of {self.dataset}, {split}")
            self._sets += evaluation.extract_features(
                self.backbone,
                part,
                self.given["verbose"],
                self.workdir / "features" if self.given["cache"] else None,
                identity,
                self.given["precision"],
            )
        if self.given["check_shared"]:
            self.shared = evaluation.shared_images(*batches)
        if self.shared:
            warnings.warn(
                f"{self.shared} of {len(self._sets[3])} test images are in the training set too, pixel by "
                "pixel: accuracies are too high.",
                stacklevel=2,
            )
        return self._sets

    # === Evaluators ===

    def scores(self, what: str) -> Iterator:
        """What the evaluator yields."""
        from keras_leoclr import evaluation

        given, views = self.given, self.views
        ks = _numbers("k", given["k"], int)
        vote = {"k": ks[min(1, len(ks) - 1)], "temperature": given["temperature"]}
        common = {"seed": given["seed"]}
        images = common | {"batch_size": given["batch_size"], "verbose": given["verbose"]}
        if what == "knn":
            options = {"temperature": given["temperature"], "leave_one_out": given["leave_one_out"]}
            return evaluation.KNN(*self.sets(), k=ks, **options).run()
        if what == "linear":
            return evaluation.Linear(*self.sets(), **common).run()
        if what == "few":
            options = {"per_class": given["per_class"], "draws": given["draws"]}
            return evaluation.FewLabels(*self.sets(), **options, **common).run()
        if what == "quality":
            sets = self.sets()[:2]
            return evaluation.Quality(self.backbone, *sets, self.sources()[1], views, **vote, **common).run()
        if what == "retrieval":
            if given["crop_scales"]:
                images["crop_scales"] = _numbers("crop_scales", given["crop_scales"])
            return evaluation.Retrieval(self.backbone, self.sources()[1], views, **images).run()
        if what == "embedding":
            options = {"images": given["map_images"], "projection": given["projection"], **vote, **common}
            return evaluation.Embedding(self.backbone, *self.sources(), views, **options).run()
        if what == "robustness":
            sets, options = self.sets()[:2], {"changes": given["changes"] or None, **vote, **images}
            return evaluation.Robustness(self.backbone, *sets, self.sources()[1], views, **options).run()
        if what == "linear_paper":
            options = {"learning_rates": _numbers("learning_rates", given["learning_rates"])}
            options |= {"epochs": given["epochs"] or 100, **images}
            return evaluation.LinearProbe(self.backbone, *self.sources(), views, **options).run()
        return self._finetune() if what == "finetune" else self._transfer(images)

    def _finetune(self):
        from keras_leoclr import evaluation
        from keras_leoclr.evaluation.finetune import published_list

        given, (train, test) = self.given, self.sources()
        fraction = given["fraction"]
        published = published_list(self.dataset, fraction)
        if published:
            train, fraction = self.load(published, "train", self.data_dir), 1.0
        options = {name: given[name] for name in ("backbone_rate", "head_rate", "batch_size", "verbose")}
        options |= {"seeds": _numbers("seeds", given["seeds"], int), "epochs": given["epochs"] or 20}
        runs = evaluation.Finetune(self.backbone, train, test, self.views, fraction, **options).run()
        for score in runs:
            if published:
                score.protocol |= {"fraction": given["fraction"], "labels_from": published}
            yield score

    def _transfer(self, images):
        from keras_leoclr import evaluation

        known = evaluation.TARGETS
        names = self.given["targets"] or list(known)
        targets = [known.get(name) or evaluation.Target(name) for name in names]
        cache = self.workdir / "features" if self.given["cache"] else None
        suite = evaluation.Transfer(self.backbone, self.views, targets, self.data_dir, cache=cache, **images)
        yield from suite.run()
        for name, why in suite.missing.items():
            print(f"{name} is left out: {why}", file=sys.stderr)

    def write(self, what: str) -> None:
        """Runs one evaluator, prints and writes its scores."""
        import keras

        from keras_leoclr.evaluation import write_scores

        if what != "transfer":
            self.sources()
        scores = self.scores(what)
        self.workdir.mkdir(parents=True, exist_ok=True)
        protocol = {"subject": self.subject, "epoch": self.epoch, "backend": keras.backend.backend()}
        protocol |= {"features": "backbone", "image_size": self.views.image_size}
        if what != "transfer":
            protocol |= {"dataset": self.dataset}
            protocol |= {"train_split": self.splits[0], "test_split": self.splits[1]}
            protocol |= {
                f"{one}_images": i["count"] for one, i in zip(("train", "test"), self.identities, strict=True)
            }
            protocol |= {"test_content": self.identities[1].get("content")}
            protocol |= {} if self.shared is None else {"shared_images": self.shared}
        before = len(self.results.read())
        write_scores((self._shown(score) for score in scores), self.results, **protocol)
        if self.given["json"]:
            for line in self.results.read()[before:]:
                print(json.dumps(line))
        if (self.workdir / "backbone.json").is_file():
            from keras_leoclr import model_card

            model_card.write(self.workdir)

    def _shown(self, score):
        low, high = score.interval or (None, None)
        how = [f"{key} {score.protocol[key]}" for key in _SHOWN if key in score.protocol]
        spread = "" if low is None else f"  ({low:.4f} to {high:.4f})"
        self._say(f"{score.name:28}{score.value:8.4f}{spread}  {', '.join(how)}".rstrip())
        return score

    def _say(self, text):
        if self.given["verbose"]:
            print(text, flush=True)


_SHOWN = ("k", "crop_scale", "change", "strength", "class", "metric", "seed", "weight_decay", "learning_rate")


COMMAND = Command(
    name="evaluate",
    arguments="WHAT --workdir DIR",
    summary="judge a backbone",
    text=TEXT,
    run=_run,
    flags=FLAGS,
    takes=f"one of {', '.join((*EVALUATORS, 'all'))}",
    count=ONE,
)
