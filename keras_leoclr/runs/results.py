"""Named results of a run, one JSON object per line."""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

from keras_leoclr.runs.files import write_text


class Results:
    """The file `results.jsonl` of a run; every evaluator and callback writes through this class.

    Args:
        path: the file; made at the first `write`, appended to if it exists.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path)

    def write(self, name: str, value: float, **protocol: Any) -> None:
        """Appends one result.

        Args:
            name: what was measured, such as "linear/top1".
            value: its value.
            **protocol: how it was measured: data, split, epoch, k and so on; anything JSON can hold.
        """
        line = json.dumps({"name": name, "value": float(value), **protocol})
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def replace(self, lines: list[dict[str, Any]]) -> None:
        """Writes these lines in the place of all, whole or not at all."""
        write_text(self.path, "".join(json.dumps(line) + "\n" for line in lines))

    def read(self, damaged: list[int] | None = None) -> list[dict[str, Any]]:
        """All results in the order of writing; an empty list if there is no file yet.

        Args:
            damaged: if given, lines that are no results, such as the last one of a process that was killed,
                are left out and their numbers, from 1, appended to it.
        """
        if not self.path.is_file():
            return []
        found = []
        text = self.path.read_text(encoding="utf-8", errors="strict" if damaged is None else "replace")
        for number, line in enumerate(text.splitlines(), 1):
            try:
                result = json.loads(line)
                if not isinstance(result["name"], str) or not isinstance(result["value"], (int, float)):
                    raise TypeError("a result has a name and a value")
                found.append(result)
            except (ValueError, KeyError, TypeError):
                if damaged is None:
                    raise
                damaged.append(number)
        return found
