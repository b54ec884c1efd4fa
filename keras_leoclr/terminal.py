"""Progress of long work: a bar or a line that changes on a terminal, plain lines in a pipe or a file.

Keras is not imported here, and rich only when something is drawn on a terminal.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, TextIO, TypeVar

Item = TypeVar("Item")

SILENT = 1.0  # seconds after which a bar appears; for shorter work nothing is shown
REDRAWN = 0.1  # shortest time between two drawings of a bar, in seconds
# A plain line is printed when this time and this share of the work have both passed since the last line.
PLAIN_SECONDS, PLAIN_SHARE = 30.0, 0.1
BAR_WIDTHS = (40, 22, 12)  # the first width that leaves room for the text is used; else there is no bar


def duration(seconds: float | None) -> str:
    """Returns a time in words, such as "35 s", "4 min", "1 h 20 min" or "3 d 4 h"; "?" for None."""
    if seconds is None:
        return "?"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal on which lines can be redrawn."""
    if stream is None or os.environ.get("TERM", "").lower() in ("dumb", "unknown"):
        return False
    try:
        return stream.isatty()
    except (AttributeError, ValueError):  # the stream is not a file, or it is closed
        return False


class Live:
    """Text that changes in place on a terminal; in pipes and files only the lines that stay are printed.

    Text that other code prints to the terminal in the meantime appears above it. The environment variable
    `NO_COLOR` switches colours off.

    Args:
        stream: text stream to write to; by default standard output.

    Example:
        ```python
        live = Live()
        for number in range(100):
            live.show(f"{number} of 100 done", share=number / 100)
        live.say("All done.")
        ```
    """

    _on_screen: Live | None = None  # the object that is on the screen; there is at most one

    def __init__(self, stream: TextIO | None = None):
        self._given = stream
        self._drawn: Any = None  # rich's Live while something is on the screen

    @property
    def stream(self) -> TextIO | None:
        """The text stream to which this object writes."""
        stream = self._given or sys.stdout
        return getattr(stream, "rich_proxied_file", stream)  # the original stream, while rich redirects it

    @property
    def is_terminal(self) -> bool:
        """Whether the stream is a terminal; otherwise `show` does nothing."""
        return is_terminal(self.stream)

    def show(self, text: str, share: float | None = None) -> None:
        """Replaces the text that is shown.

        Args:
            text: one line, which is cut at the width of the terminal, or several lines, which are wrapped.
            share: share of the work that is done, in [0, 1]. It is drawn as a bar in front of the text if
                there is room; None, the default, for no bar.
        """
        if self.is_terminal:
            self._draw(_with_bar(text, share, shutil.get_terminal_size().columns))

    def say(self, text: str) -> None:
        """Prints lines that stay, and removes the text that is shown."""
        self.close()
        print(text, file=self.stream, flush=True)

    def close(self, keep: bool = False) -> None:
        """Ends the text that changes, so that later output starts on a new line; call it after errors too.

        Args:
            keep: whether the last text stays on the screen; False by default.
        """
        if self._drawn is not None:
            drawn, self._drawn = self._drawn, None
            drawn.transient = not keep
            drawn.stop()
            Live._on_screen = None if Live._on_screen is self else Live._on_screen

    def _draw(self, renderable: Any) -> None:
        if self._drawn is None:
            from rich.console import Console
            from rich.live import Live as RichLive

            if Live._on_screen is not None:
                Live._on_screen.close()
            stream = self.stream
            own = stream in (sys.stdout, sys.stderr)
            console = Console(file=stream, force_terminal=True, force_interactive=True, force_jupyter=False)
            self._drawn = RichLive(
                console=console,
                auto_refresh=False,
                redirect_stdout=own and is_terminal(sys.stdout),  # output to a pipe must not be redirected
                redirect_stderr=own and is_terminal(sys.stderr),
            )
            self._drawn.start()
            console.show_cursor(True)  # rich hides the cursor, and it would stay hidden after an interrupt
            Live._on_screen = self
        self._drawn.update(renderable, refresh=True)


@atexit.register
def _close() -> None:
    """Restores the terminal when the program ends, also if the caller was interrupted."""
    if Live._on_screen is not None:
        Live._on_screen.close(keep=True)


