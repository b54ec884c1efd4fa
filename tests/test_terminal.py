"""Progress on a terminal, in a pipe, and for work that is done at once."""

import io
import os
import pathlib
import pty
import re
import select
import subprocess
import sys
import time

import pytest

from keras_leoclr import terminal

pytestmark = pytest.mark.backend_free
CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")

WORK = """
import sys, time
sys.path.insert(0, {folder!r})
import terminal
terminal.SILENT, terminal.PLAIN_SECONDS = 0.05, {seconds}
for item in terminal.progress(range(40), {total}, "Headers", "files"):
    time.sleep(0.01)
    if item == 20:
        print("a result")
assert ("rich" in sys.modules) == {drawn}, "rich"
assert not {{"keras", "tensorflow", "numpy"}} & set(sys.modules), "heavy"
"""


class Terminal(io.StringIO):
    def isatty(self):
        return True


def code(total=40, seconds=0.0, drawn=False):
    folder = str(pathlib.Path(terminal.__file__).parent)
    return WORK.format(folder=folder, total=total, seconds=seconds, drawn=drawn)


def in_a_pipe(program):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode(), done.stderr.decode()


def on_a_terminal(program, stdout=None, **environment):
    """What a process writes to a pseudo-terminal of 80 columns."""
    own, other = pty.openpty()
    environment = {"TERM": "xterm-256color", **os.environ, "COLUMNS": "80", **environment}
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=other,
        stdout=other if stdout is None else stdout,
        stderr=other,
        env=environment,
    )
    os.close(other)
    written, end = b"", time.monotonic() + 60
    while time.monotonic() < end:
        if select.select([own], [], [], 0.2)[0]:
            try:
                part = os.read(own, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            written += part
    assert process.wait(10) == 0, written.decode()
    os.close(own)
    return written.decode()


def test_a_pipe_gets_plain_lines_and_no_control_characters():
    printed, said = in_a_pipe(code())
    assert printed == "a result\n" and not CONTROL.search(said)
    *lines, last = said.splitlines()
    assert 3 <= len(lines) <= 10  # at most one for each tenth
    assert all(re.fullmatch(r"Headers: \d+ %, \d+ of 40 files(, \d s left)?", line) for line in lines)
    assert re.fullmatch(r"Headers: 40 files in \d s", last)


def test_a_pipe_gets_a_line_only_when_seconds_and_a_tenth_have_passed():
    assert in_a_pipe(code(seconds=30.0))[1] == "Headers: 40 files in 0 s\n"
    said = in_a_pipe(code(total=None))[1].splitlines()
    assert said[0].startswith("Headers: ") and said[0].endswith(" files")


def test_a_terminal_gets_a_bar_and_keeps_what_is_printed_meanwhile():
    written = on_a_terminal(code(drawn=True))
    assert "\x1b[" in written and "a result\r\n" in written and "100 %, 40 of 40 files" in written
    assert written.endswith("\x1b[?25h") and written.count("\x1b[?25l") == 1  # the cursor is back


def test_colours_are_off_where_they_are_not_wanted():
    colour = re.compile(r"\x1b\[([0-9;]*;)?[39][0-7][0-9;]*m")
    assert colour.search(on_a_terminal(code(drawn=True), NO_COLOR=""))
    assert not colour.search(on_a_terminal(code(drawn=True), NO_COLOR="1"))


def test_a_terminal_that_cannot_move_its_cursor_gets_plain_lines():
    written = on_a_terminal(code(), TERM="dumb")
    assert "\x1b" not in written and "Headers: 40 files in" in written


def test_what_is_printed_to_a_pipe_stays_there_under_a_bar():
    reading, writing = os.pipe()
    written = on_a_terminal(code(drawn=True), stdout=writing)
    os.close(writing)
    with os.fdopen(reading) as file:
        assert file.read() == "a result\n"
    assert "a result" not in written and "40 of 40 files" in written


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_work_of_less_than_a_second_is_silent(stream):
    assert list(terminal.progress(range(100), 100, stream=stream)) == list(range(100))
    assert stream.getvalue() == ""


@pytest.mark.parametrize("total", [3, None])
def test_a_bar_that_is_not_asked_for_is_silent(total, monkeypatch):
    monkeypatch.setattr(terminal, "SILENT", 0.0)
    stream = io.StringIO()
    assert list(terminal.progress(range(3), total, shown=False, stream=stream)) == [0, 1, 2]
    assert stream.getvalue() == ""


def test_work_that_fails_is_not_said_to_be_done(monkeypatch):
    monkeypatch.setattr(terminal, "SILENT", 0.0)
    stream = io.StringIO()
    with pytest.raises(ValueError, match="damaged"):
        for _ in terminal.progress(_failing(), 9, "Headers", stream=stream):
            pass
    assert stream.getvalue() == ""


def _failing():
    yield 1
    raise ValueError("damaged")


def test_a_bar_may_say_what_else_is_known(monkeypatch):
    monkeypatch.setattr(terminal, "SILENT", 0.0)
    monkeypatch.setattr(terminal, "PLAIN_SECONDS", 0.0)
    stream = io.StringIO()
    with terminal.Bar(4, "Training", "steps", stream=stream) as bar:
        bar.update(2, "loss 0.51")
        bar.update(4, "loss 0.4")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "Training: 50 %, 2 of 4 steps, loss 0.51, 0 s left"
    assert lines[-1] == "Training: 4 steps in 0 s, loss 0.4"


def test_two_on_one_terminal_take_turns(monkeypatch):
    monkeypatch.setattr(terminal, "SILENT", 0.0)
    monkeypatch.setattr(terminal, "REDRAWN", 0.0)
    monkeypatch.setenv("COLUMNS", "60")
    stream = Terminal()
    live = terminal.Live(stream)
    live.show("epoch 1", 0.5)
    list(terminal.progress(range(3), 3, "Features", "batches", stream=stream))
    live.show("epoch 2", 1.0)
    live.say("Epoch 2 has ended")
    live.close()
    written = stream.getvalue()
    assert written.index("epoch 1") < written.index("Features: 100 %") < written.index("epoch 2")
    assert written.endswith("Epoch 2 has ended\n") and terminal.Live._on_screen is None


def test_a_line_is_cut_where_the_terminal_ends(monkeypatch):
    monkeypatch.setenv("COLUMNS", "30")
    stream = Terminal()
    live = terminal.Live(stream)
    live.show("x" * 50, 0.5)
    live.close(keep=True)
    assert "x" * 30 in stream.getvalue() and "x" * 31 not in stream.getvalue()


def test_durations():
    texts = [terminal.duration(s) for s in (None, 35, 240, 4800, 3 * 86400 + 4 * 3600)]
    assert texts == ["?", "35 s", "4 min", "1 h 20 min", "3 d 4 h"]
