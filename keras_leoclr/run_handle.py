"""`Run`: one object that gives access to everything in the folder of a run."""

from __future__ import annotations

import csv
import io
import os
import pathlib
import warnings
from typing import TYPE_CHECKING, Any

from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.runs.status import read_status

if TYPE_CHECKING:
    import keras


class Run:
    """A run that is finished, under way or interrupted; every property reads the files of the run anew.

    Args:
        path: path of the folder of the run. A `Run` can be passed to all functions that take such a path.

    Attributes:
        path: path of the folder.

    Raises:
        FileNotFoundError: if the folder holds no run.
        ValueError: if `path` is no path.

    Example:
        ```python
        run = kl.Run("runs/mine")
        print(run.state, run.results["pretrained/linear/top1"])
        backbone = run.backbone()
        ```
    """

    def __init__(self, path: str | os.PathLike):
        if not isinstance(path, (str, os.PathLike)):
            raise ValueError(f"`path` must be the path of the folder of a run. Received: path={path!r}")
        self.path = pathlib.Path(path).expanduser()
        if not self._folder.holds_run:
            raise FileNotFoundError(
                f"`path` must be the folder of a run, with {self._folder.recipe_file.name}. Received: {path}"
            )

    @property
    def _folder(self) -> RunFolder:
        return RunFolder(self.path)

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def __repr__(self) -> str:
        return f"Run({os.fspath(self.path)!r})"

    def __str__(self) -> str:
        """Returns the state of the run and the table of its accuracies."""
        return f"{self.path}: {self.state}\n{self.table()}"

    @property
    def state(self) -> str:
        """State of the run, such as "finished", "training", "stopped" or "failed", see `leoclr watch`."""
        return read_status(self.path)["state"]

    @property
    def results(self) -> dict[str, float]:
        """Scores by subject and name: `{"pretrained/linear/top1": 0.8, "random/knn/top1": ...}`.

        Of several measurements with the same name, this is the last one; of kNN, the last one with k = 20 if
        there is one, as in `table`. They are of the test images of the run; `lines` has those of other data
        sets and splits, too.
        """
        from keras_leoclr.training.judging import final_scores

        return final_scores(self._folder.results, self.recipe)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The lines of `results.jsonl`, each with its protocol and, if any, its confidence interval."""
        return self._folder.results.read([])

    @property
    def recipe(self) -> dict[str, Any]:
        """The settings of the run by name, including those that were chosen automatically."""
        return self._folder.recipe()

    @property
    def history(self) -> list[dict[str, float]]:
        """For each epoch a dictionary with the values of `history.csv`.

        Values that are missing or no numbers, as in the half line of a full disk, are left out.
        """
        path = self._folder.history_file
        if not path.is_file():
            return []
        text = path.read_bytes().decode("utf-8", "replace")
        rows = csv.DictReader(io.StringIO(text.replace("\0", ""), newline=""))
        read = ({name: _number(value) for name, value in row.items()} for row in rows)
        return [{name: value for name, value in row.items() if value is not None} for row in read]

    @property
    def report(self) -> pathlib.Path:
        """Path of `report.html`; the page is written if it is missing or older than what it is made from.

        If an old page cannot be written anew, as in a folder that is read-only, a warning says so.
        """
        folder = self._folder
        path = folder.report_file
        made_from = (folder.results_file, folder.history_file, folder.card_file, folder.about_file)
        newest = max((each.stat().st_mtime_ns for each in made_from if each.is_file()), default=0)
        if not path.is_file() or path.stat().st_mtime_ns <= newest:
            from keras_leoclr import report
            from keras_leoclr.training import fields
            from keras_leoclr.training.recipe import Recipe

            try:
                report.write_report(self.path, meanings=fields.meanings(Recipe))
            except OSError as error:
                if not path.is_file():
                    raise
                warnings.warn(
                    f"{path} is older than its run and cannot be written anew: {error}", stacklevel=2
                )
        return path

    def table(self) -> str:
        """Returns the accuracies on the test images as plain text, with a line for each subject.

        Results on another data set or split than those of the run have lines of their own that name it.

        If the features were not measured, it returns sentences that say why, and what measures them. If the
        test images were pretrained on, a sentence below the table says so.
        """
        from keras_leoclr import report
        from keras_leoclr.report.accuracies import seen_in_training
        from keras_leoclr.report.unmeasured import unmeasured

        lines = self.lines
        note = seen_in_training(self.recipe, lines)
        return report.table(lines, unmeasured(self.path), self.recipe) + (f"\n{note}" if note else "")

    def backbone(
        self, encoder: str = "query", projection: bool = False, normalization: bool | None = None
    ) -> keras.Model:
        """Loads the backbone of a finished run, which takes raw images in [0, 255].

        Args:
            encoder: "query", the default, or "key" for the moving average.
            projection: whether the model includes the projection head; False by default.
            normalization: False for a backbone that takes normalised images, see `backbones.load`; None by
                default.

        Returns:
            A functional model (B, H, W, C) -> (B, features).

        Raises:
            FileNotFoundError: if the run has no backbone yet.
        """
        from keras_leoclr import backbones

        return backbones.load(self.path, encoder, projection, normalization, verbose=False)


def _number(text: Any) -> float | None:
    try:
        return float(text)
    except (TypeError, ValueError):
        return None
