"""Tables of a page as plain data; `templates/parts.html` writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Cell(NamedTuple):
    """A cell with a class of the style sheet, and with small print.

    Attributes:
        text: what it says.
        look: class; "" for none.
        small: shown smaller, behind the text; "" for none.
    """

    text: str
    look: str = ""
    small: str = ""


class Table(NamedTuple):
    """A table in a frame of its own, which scrolls where it is too wide.

    Attributes:
        head: heading of each column; the first may be "".
        body: heading and cells of each row.
        name: what a screen reader calls the frame.
        look: class of the style sheet; "" for none.
        caption: text above the table; "" for none.
    """

    head: Sequence[str]
    body: Sequence[tuple[str, Sequence[Cell]]]
    name: str
    look: str = ""
    caption: str = ""


def cells(texts: Sequence[str], look: str = "") -> list[Cell]:
    """Plain cells, all of one class."""
    return [Cell(text, look) for text in texts]
