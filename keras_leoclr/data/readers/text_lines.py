"""Reads the text files that users write: lists of pictures, of splits and of classes."""

from __future__ import annotations

import os

from keras_leoclr.data.failures import shown


def text_of(path: str | os.PathLike, what: str) -> str:
    """The text of a file in UTF-8, without the byte-order mark that some editors write at its beginning.

    Args:
        path: path of the file.
        what: what the file is, with its article, for the message.

    Raises:
        ValueError: if the file is not text in UTF-8; the message names the file.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            return file.read()
    except UnicodeDecodeError as problem:
        raise ValueError(
            f"{shown(str(path))}: {what} must be text in UTF-8. Received: {problem}"
        ) from problem


def lines_of(path: str | os.PathLike, what: str) -> list[str]:
    """The lines of a file that are not empty, without blanks at their ends, see `text_of`."""
    return [line.strip() for line in text_of(path, what).splitlines() if line.strip()]
