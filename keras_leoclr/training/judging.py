"""How a run evaluates its backbones, before and after training, for its table and its report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import keras

from keras_leoclr import distribution
from keras_leoclr.backbones.copying import copy_of
from keras_leoclr.evaluation.measures import USUAL_K, is_usual
from keras_leoclr.evaluation.own_results import own_results
from keras_leoclr.evaluation.suite import Suite
from keras_leoclr.evaluation.suite_options import SuiteOptions
from keras_leoclr.runs.folder import DRAWN, IN_PYTHON
from keras_leoclr.runs.results import Results
from keras_leoclr.training.recipe import Recipe
from keras_leoclr.training.sources import RunSources
from keras_leoclr.views.preprocessing import Preprocessing

CURVE_KEYS = {"class", "crop_scale", "change"}  # A line with one of these is one of several with its name.
MOST_PIXELS = 1 << 30  # bytes of all images as raw pixels; more than these are not evaluated
QUALITY_IMAGES = 10_000
CURVE_TRAIN_IMAGES = 2_500
BEFORE_TRAINING = ("raw pixels", "random", "before")  # subjects that are evaluated before training
CURVES = ("random_crop", "occlusion", "gaussian_noise", "gaussian_blur")


class Judge:
    """Evaluates backbones on the images of a run; `leoclr evaluate` measures more, and on all images.

    Args:
        recipe: the settings of the run.
        sources: the images of the run.
        preprocessing: size, mean and deviation of the images that the backbone takes.
        results: file that the scores are written to.
        say: function that prints a line.
    """

    def __init__(
        self,
        recipe: Recipe,
        sources: RunSources,
        preprocessing: Preprocessing,
        results: Results,
        say: Callable[[str], None],
    ):
        self.recipe, self.sources, self.preprocessing = recipe, sources, preprocessing
        self.results, self.say = results, say
        self.options = SuiteOptions(
            k=(USUAL_K,),
            fewer_per_class=True,
            draws=recipe.few_label_draws,
            map_images=recipe.map_images,
            changes=CURVES,
            quality_images=QUALITY_IMAGES,
            curve_images=recipe.curve_images,
            curve_train_images=CURVE_TRAIN_IMAGES,
            sample_seed=recipe.seed,
            check_shared=False,
            check_content=recipe.dataset == IN_PYTHON,  # Nothing else tells these images from others.
        )

    def before_training(self, backbone: keras.Model) -> None:
        """Evaluates the baselines: raw pixels, and the backbone before its training.

        If the training begins with weights of a file, these are evaluated as "before", beside the same
        network with random weights.

        Args:
            backbone: the backbone with its initial weights.
        """
        if not self.recipe.evaluate:
            return
        self.say("Before training: raw pixels and the randomly initialised backbone")
        size = sum(source.count for source in (self.sources.labelled, self.sources.test) if source.count)
        size *= self.recipe.image_size**2 * 3 * 4
        if size > MOST_PIXELS:
            self.say(f"Raw pixels are left out: they are {size / 2**30:.1f} GiB, more than 1.")
        else:
            self._run("raw pixels", None, 0, ["knn", "linear", "few"])
        if not self.recipe.initial_weights:
            self._run("random", backbone, 0, self._names())
            return
        with distribution.on_one_device(backbone) as alone:
            self._run("random", copy_of(alone, weights=False), 0, self._names())
        self.say("And the backbone with the weights that it begins with")
        self._run("before", backbone, 0, self._names())

    def forget_before_training(self) -> None:
        """Deletes the results of `before_training` because they were measured on other images."""
        lines = self.results.read()
        self.results.replace([line for line in lines if line.get("subject") not in BEFORE_TRAINING])

    def after_training(
        self, backbone: keras.Model, epochs: int, part: Callable[[str, str], AbstractContextManager[None]]
    ) -> None:
        """Evaluates the pretrained backbone; if the recipe has no evaluation, only a map of images is made.

        Args:
            backbone: the pretrained backbone.
            epochs: number of epochs it was trained for; a callback of the user may have ended training early.
            part: function `(name, flags)` that returns the context of an evaluation, see `Ending.part`.
        """
        split = self.recipe.train_split
        if self.recipe.evaluate:
            self.say("\nAfter training: the pretrained backbone")
            suite = self._judging("pretrained", backbone, epochs)
            for name in self._names():
                with part(name, ""):
                    suite.run([name])
        elif self.recipe.map_images and _can_be_a_map(self.sources.train):
            about = self._about("pretrained", epochs, split, split)
            with part("embedding", f"--test_split {split}"):
                self._suite(backbone, self.sources.train, None, about).run(["embedding"])

    def _names(self) -> list[str]:
        mapped = ["embedding"] if self.recipe.map_images and _can_be_a_map(self.sources.test) else []
        curves = ["retrieval", "robustness"] if self.recipe.curve_images else []
        return ["knn", "linear", "few", *mapped, "quality", *curves]

    def _run(self, subject: str, backbone: keras.Model | None, epoch: int, names: Sequence[str]) -> None:
        self._judging(subject, backbone, epoch).run(names)

    def _judging(self, subject: str, backbone: keras.Model | None, epoch: int) -> Suite:
        about = self._about(subject, epoch, self.recipe.labelled_split, self.recipe.test_split)
        return self._suite(backbone, self.sources.labelled, self.sources.test, about)

    def _about(self, subject: str, epoch: int, train_split: str, test_split: str) -> dict[str, Any]:
        about = {"subject": subject, "dataset": self.recipe.dataset, "train_split": train_split}
        about |= {"epoch": epoch, "test_split": test_split}
        if self.recipe.max_images and self.sources.drawn:
            about["test_part"] = DRAWN  # Older runs used the first images instead of drawn ones.
        return about

    def _suite(self, backbone: keras.Model | None, train: Any, test: Any, about: dict[str, Any]) -> Suite:
        return Suite(backbone, train, test, self.preprocessing, self.results, about, self.options)


def _can_be_a_map(source: Any) -> bool:
    return source.count is not None and source.count >= 3


def final_scores(results: Results, recipe: Mapping[str, Any]) -> dict[str, float]:
    """The results of the evaluations of a run on its test images, `{"pretrained/linear/top1": 0.8, ...}`.

    Of several results with the same name, the last one counts; of kNN, the last one of 20 neighbours, if they
    were measured, as in tables and in the report. Damaged lines are left out, as there.

    Args:
        results: the results of the run.
        recipe: the settings of the run, which tell its test images from others, see `own_results.judged_on`.
    """
    own = own_results(recipe, results.read([]))
    lines = [line for line in own if "subject" in line and not CURVE_KEYS & line.keys()]
    lines.sort(key=is_usual)  # The sort is stable.
    return {f"{line['subject']}/{line['name']}": line["value"] for line in lines}
