"""Whether a process of this machine still exists."""

from __future__ import annotations

import os
import pathlib

CAN_ASK = os.name != "nt"  # Windows takes the signal 0, which asks whether a process exists, for Ctrl-C.


def alive(process: int | None, started: int | None = None) -> bool:
    """Whether a process of this machine exists. It must only be asked where `CAN_ASK` is true.

    Args:
        process: its number.
        started: when it was started, see `start_of`; None (the default) if that is not known. Another process
            may have got the same number since.
    """
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, TypeError, ValueError, OverflowError):
        return False
    except PermissionError:  # the process belongs to another user, so it exists
        pass
    found = start_of(int(process))
    return found is None or found == started or (started is None and found != 0)


def start_of(process: int) -> int | None:
    """When a process was started, in ticks since the start of the machine; None where no system tells it.

    It is 0 for a process that has ended and whose parent has not asked for its exit status yet.
    """
    try:
        content = pathlib.Path(f"/proc/{process}/stat").read_bytes()
        # The fields from the third one on follow the name of the program, which may hold blanks and brackets.
        state, *fields = content.rpartition(b")")[2].split()
        return 0 if state in (b"Z", b"X") else int(fields[18])
    except (OSError, ValueError, IndexError):
        return None
