"""The pictures of a search for settings: a sample to train on, and pictures that are held out of it."""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_leoclr.data.given import GivenImages, named
from keras_leoclr.data.parts import SEED, has_label, part_of
from keras_leoclr.runs.files import whole_file
from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.training.recipe import Recipe
from keras_leoclr.training.sources import open_split
from keras_leoclr.training.study_checks import alone_in

if TYPE_CHECKING:
    from keras_leoclr.data.source import Source

MOST = 5000  # training pictures that the search uses, unless `max_images` says otherwise
MOST_HELD_OUT = 1000
PLAN = "plan.json"  # what a search began with
PICTURES = "pictures.npz"  # arrays that a search was given
LEAST = 20  # pictures with which it is possible to hold some out


@contextlib.contextmanager
def in_a_file(data: Any, workdir: pathlib.Path) -> Iterator[tuple[str, bool]]:
    """Makes the pictures of a search readable for its processes: arrays are written to a file.

    Where arrays are written, no other process can search in the folder within the block, and replace them.

    Args:
        data: the pictures, see `kl.tune`.
        workdir: folder of the search.

    Yields:
        The name or path under which `kl.data.load` reads the pictures, and whether the block holds the lock
        of the folder.

    Raises:
        ValueError: if the pictures are objects other than arrays, or the folder has a search of other arrays.
        RunInProgressError: if another process searches in the folder.
    """
    dataset, images = named(data)
    if images is None:
        yield dataset, False
        return
    if images.arrays is None:
        raise ValueError(
            "`data` of `tune` must be a name, a path, a list of paths or a dictionary of arrays: each run is "
            "a process of its own, which reads the pictures anew. "
            f"Received: {', '.join(images.sources)} as objects"
        )
    with alone_in(RunFolder(workdir)):
        yield _written({name: np.asarray(array) for name, array in images.arrays.items()}, workdir), True


def _written(arrays: dict[str, np.ndarray], workdir: pathlib.Path) -> str:
    path = workdir / PICTURES
    if path.is_file() and (workdir / PLAN).is_file():
        with np.load(path, allow_pickle=False) as before:
            same = {*before} == {*arrays} and all(np.array_equal(before[n], arrays[n]) for n in arrays)
        if not same:
            raise ValueError(
                "`workdir` holds a search with other arrays; another folder starts a new one. "
                f"Received: workdir={os.fspath(workdir)!r}, whose {PICTURES} is not what `data` has"
            )
        return os.fspath(path)
    with whole_file(path) as file:
        np.savez(file, **arrays)
    return os.fspath(path)


def parts_of(recipe: Recipe) -> GivenImages:
    """The pictures of a search, which are the same in each of its processes.

    Nothing comes from the test split. Four fifths of the sample are trained on, and the rest, at most 1,000
    pictures, is held out. If the recipe takes its labels from another split (`probe_split`), the pictures
    with labels are divided in this way, and all of the sample is trained on.

    Args:
        recipe: the settings.

    Returns:
        Images with the splits "train"; "labelled", whose labels classifiers are fitted to; and "held_out".
        Pictures without labels have the label -1 in the last two.

    Raises:
        ValueError: if there are too few pictures.
    """
    train = _sample(recipe, recipe.train_split)
    if recipe.probe_split:
        labelled, held_out = _divided(_sample(recipe, recipe.probe_split), recipe)
    else:
        train, held_out = _divided(train, recipe)
        labelled = train
    judged = {"labelled": _with_label(labelled), "held_out": _with_label(held_out)}
    return GivenImages({"train": train, **judged})


def can_be_judged_by_labels(images: GivenImages) -> bool:
    """Whether pictures of at least two classes have labels, in both parts that labels are needed of."""
    for split in ("labelled", "held_out"):
        labels = images.load(split).read_labels()
        found = labels if labels.ndim == 2 else labels[has_label(labels)]
        if not len(found) or not (found.any() if labels.ndim == 2 else len(np.unique(found)) > 1):
            return False
    return True


def _sample(recipe: Recipe, split: str) -> Source:
    return part_of(open_split(recipe, split), recipe.max_images or MOST)


def _divided(source: Source, recipe: Recipe) -> tuple[Source, Source]:
    """Divides a sample into the pictures that are used and those that are held out."""
    count = source.count
    if count is None or count < LEAST:
        raise ValueError(
            f"`dataset` must hold {LEAST} pictures or more, and their number must be known, so that some can "
            f"be held out. Received: dataset={recipe.dataset!r}, "
            f"{'a stream of unknown length' if count is None else f'{count} pictures'}"
        )
    if source.images is None and source.pick is None and source.mixed:  # Its order is random already.
        held = min(MOST_HELD_OUT, count // 5)
        return source.skip(held), source.take(held)
    rows = np.random.default_rng(SEED).permutation(count)
    known = np.ones(count, bool) if source.labels is None else has_label(source.labels)
    able = rows[known[rows]] if known.any() else rows  # Pictures without a label cannot be judged.
    held = able[: max(1, min(MOST_HELD_OUT, len(able) // 5))]
    return source.subset(np.setdiff1d(np.arange(count), held)), source.subset(held)


def _with_label(source: Source) -> Any:
    from keras_leoclr.data.source_arguments import with_unknown_labels

    return with_unknown_labels(source)
