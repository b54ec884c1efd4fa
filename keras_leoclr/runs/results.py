"""Named results of a run, one JSON object per line."""

from __future__ import annotations

import json
import os
import pathlib
from typing import Any

from keras_leoclr.runs.files import write_text


class Results:
    """Reader and writer of `results.jsonl` of a run; every evaluator and callback writes through this class.

    Args:
        path: path of the file. The first `write` makes it if it is missing; otherwise lines are appended.

    Example:
        ```python
        from keras_leoclr.runs import Results

        results = Results("results.jsonl")
        results.write("knn/top1", 0.83, split="test", k=20)
        results.read()  # [{"name": "knn/top1", "value": 0.83, "split": "test", "k": 20}]
        ```
    """

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path).expanduser()

    def write(self, name: str, value: float, **protocol: Any) -> None:
        """Appends one result.

        Args:
            name: name of the measured number, such as "linear/top1".
            value: the measured number.
            **protocol: how it was measured, such as data, split, epoch or k; anything that JSON can hold.
        """
        line = json.dumps({"name": name, "value": float(value), **protocol})
        with self.path.open("ab+") as file:
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else f"\n{line}"  # after half a line of a full disk
            file.write(f"{line}\n".encode())

    def replace(self, lines: list[dict[str, Any]]) -> None:
        """Replaces all results by the given ones; the file is written whole or not at all."""
        write_text(self.path, "".join(json.dumps(line) + "\n" for line in lines))

    def read(self, damaged: list[int] | None = None) -> list[dict[str, Any]]:
        """Returns all results in the order of writing; an empty list if there is no file yet.

        Args:
            damaged: None (the default) to raise an error at a line that is not a result, such as the half
                line of a process that was killed. If a list is given, such lines are left out, and their
                numbers, counted from 1, are appended to the list.
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
            except (ValueError, KeyError, TypeError) as error:
                if damaged is None:
                    raise ValueError(
                        f"{self.path}, line {number}, is not a result, perhaps half a line of a process that "
                        f"was killed; without this line the file can be read. Received: {line[:60]!r}"
                    ) from error
                damaged.append(number)
        return found
