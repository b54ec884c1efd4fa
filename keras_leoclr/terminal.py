"""Progress of long work: a bar or a line that changes on a terminal, plain lines in a pipe or a file.

Neither Keras nor rich is imported before something is drawn on a terminal.
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

SILENT = 1.0  # seconds after which a bar appears; shorter work shows nothing
REDRAWN = 0.1  # seconds from one drawing of a bar to the next
PLAIN_SECONDS, PLAIN_SHARE = 30.0, 0.1  # a plain line is printed when both have passed since the last one
BAR_WIDTHS = (40, 22, 12)  # the first one that leaves room for the text; a text that fills the line has none


def duration(seconds: float | None) -> str:
    """Such as "35 s", "4 min", "1 h 20 min" or "3 d 4 h"; "?" for None."""
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
    """Whether lines of a stream can be redrawn."""
    if stream is None or os.environ.get("TERM", "").lower() in ("dumb", "unknown"):
        return False
    try:
        return stream.isatty()
    except (AttributeError, ValueError):  # not a file, or one that is closed
        return False


class Live:
    """Text that changes in place on a terminal; elsewhere only the lines that stay are printed.

    What other code prints to the same terminal meanwhile appears above it. Colours follow `NO_COLOR`.

    Args:
        stream: where to write; standard output, as it is at the first call, by default.
    """

    _on_screen: Live | None = None  # a terminal shows one at a time; the last one that was shown

    def __init__(self, stream: TextIO | None = None):
        self._given = stream
        self._drawn: Any = None  # rich's Live while something is on the screen

    @property
    def stream(self) -> TextIO | None:
        """Where this writes."""
        stream = self._given or sys.stdout
        return getattr(stream, "rich_proxied_file", stream)  # while rich redirects it

    @property
    def is_terminal(self) -> bool:
        """Whether `show` shows anything."""
        return is_terminal(self.stream)

    def show(self, text: str, share: float | None = None) -> None:
        """Replaces what is shown.

        Args:
            text: a line, which is cut where the terminal ends, or several, which are wrapped there.
            share: what is done of all, in [0, 1], drawn as a bar in front of the text if there is room.
        """
        if self.is_terminal:
            self._draw(_with_bar(text, share, shutil.get_terminal_size().columns))

    def say(self, text: str) -> None:
        """Prints lines that stay, in place of what is shown."""
        self.close()
        print(text, file=self.stream, flush=True)

    def close(self, keep: bool = False) -> None:
        """Ends the text that changes, so that what is printed next stands on its own; also after an error.

        Args:
            keep: leave what was shown last on the screen.
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
                redirect_stdout=own and is_terminal(sys.stdout),  # a pipe keeps what is printed to it
                redirect_stderr=own and is_terminal(sys.stderr),
            )
            self._drawn.start()
            console.show_cursor(True)  # an interrupted caller would leave it hidden
            Live._on_screen = self
        self._drawn.update(renderable, refresh=True)


@atexit.register
def _close() -> None:
    """Leaves the terminal in order where a caller was interrupted."""
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
    """Shows how much of some work is done, once it has taken longer than a second.

    On a terminal a bar. Elsewhere a line whenever another tenth is done and half a minute has passed, and one
    at the end. On standard error by default, so that what a program prints can be read by another one.

    Args:
        total: number of items; None if it is not known.
        text: what is done, such as "Headers".
        unit: what is counted, in the plural.
        shown: False shows nothing at all.
        stream: where to write; standard error by default.
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
        """Says how many items are done.

        Args:
            count: of all, not of those since the last call.
            note: what else is known, such as "loss 0.51".
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
        """Says that more items are done."""
        self.update(self.count + count)

    def close(self, complete: bool = True) -> None:
        """Ends the bar.

        Args:
            complete: whether all is done; where there is no terminal, a last line then says so.
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
    """The items, with a `Bar` of how many were taken.

    Args:
        items: anything.
        total: number of them; None if it is not known.
        text: what is done with them, such as "Headers".
        unit: what is counted, in the plural.
        shown: False shows nothing at all.
        stream: where to write; standard error by default.
    """
    with Bar(total, text, unit, shown, stream) as bar:
        for item in items:
            yield item
            bar.advance()
