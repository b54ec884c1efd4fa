"""Signals (SIGTERM, SIGINT) that end a training after the current step."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator


class Interrupted(SystemExit):
    """A signal has ended the run, which can be resumed; the exit status is 128 + the signal's number."""

    def __init__(self, number: int):
        super().__init__(128 + number)


TOGETHER = 1.0  # seconds within which a second signal is taken as the first one, sent by two senders


class Signals:
    """Context in which the first SIGTERM or SIGINT is only noted, and a later one ends the process at once.

    A signal that follows within a second is ignored: systemd and Slurm send SIGTERM to all processes of a
    job, and a study that started this one sends it as well.

    Python runs a signal handler only between two Python instructions, so it would wait for the end of a
    compiled step. The signals are therefore read by a thread, from a pipe that Python's C code writes to as
    soon as a signal arrives.

    Attributes:
        received: number of the signal that was received; 0 if none was.
    """

    NUMBERS = (signal.SIGTERM, signal.SIGINT)

    def __init__(self):
        self.received = 0

    def __enter__(self) -> Signals:
        self._before = None
        if threading.current_thread() is not threading.main_thread():
            return self  # Python allows only the main thread to set signal handlers
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._writing, False)
        self._pipe_before = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, lambda *_: None) for number in self.NUMBERS}
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def _watch(self):
        noted = 0.0
        while content := os.read(self._reading, 1):
            number = content[0]
            if number not in self.NUMBERS:
                continue
            if self.received and time.monotonic() - noted < TOGETHER:
                continue
            if self.received:
                os._exit(128 + number)
            self.received, noted = number, time.monotonic()
            name = signal.Signals(number).name
            print(
                f"\n{name}: stopping after this step; once more to stop at once.", file=sys.stderr, flush=True
            )
        os.close(self._reading)

    def __exit__(self, *_):
        if self._before is None:
            return
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._pipe_before)
        os.close(self._writing)  # the thread reads the end of the pipe and returns


@contextlib.contextmanager
def sigterm_raises() -> Iterator[None]:
    """Context in which SIGTERM raises `Interrupted` at once, as Ctrl-C raises `KeyboardInterrupt`.

    Without it, SIGTERM ends Python without the `finally` blocks, and processes that were started go on alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # Python allows only the main thread to set signal handlers
        return

    def ended(number, frame):
        raise Interrupted(number)

    before = signal.signal(signal.SIGTERM, ended)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
