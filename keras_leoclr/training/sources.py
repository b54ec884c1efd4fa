"""The images of a run: the source for each purpose, and batches of views of the training images."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from keras_leoclr import data
from keras_leoclr.data.parts import part_of, two_parts
from keras_leoclr.training.recipe import Recipe, knn_sizes

if TYPE_CHECKING:
    from keras_leoclr.data.extent import Extent
    from keras_leoclr.data.given import GivenImages
    from keras_leoclr.data.source import Source
    from keras_leoclr.distribution.devices import Devices


def open_split(
    recipe: Recipe, split: str, images: GivenImages | None = None, extent: Extent | None = None
) -> Source:
    """Opens all images of a split.

    Args:
        recipe: the settings.
        split: name of the split, as `data.load` takes it.
        images: the images, if they are given as objects.
        extent: notes the values of the images, which are not those of the recipe's range then.
    """
    reading = {"on_error": recipe.on_error, "max_failures": recipe.max_failures}
    reading |= {"channels": recipe.channels, "value_range": extent or recipe.value_range}
    if images is not None:
        source = images.load(split, **reading)
    else:
        source = data.load(recipe.dataset, split, recipe.data_dir, **reading)
    found = source.image_shape[-1]
    if found not in (None, recipe.channels, 1 if recipe.channels == 3 else recipe.channels):
        raise ValueError(
            "`channels` must be as many as the images have. "
            f"Received: channels={recipe.channels}, images of {found} channels"
        )
    return source


def load_split(recipe: Recipe, split: str, drawn: bool = True, images: GivenImages | None = None) -> Source:
    """Opens the images of a split, as many of them as the recipe uses.

    Args:
        recipe: the settings.
        split: name of the split, as `data.load` takes it.
        drawn: see `RunSources`.
        images: see `open_split`.
    """
    source = open_split(recipe, split, images)
    if not recipe.max_images:
        return source
    return part_of(source, recipe.max_images) if drawn else source.take(recipe.max_images)


@dataclasses.dataclass(frozen=True)
class RunSources:
    """The images of a run.

    Attributes:
        train: the images that are trained on.
        labelled: the images whose labels the kNN measurement and the probes use; often those of `train`.
        test: the images of the final evaluation; None without one.
        knn: how many of `labelled` vote in the kNN measurement, and how many others are classified; None
            if kNN is not measured.
        drawn: whether a part of the images is drawn at random, so that it represents all of them. Otherwise
            it consists of the first images, as in runs of version 0.1.0.
    """

    train: Source
    labelled: Source
    test: Source | None
    knn: tuple[int, int] | None
    drawn: bool = True

    @classmethod
    def load(
        cls,
        recipe: Recipe,
        look: Callable[[dict[str, Source]], bool] | None = None,
        drawn: bool = True,
        images: GivenImages | None = None,
    ) -> RunSources:
        """Opens the images that a recipe names.

        Args:
            recipe: the settings.
            look: function that is called with the sources by split before they are checked against the
                recipe, so that changes of the images are reported first. It returns whether the recipe was
                made for other images; if so, a kNN measurement that needs more images than there are is
                reduced.
            drawn: see the attribute.
            images: see `open_split`.

        Raises:
            ValueError, FileNotFoundError: if there are no such images, or the recipe cannot use them.
        """
        train = load_split(recipe, recipe.train_split, drawn, images)
        labelled = load_split(recipe, recipe.probe_split, drawn, images) if recipe.probe_split else train
        if recipe.evaluate and not labelled.labelled:
            raise ValueError(
                "`probe_split` must name a split with labels, or `evaluate` be off (`--noevaluate`). "
                f"Received: dataset={recipe.dataset!r}, whose split {recipe.labelled_split!r} has no labels"
            )
        test = load_split(recipe, recipe.test_split, drawn, images) if recipe.evaluate else None
        sources = cls(train=train, labelled=labelled, test=test, knn=None, drawn=drawn)
        others = look is not None and look(sources.by_split(recipe))
        if not (recipe.knn_every and labelled.labelled):
            return sources
        count = -1 if labelled.count is None else labelled.count
        if others and 0 <= count < recipe.knn_bank + recipe.knn_queries:
            recipe = dataclasses.replace(recipe, knn_bank=0, knn_queries=0)
        return dataclasses.replace(sources, knn=knn_sizes(recipe, count))

    def knn_parts(self, seed: int) -> tuple[Source, Source]:
        """The images that vote in the kNN measurement, and those that are classified; see `two_parts`.

        Args:
            seed: seed of the draw.
        """
        voting, classified = self.knn
        if self.drawn:
            return two_parts(self.labelled, voting, classified, seed)
        return self.labelled.take(voting), self.labelled.skip(voting).take(classified)

    def by_split(self, recipe: Recipe) -> dict[str, Source]:
        """The sources by the name of their split."""
        used = {recipe.train_split: self.train, recipe.labelled_split: self.labelled}
        return used if self.test is None else used | {recipe.test_split: self.test}


class ViewBatches:
    """Batches of views of the training images, starting at any step of any epoch.

    Args:
        recipe: the settings.
        source: the training images.
        views: layer that makes the views of a batch.
        devices: devices that the training is distributed over.
        views_on: "host" (the default), or "device" if the model makes the views.

    Attributes:
        waiting: measures how long the training waits for batches.
        views_of_model: layer that makes the views within the training step; None if the host makes them.
        canvas: see `data.view_dataset`.
        steps: number of batches of an epoch.

    Raises:
        ValueError: if the number of images is not known.
    """

    def __init__(self, recipe: Recipe, source: Source, views: Any, devices: Devices, views_on: str = "host"):
        self.recipe, self.source, self.views, self.devices = recipe, source, views, devices
        self.views_on = views_on
        self.views_of_model = views if views_on == "device" else None
        self.canvas = (recipe.canvas or None) if views_on == "device" else None
        self.waiting = data.Waiting()
        self.at = functools.cache(self._at)  # Counting the steps and starting the run share one data set.
        self.steps = int(self.at(0, 0).cardinality())
        if self.steps < 0:
            raise ValueError(
                f"`dataset` must have a known number of images. Received: dataset={recipe.dataset!r}, "
                "a stream of unknown length; TFRecord files without compression and folders have one"
            )

    def bytes_to_device(self) -> str:
        """Says how many bytes a batch brings to a device that makes the views; empty if the host does."""
        if self.views_on == "host":
            return ""
        height, width, channels = self.at(0, 0).element_spec["image"].shape[1:]
        of_views = 4 * self.views.image_size**2 * self.views.channels * (1 + self.views.num_key_views)
        of_canvas = height * width * channels
        size = self.recipe.batch_size * of_canvas / 1e6
        text = (
            f" A batch has {size:,.1f} MB on a canvas of {height} x {width} pixels, "
            f"{of_views / of_canvas:.1f} times less than its views."
        )
        if of_canvas * 8 > of_views and min(height, width) > 256:
            text += " A smaller canvas, such as --canvas 256,256, costs detail in the small crops."
        return text

    def _at(self, epoch: int, batch: int) -> Any:
        """A tf.data data set of all batches from a batch of an epoch on, both counted from 0."""
        recipe, devices = self.recipe, self.devices
        dataset = data.view_dataset(
            self.source,
            self.views,
            recipe.batch_size,
            seed=recipe.seed,
            shuffle_buffer=recipe.shuffle_buffer or None,
            # Keys are permuted among the parts of a batch, on this worker, that have their own statistics.
            permute_keys=recipe.bn_groups * devices.replicas > devices.workers,
            shard=devices.shard,
            initial_epoch=epoch,
            initial_batch=batch,
            views_on=self.views_on,
            canvas=self.canvas,
        )
        return self.waiting.watch(dataset)