def _with_bar(text: str, share: float | None, columns: int, known: bool = True) -> Any:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    line = Text(text, no_wrap="\n" not in text, overflow="crop")
    room = next((width for width in BAR_WIDTHS if width + 1 < columns - len(text)), 0)
    if share is None or not room:
        return line
    grid = Table.grid(padding=(0, 1))
    grid.add_row(ProgressBar(1.0, share, width=room, pulse=not known), line)
    return grid


class Bar:
    """Shows how much of some work is done, if it takes longer than a second.

    On a terminal it is a progress bar. In a pipe or a file, a line is printed whenever another tenth is done
    and half a minute has passed, and one at the end. The default is standard error, so that another program
    can read the standard output.

    Args:
        total: number of items; None, the default, if it is not known.
        text: name of the work, such as "Headers"; "" by default.
        unit: name of the items, in the plural; "items" by default.
        shown: whether anything is shown; True by default.
        stream: text stream to write to; standard error by default.

    Example:
        ```python
        with Bar(1000, "Headers", "files") as bar:
            for _ in range(1000):
                bar.advance()
        ```
    """

    def __init__(
        self,
        total: int | None = None,
        text: str = "",
        unit: str = "items",
        shown: bool = True,
        stream: TextIO | None = None,
    ):
        self.total = total if total is not None and total > 0 else None
        self.text, self.unit, self.shown = text, unit, shown
        self.count, self.note = 0, ""
        self._live = Live(stream or sys.stderr)
        self._began = self._said = time.monotonic()
        self._said_count = 0
        self._due = self._began + SILENT

    def update(self, count: int, note: str = "") -> None:
        """Tells the bar how many items are done.

        Args:
            count: number of items that are done in total, not since the last call.
            note: further text to show, such as "loss 0.51"; "" by default.
        """
        self.count, self.note = count, note
        now = time.monotonic()
        if now < self._due or not self.shown:
            return
        if self._live.is_terminal:
            self._due = now + REDRAWN
            self._draw(now)
        elif now - self._said >= PLAIN_SECONDS and self._tenth():
            self._said, self._said_count = now, count
            self._live.say(self._line(now))

    def advance(self, count: int = 1) -> None:
        """Tells the bar that `count` more items are done."""
        self.update(self.count + count)

    def close(self, complete: bool = True) -> None:
        """Ends the bar.

        Args:
            complete: whether all items are done, True by default. In a pipe or a file, a last line says so.
        """
        now = time.monotonic()
        if self.shown and now - self._began >= SILENT:
            if self._live.is_terminal:
                self._draw(now)
            elif complete:
                done = f"{self.count:,} {self.unit} in {duration(now - self._began)}"
                self._live.say(self._named(done, self.note))
        self._live.close(keep=True)

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(complete=kind is None)

    def _tenth(self) -> bool:
        return self.total is None or self.count - self._said_count >= PLAIN_SHARE * self.total

    def _draw(self, now: float) -> None:
        share = 0.0 if self.total is None else min(1.0, self.count / self.total)
        columns = shutil.get_terminal_size().columns
        self._live._draw(_with_bar(self._line(now), share, columns, self.total is not None))

    def _line(self, now: float) -> str:
        if self.total is None:
            return self._named(f"{self.count:,} {self.unit}", self.note)
        left = ""
        if 0 < self.count < self.total:
            left = f"{duration((now - self._began) / self.count * (self.total - self.count))} left"
        share = f"{100 * self.count / self.total:.0f} %"
        return self._named(share, f"{self.count:,} of {self.total:,} {self.unit}", self.note, left)

    def _named(self, *texts: str) -> str:
        text = ", ".join(filter(None, texts))
        return f"{self.text}: {text}" if self.text else text


def progress(
    items: Iterable[Item],
    total: int | None = None,
    text: str = "",
    unit: str = "items",
    shown: bool = True,
    stream: TextIO | None = None,
) -> Iterator[Item]:
    """Yields the items, and shows a `Bar` with the number of items that were taken.

    Args:
        items: an iterable of any objects.
        total: number of items; None, the default, if it is not known.
        text: name of the work, such as "Headers"; "" by default.
        unit: name of the items, in the plural; "items" by default.
        shown: whether anything is shown; True by default.
        stream: text stream to write to; standard error by default.
    """
    with Bar(total, text, unit, shown, stream) as bar:
        for item in items:
            yield item
            bar.advance()
