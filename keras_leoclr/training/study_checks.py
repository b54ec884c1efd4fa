"""What is checked before a study trains anything, so that hours of training do not end in an error."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

from keras_leoclr import wording
from keras_leoclr.backbones.names import library_of
from keras_leoclr.data.splits import SET_ASIDE, SplitError
from keras_leoclr.evaluation.suite_options import ON_LABELS, WITHOUT_TEST
from keras_leoclr.runs.files import Lock, LockHeldError
from keras_leoclr.runs.folder import RunFolder, draws_parts
from keras_leoclr.training.recipe import Recipe

SHOWN = 3  # number of runs that a message names


def check_folder(folder: RunFolder) -> None:
    """Raises a ValueError if the folder of a study is that of a run, whose results are in the same file."""
    if folder.holds_run:
        raise ValueError(
            "`workdir` must not be the folder of a run: the results of a study lie in the same file. "
            f"Received: workdir={str(folder.path)!r}"
        )


@contextlib.contextmanager
def alone_in(folder: RunFolder) -> Iterator[None]:
    """Holds the lock of a folder of studies, so that no second process trains the same runs.

    Raises:
        RunInProgressError: if another process holds it.
    """
    folder.path.mkdir(parents=True, exist_ok=True)
    lock = Lock(folder.lock_file)
    try:
        lock.take()
    except LockHeldError as error:
        from keras_leoclr.training.session import RunInProgressError

        raise RunInProgressError(
            errno.EWOULDBLOCK,
            f"`workdir` is in use by {error.holder}, for another study or search; wait for its end or choose "
            "another folder",
            str(folder.path),
        ) from error
    try:
        yield
    finally:
        lock.free()


def check_settings(recipes: Mapping[pathlib.Path, Recipe], other: Sequence[str] = ()) -> None:
    """Checks that the folders of runs hold no training with other settings, which could not go on.

    Each of these runs would fail in a process of its own, and again with every other call.

    Args:
        recipes: the settings of the runs that are not complete, by the folder of each.
        other: names of settings that the runs have other values of; none by default.

    Raises:
        ValueError: if there are such runs.
    """
    default = {field.name: field.default for field in dataclasses.fields(Recipe)}
    found = []
    for path, recipe in recipes.items():
        folder = RunFolder(path)
        if recipe.initial_weights or library_of(recipe.backbone)[0]:  # Settings are taken over from these.
            continue
        if not folder.holds_run or not folder.trained:  # Nothing is lost where a run begins anew.
            continue
        before, now = ({**default, **folder.recipe()}, dataclasses.asdict(recipe))
        changed = [
            f"{name} {json.dumps(before.get(name))}, now {json.dumps(value)}"
            for name, value in now.items()
            if name not in ("dataset", "data_dir", *other)  # The data may be called otherwise now.
            and value != "auto"
            and json.dumps(before.get(name)) != json.dumps(value)
        ]
        if changed:
            found.append(f"{path.name} ({'; '.join(changed)})")
    if found:
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        raise ValueError(
            "`workdir` must not hold trained runs of the same names with other settings: another `workdir` "
            "starts a study of its own, and runs whose folders are deleted are trained anew. Received: "
            f"workdir={str(next(iter(recipes)).parent)!r}, with {', '.join(found[:SHOWN])}{more}"
        )


def check_data(recipes: Iterable[Recipe], suite: Sequence[str]) -> None:
    """Checks that the data have the pictures and labels that the evaluators of a study need.

    Args:
        recipes: the settings of the runs.
        suite: names of the evaluators.

    Raises:
        ValueError: if test pictures or labels are missing.
    """
    if not (needy := [name for name in suite if name not in WITHOUT_TEST]):
        return
    from keras_leoclr.training.sources import open_split

    on_labels = [name for name in needy if name in ON_LABELS]
    seen = set()
    for recipe in recipes:
        splits = (recipe.labelled_split, recipe.test_split)
        if (data := (recipe.dataset, recipe.data_dir, *splits)) in seen:
            continue
        seen.add(data)
        for name, split in zip(("train_split", "test_split"), splits, strict=True):
            try:
                source = open_split(recipe, split)
            except SplitError as error:
                raise ValueError(
                    f"`{name}` must name pictures that the runs are judged by. "
                    f"{wording.settings(**SET_ASIDE)} keeps a tenth of the pictures for it. Received: "
                    f"{name}={split!r} of dataset={recipe.dataset!r}, for {', '.join(needy)}: {error}"
                ) from error
            if on_labels and not source.labelled:
                raise ValueError(
                    f"`dataset` must have labels, which {', '.join(on_labels)} of `suite` need. "
                    f"Received: dataset={recipe.dataset!r}, whose split {split} has none"
                )


def check_pictures(recipes: Mapping[pathlib.Path, Recipe]) -> None:
    """Checks that the runs that are there were trained on the pictures that their data hold now.

    Their results stand beside those of runs that are still to come, or of evaluations that are. Nothing is
    checked where the folder of a run was deleted, or where the data cannot be opened any more.

    Args:
        recipes: the settings of the runs, by the folder of each.

    Raises:
        ValueError: if the pictures have changed.
    """
    from keras_leoclr.training.run_data import RunData, is_name  # Its imports are slow.
    from keras_leoclr.training.sources import load_split

    now: dict[tuple, RunData | None] = {}
    for path, recipe in recipes.items():
        if is_name(recipe.dataset):  # Such data are the same everywhere.
            continue
        folder, before = RunFolder(path), None
        with contextlib.suppress(OSError, ValueError):
            before = folder.data()
        if before is None or not before.about:
            continue
        drawn = draws_parts(folder)
        splits = tuple(dict.fromkeys((recipe.train_split, recipe.labelled_split)))
        data = (recipe.dataset, recipe.data_dir, recipe.max_images, splits, drawn)
        if data not in now:
            now[data] = None
            with contextlib.suppress(OSError, ValueError):
                opened = {split: load_split(recipe, split, drawn) for split in splits}
                now[data] = RunData(opened, recipe.dataset)
        changed = {} if now[data] is None else now[data].changes_since(before)
        if changed:
            lines = "\n".join(f"  {split}: {change}" for split, change in changed.items())
            raise ValueError(
                "`dataset` must hold the pictures that the runs in `workdir` were trained on; another "
                f"`workdir` is for a study of other pictures. Received: dataset={recipe.dataset!r}, "
                f"workdir={str(path.parent)!r}, with changes since {path.name} was trained\n{lines}"
            )
