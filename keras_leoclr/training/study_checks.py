"""What is checked before a study trains anything, so that hours of training do not end in an error."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterable, Iterator, Sequence

from keras_leoclr import wording
from keras_leoclr.data.splits import SET_ASIDE, SplitError
from keras_leoclr.evaluation.suite_options import ON_LABELS, WITHOUT_TEST
from keras_leoclr.runs.files import Lock, LockHeldError
from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.training.recipe import Recipe


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
