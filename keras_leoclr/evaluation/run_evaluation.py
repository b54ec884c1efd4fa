"""Evaluates the backbone of a run's folder on the run's data, unless other ones are named."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from typing import Any, NamedTuple

import keras

from keras_leoclr import backbones, data, wording
from keras_leoclr.backbones.copying import copy_of
from keras_leoclr.backbones.known_numbers import image_numbers
from keras_leoclr.checks import check_value_range
from keras_leoclr.data.given import GivenImages
from keras_leoclr.data.parts import part_of
from keras_leoclr.data.splits import SET_ASIDE, SplitError
from keras_leoclr.evaluation.suite import Suite
from keras_leoclr.evaluation.suite_options import SuiteOptions
from keras_leoclr.runs.folder import DRAWN, IN_PYTHON, RunFolder, draws_parts, work_folder
from keras_leoclr.views.preprocessing import Preprocessing
from keras_leoclr.views.settings import IMAGENET_MEAN, IMAGENET_STD

RANDOM = "random"


class SettingError(ValueError):
    """A setting of a `RunEvaluation` is missing or cannot be used."""


class Subject(NamedTuple):
    """A backbone to be judged.

    Attributes:
        backbone: the model; it takes normalised images.
        name: its name in the results.
        epoch: epoch after which it was saved; None if that is not known.
        normalization: mean and deviation that its file normalises images with; None if it does not.
    """

    backbone: keras.Model
    name: str
    epoch: int | None
    normalization: tuple[Any, Any] | None = None


@dataclasses.dataclass(frozen=True)
class RunEvaluation:
    """Which backbone is judged, and on which images. Settings that are None are taken from the run's recipe.

    Attributes:
        workdir: folder of a run, or an empty folder that only gets the results.
        backbone: path of a .keras file, or a Keras model, or "random" for new weights of the folder's
            backbone or of `architecture`. None takes the backbone of the folder.
        architecture: name such as "resnet18", for new weights in a folder without a backbone.
        subject: name of the backbone in the results; None takes "pretrained", "random" or the file's name.
        dataset: name or path of the data, see `data.load`.
        data_dir: folder where TensorFlow Datasets keeps its files.
        train_split: split that classifiers are fitted to.
        test_split: split that they are judged on.
        max_images: number of images of each split that are drawn and used (see `part_of`); 0 takes as many as
            the recipe says. In a run that version 0.1.0 began, the first images are used instead.
        image_size: side of the images in pixels; None takes that of the backbone.
        mean: mean of each channel, with pixels in [0, 1].
        std: standard deviation of each channel, with pixels in [0, 1].
        value_range: the two values that become 0 and 255, see `data.load`. None takes those of the run that
            the file of the backbone lies in; for a backbone from elsewhere, those of the recipe.
        run: folder of the run whose backbone, data and recipe are taken, if it is not `workdir`.
        images: the images, if they are given as objects; `dataset` is then not needed.

    Example:
        ```python
        RunEvaluation("run").suite(SuiteOptions(k=(20,))).run(["knn", "linear"])
        ```
    """

    workdir: str | os.PathLike
    backbone: str | os.PathLike | keras.Model | None = None
    architecture: str = ""
    subject: str | None = None
    dataset: str | os.PathLike | None = None
    data_dir: str | os.PathLike | None = None
    train_split: str | None = None
    test_split: str | None = None
    max_images: int = 0
    image_size: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    value_range: tuple[float, ...] | None = None
    run: str | os.PathLike | None = None
    images: GivenImages | None = None

    def suite(
        self,
        options: SuiteOptions | None = None,
        images: bool = True,
        cache: bool = True,
        verbose: bool = False,
    ) -> Suite:
        """The suite that writes to the results of the folder.

        Args:
            options: settings of the evaluators; the defaults of `SuiteOptions` if None.
            images: whether data are loaded, true by default; the evaluator transfer alone does not need them.
            cache: whether features are kept in the folder; true by default.
            verbose: whether to print scores and show progress; false by default.

        Raises:
            SettingError: if a setting is missing or cannot be used.
        """
        folder, options = RunFolder(work_folder(self.workdir)), options or SuiteOptions()
        run = folder if self.run is None else RunFolder(self.run)
        recipe = run.recipe()
        keras.utils.set_random_seed(options.seed)
        subject = self._subject(run, recipe)
        beside = self._recipe_beside(recipe)
        preprocessing = self._preprocessing(subject, beside)
        about = {"subject": subject.name, "epoch": subject.epoch, "backend": keras.backend.backend()}
        about["image_size"] = preprocessing.image_size
        data_dir = self._setting("data_dir", recipe, None)
        sources = [None, None]
        if images:
            about |= self._data(recipe)
            most = self.max_images or recipe.get("max_images", 0)
            drawn = bool(self.dataset or self.images) or not run.holds_run or draws_parts(run)
            if most and drawn:
                about["test_part"] = DRAWN
            splits = [about["train_split"], about["test_split"]]
            reading = self._reading(recipe, beside, preprocessing.channels)
            if self.value_range is not None:
                about["value_range"] = list(reading["value_range"])
            if self._lacks_test_split(recipe, about, data_dir, reading):
                splits.pop()
                about["test_split"] = about["train_split"]  # Without a test set, these images are judged.
            for number, split in enumerate(splits):
                source = sources[number] = self._loaded(about, split, data_dir, reading)
                if most and drawn:
                    sources[number] = part_of(source, most)
                elif most:
                    sources[number] = source.take(most)
        return Suite(
            subject.backbone,
            *sources,
            preprocessing,
            folder.results,
            about,
            options,
            cache=folder.features if cache else None,
            data_dir=data_dir,
            verbose=verbose,
        )

    def _loaded(self, about, split, data_dir, reading):
        try:
            if self.images is None:
                return data.load(about["dataset"], split, data_dir, **reading)
            return self.images.load(split, **reading)
        except SplitError as error:
            if self.test_split is not None or split != about["test_split"]:
                raise
            raise SplitError(
                f"`test_split` must name pictures to judge on, such as {wording.settings(**SET_ASIDE)} where "
                f"there is a single split. Received: test_split={split!r}. {error}"
            ) from error

    def _setting(self, name, recipe, default):
        own = getattr(self, name)
        return recipe.get(name, default) if own is None else own

    def _data(self, recipe):
        dataset = self._setting("dataset", recipe, None) if self.images is None else IN_PYTHON
        if dataset == IN_PYTHON and self.images is None:
            raise SettingError(
                "`dataset` must name the images: those of the run were given as objects in Python, as which "
                "`kl.evaluate(run, data)` takes them. "
                f"Received: none, and a run on {dataset!r}"
            )
        if not dataset:
            raise SettingError("`dataset` must name a data set, a folder or a file. Received: none")
        if isinstance(dataset, os.PathLike):
            dataset = os.fspath(dataset)  # Results are written as JSON, which holds no paths.
        labelled = recipe.get("probe_split") or recipe.get("train_split", "train")
        splits = {"train_split": self.train_split or labelled}
        return {"dataset": dataset, **splits, "test_split": self._setting("test_split", recipe, "test")}

    def _recipe_beside(self, recipe) -> dict[str, Any]:
        """The recipe of the run that the file of the backbone lies in; `recipe` if it lies in none.

        If the file itself names mean and deviation, they take the place of those of the recipe.
        """
        if self.backbone in (None, RANDOM) or isinstance(self.backbone, keras.Model):
            return recipe
        beside = RunFolder.around(self.backbone).recipe() or recipe
        known = image_numbers(self.backbone)
        return beside | dict(zip(("mean", "std"), known or (), strict=False))

    def _reading(self, recipe, beside, channels) -> dict[str, Any]:
        """How the run treated pictures that cannot be read, and their values, as arguments of `load`."""
        reading = {name: recipe[name] for name in ("on_error", "max_failures") if name in recipe}
        value_range = check_value_range(self._setting("value_range", beside, ()))
        return reading | {"value_range": value_range, "channels": channels}

    def _lacks_test_split(self, recipe, about, data_dir, reading) -> bool:
        """Whether the data lack the test split that the recipe of a run names, and the run was not judged."""
        if self.test_split or self.dataset or self.images or recipe.get("evaluate", True):
            return False
        try:
            data.load(about["dataset"], about["test_split"], data_dir, progress=False, **reading)
        except SplitError:
            return True
        return False

    def _preprocessing(self, subject, recipe):
        size = self.image_size or subject.backbone.input_shape[1] or recipe.get("image_size")
        if not size:
            raise SettingError("`image_size` must be given for a backbone of any size. Received: none")
        if subject.normalization is not None:
            return Preprocessing.of_recipe(recipe, size, *subject.normalization)
        mean = self._setting("mean", recipe, IMAGENET_MEAN)
        std = self._setting("std", recipe, IMAGENET_STD)
        preprocessing = Preprocessing.of_recipe(recipe, size, mean, std)
        if preprocessing.channels != subject.backbone.input_shape[-1]:
            raise SettingError(
                "`mean` must have one number for each channel of the backbone's images, "
                f"{subject.backbone.input_shape[-1]}. Received: mean={preprocessing.mean}"
            )
        return preprocessing

    def _subject(self, folder, recipe) -> Subject:
        own = folder.backbone_file
        if isinstance(self.backbone, keras.Model):
            return self._of_model(self.backbone)
        if self.backbone == RANDOM and not own.is_file():
            return Subject(self._new_backbone(), self.subject or RANDOM, 0)
        path = own if self.backbone in (None, RANDOM) else pathlib.Path(self.backbone).expanduser()
        if not path.is_file():
            raise SettingError(f"`backbone` must be a .keras file. Received: {path}")
        loaded = backbones.load(path, verbose=False)
        normalization = backbones.normalization_of(loaded)
        if normalization is not None and (
            given := [n for n in ("mean", "std") if getattr(self, n) is not None]
        ):
            raise SettingError(
                f"`{given[0]}` cannot be given for a backbone that normalises images itself. "
                f"Received: {path}, with mean {normalization[0]} and std {normalization[1]}"
            )
        # Only the preprocessing normalises, so that features are those of the backbone as it was trained.
        loaded = backbones.without_normalization(loaded)
        if self.backbone == RANDOM:
            return Subject(copy_of(loaded, weights=False), self.subject or RANDOM, 0, normalization)
        epochs = folder.about().get("epochs_done", recipe.get("epochs"))
        name, epoch = ("pretrained", epochs) if path == own else (path.stem, None)
        return Subject(loaded, self.subject or name, epoch, normalization)

    def _of_model(self, model) -> Subject:
        model = getattr(model, "backbone", model)  # A LeOCLR model is judged by its backbone.
        plain = backbones.without_normalization(model)
        return Subject(plain, self.subject or model.name, None, backbones.normalization_of(model))

    def _new_backbone(self):
        name, size = self.architecture, self.image_size
        if name not in backbones.BUILDERS or not size:
            raise SettingError(
                '`backbone` "random" needs a backbone.keras in the folder, or `image_size` and '
                f"`architecture`, one of {', '.join(backbones.BUILDERS)}. Received: {name!r}"
            )
        build = backbones.BUILDERS[name]
        return build(image_size=size) if name.startswith("vit") else build((size, size, 3))
