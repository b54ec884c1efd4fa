"""Files that appear whole or not at all, locks and checksums."""

import contextlib
import hashlib
import os
import subprocess
import sys
import threading
import time

import pytest

from keras_leoclr.runs import files

pytestmark = pytest.mark.backend_free


def test_a_file_holds_what_it_held_until_the_block_ends(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with files.whole_file(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    with pytest.raises(KeyError), files.whole_file(path) as file:
        file.write(b"broken")
        raise KeyError
    assert path.read_text() == "new" and os.listdir(tmp_path) == ["a.txt"]


def test_an_error_of_the_disk_names_the_file(tmp_path):
    with pytest.raises(OSError, match="No space left on device.*a.txt"), files.whole_file(tmp_path / "a.txt"):
        raise OSError(28, "no room")
    assert os.listdir(tmp_path) == []


def test_a_library_that_writes_by_name_is_given_one_with_the_same_suffix(tmp_path):
    with files.whole_path(tmp_path / "model.keras") as path:
        assert path.name == "model.keras" and path.parent.parent == tmp_path
        path.write_text("model")
    assert (tmp_path / "model.keras").read_text() == "model"
    with files.whole_path(tmp_path / "folder") as path:
        path.mkdir()
        (path / "a").write_text("a")
    with pytest.raises(KeyError), files.whole_path(tmp_path / "other") as path:
        path.mkdir()
        (path / "a").write_text("a")
        raise KeyError
    assert sorted(os.listdir(tmp_path)) == ["folder", "model.keras"] and os.listdir(tmp_path / "folder") == [
        "a"
    ]


def test_a_folder_replaces_another_one_or_both_stay(tmp_path, monkeypatch):
    new, path = tmp_path / "new", tmp_path / "folder"
    for each in (new, path):
        each.mkdir()
        (each / each.name).write_text("")
    real = os.replace

    def fails(source, target):
        if source == new:
            raise OSError(18, "Invalid cross-device link", str(source))
        real(source, target)

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(OSError, match="cross-device"):
        files.replace_folder(new, path)
    assert sorted(os.listdir(tmp_path)) == ["folder", "new"] and os.listdir(path) == ["folder"]
    monkeypatch.setattr(os, "replace", real)
    (tmp_path / "folder.replaced.41.partial").mkdir()  # of a process that was killed
    files.replace_folder(new, path)
    assert os.listdir(tmp_path) == ["folder"] and os.listdir(path) == ["new"]
    with files.whole_path(path) as made:
        made.mkdir()
        (made / "third").write_text("")
        assert os.listdir(path) == ["new"]
    assert os.listdir(tmp_path) == ["folder"] and os.listdir(path) == ["third"]


def test_only_what_a_process_left_of_its_own_files_is_deleted(tmp_path):
    gone, own = 2**31 - 1, os.getpid()  # no system has a process with the first number
    deleted = [f"results.jsonl.{gone}.partial", f"run.json.{own}.partial"]
    kept = ["a.partial", "run.json.b.partial"]
    for name in (*deleted, *kept, f"other.json.{gone}.partial"):
        (tmp_path / name).write_text("")
    folder = f"run.json.{gone}.partial"
    for name in ("detection.partial", folder):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_text("")
    files.delete_partial(tmp_path, r"results\.jsonl|run\.json")
    left = sorted(os.listdir(tmp_path))
    assert left == sorted([*kept, f"other.json.{gone}.partial", "detection.partial", folder])
    files.delete_partial(tmp_path, r"run\.json", folders=True)
    assert sorted(os.listdir(tmp_path)) == [name for name in left if name != folder]


@contextlib.contextmanager
def killed_at_last(program, path, word):
    """A process that has printed a word; it is killed at the end of the block."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", program, path], **pipes) as process:
        assert process.stdout.readline() == f"{word}\n"
        yield process
        process.kill()


def test_what_another_process_is_writing_stays_until_the_process_is_gone(tmp_path):
    program = (
        "import sys\n"
        "from keras_leoclr.runs.files import whole_path\n"
        "with whole_path(sys.argv[1]) as partial:\n"
        "    partial.write_text('')\n"
        "    print('writes', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    path = tmp_path / "model.keras"
    with killed_at_last(program, path, "writes") as process:
        assert files.without_leftovers(path) == path
        assert os.listdir(tmp_path) == [f"model.keras.{process.pid}.partial"]
    files.without_leftovers(path)
    assert os.listdir(tmp_path) == []


def test_text_and_json_are_utf8(tmp_path):
    files.write_text(tmp_path / "a", "ä")
    files.write_json(tmp_path / "b", {"a": [1, None]})
    assert (tmp_path / "a").read_bytes() == "ä".encode()
    assert (tmp_path / "b").read_text() == '{\n  "a": [\n    1,\n    null\n  ]\n}\n'


def test_a_lock_that_is_held_names_its_holder_and_dies_with_it(tmp_path):
    program = (
        "import sys\n"
        "from keras_leoclr.runs.files import Lock\n"
        "lock = Lock(sys.argv[1])\n"
        "lock.take()\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    path = tmp_path / "lock"
    with killed_at_last(program, path, "held") as process:
        lock = files.Lock(path)
        with pytest.raises(files.LockHeldError) as raised:
            lock.take()
        assert raised.value.holder.startswith(f"process {process.pid} on ") and not lock.held
    lock.take()
    assert lock.held and f"process {os.getpid()} on " in path.read_text()
    with pytest.raises(files.LockHeldError):
        files.Lock(path).take()
    lock.free()
    files.Lock(path).take()


def test_locked_waits_for_the_holder(tmp_path):
    path, events = tmp_path / "folder" / "lock", []

    def other():
        with files.locked(path):
            events.append("second")

    with files.locked(path):
        thread = threading.Thread(target=other)
        thread.start()
        time.sleep(2 * files.WAIT)
        events.append("first")
    thread.join()
    assert events == ["first", "second"]


def test_a_checksum_is_that_of_the_content(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "TO_HASH", 7)
    (tmp_path / "a").write_bytes(bytes(range(256)))
    assert files.sha256_of(tmp_path / "a") == hashlib.sha256(bytes(range(256))).hexdigest()
