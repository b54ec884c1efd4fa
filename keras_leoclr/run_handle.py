"""`Run`: what lies in the folder of a run, as one object."""

from __future__ import annotations

import csv
import os
import pathlib
from typing import TYPE_CHECKING, Any

from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.runs.status import read_status

if TYPE_CHECKING:
    import keras


class Run:
    """A run that is finished, under way or interrupted; it is read anew from its files at every question.

    Args:
        path: folder of the run. A `Run` can be given wherever a function takes the path of one.

    Attributes:
        path: the folder.

    Raises:
        FileNotFoundError: if the folder holds no run.

    Example:
        ```python
        run = kl.Run("runs/mine")
        print(run.state, run.results["pretrained/linear/top1"])
        backbone = run.backbone()
        ```
    """

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path)
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
        """The state of the run, and the table of its accuracies."""
        return f"{self.path}: {self.state}\n{self.table()}"

    @property
    def state(self) -> str:
        """Where the run is: "finished", "training", "stopped", "failed", ..., see `leoclr watch`."""
        return read_status(self.path)["state"]

    @property
    def results(self) -> dict[str, float]:
        """What was measured, by subject and name: `{"pretrained/linear/top1": 0.8, "random/knn/top1": ...}`.

        Of several measurements with one name it is the last. `lines` has all of them.
        """
        from keras_leoclr.training.judging import final_scores

        return final_scores(self._folder.results)

    @property
    def lines(self) -> list[dict[str, Any]]:
        """The lines of `results.jsonl`, each with its protocol and, where there is one, its interval."""
        return self._folder.results.read([])

    @property
    def recipe(self) -> dict[str, Any]:
        """The settings of the run by name, also those that were chosen."""
        return self._folder.recipe()

    @property
    def history(self) -> list[dict[str, float]]:
        """A dictionary for each epoch with the means of `history.csv`; what was not measured is left out."""
        path = self._folder.history_file
        if not path.is_file():
            return []
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return [
            {name: float(value) for name, value in row.items() if value not in ("", "NA")} for row in rows
        ]

    @property
    def report(self) -> pathlib.Path:
        """Path of `report.html`; the page is written where it is missing."""
        path = self._folder.report_file
        if not path.is_file():
            from keras_leoclr import report

            report.write_report(self.path)
        return path

    def table(self) -> str:
        """The accuracies on the test images as plain text, a line for each subject."""
        from keras_leoclr import report

        return report.table(self.lines)

    def backbone(
        self, encoder: str = "query", projection: bool = False, normalization: bool | None = None
    ) -> keras.Model:
        """The backbone of a finished run, which takes raw images in [0, 255].

        Args:
            encoder: "query", or "key" for the moving average.
            projection: whether the projection head follows.
            normalization: False for one of normalised images, see `backbones.load`.

        Returns:
            A functional model (B, H, W, C) -> (B, features).

        Raises:
            FileNotFoundError: if the run has no backbone yet.
        """
        from keras_leoclr import backbones

        return backbones.load(self.path, encoder, projection, normalization, verbose=False)
