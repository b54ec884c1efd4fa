"""The tables of a page as plain data, which `templates/parts.html` renders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Cell(NamedTuple):
    """A cell with a class of the style sheet and an addition in small print.

    Attributes:
        text: text of the cell.
        look: class of the style sheet; "" for none.
        small: text in small print after `text`; "" for none.
    """

    text: str
    look: str = ""
    small: str = ""


class Table(NamedTuple):
    """A table in a separate frame, which scrolls if the table is too wide.

    Attributes:
        head: heading of each column; the first may be "".
        body: heading and cells of each row.
        name: name of the frame for screen readers.
        look: class of the style sheet; "" for none.
        caption: text above the table; "" for none.
    """

    head: Sequence[str]
    body: Sequence[tuple[str, Sequence[Cell]]]
    name: str
    look: str = ""
    caption: str = ""


def cells(texts: Sequence[str], look: str = "") -> list[Cell]:
    """Makes plain cells, all with the same class of the style sheet."""
    return [Cell(text, look) for text in texts]
