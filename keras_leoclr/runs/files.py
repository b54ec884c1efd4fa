"""Files that appear whole or not at all, locks between processes, and checksums."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import pathlib
import re
import shutil
import socket
import time
from collections.abc import Iterator
from typing import Any

from keras_leoclr.runs import processes

try:
    import fcntl
except ImportError:  # Windows
    import msvcrt

PARTIAL = ".partial"
REPLACED = ".replaced"  # stands in the name of a folder that is about to be deleted
WAIT = 0.2  # seconds between two tries to take a lock
# On Windows other processes cannot read a locked part of a file. The lock is therefore taken on a byte far
# behind the name of the holder, which others have to read.
LOCKED_BYTE = 1 << 30
TO_HASH = 1 << 20  # bytes that are read at a time when a checksum is computed


class LockHeldError(BlockingIOError):
    """Another process holds a lock.

    Attributes:
        holder: the process that holds the lock, such as "process 4314 on host".
    """

    def __init__(self, path: pathlib.Path, holder: str):
        super().__init__(errno.EWOULDBLOCK, f"the lock is held by {holder}", str(path))
        self.holder = holder


# === Written whole or not at all ===


@contextlib.contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[Any]:
    """Opens a binary file for writing that gets its name `path` only when it is complete.

    Until the block ends, and after an error in the block, `path` holds what it held before. The file is
    written under another name in the same folder, brought to the disk by fsync and renamed; at last the
    folder is brought to the disk by fsync. POSIX guarantees that such a renaming cannot be seen half done.

    Args:
        path: path of the file; its folder must exist. `~` at its beginning is the home folder.

    Raises:
        OSError: if the file cannot be written; the error names the file.
    """
    path = pathlib.Path(path).expanduser()
    with _deleted_after(_beside(path), path) as partial:
        with partial.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        _sync_folder(path.parent)


@contextlib.contextmanager
def whole_path(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Gives a temporary path to a library that opens files by name, and renames the result to `path` at last.

    Until the block ends, the result lies under its final name in a temporary folder beside `path`. Other
    files that the library writes into the temporary folder are moved too, and before the result itself.

    Args:
        path: path of a file or of a folder, see `replace_folder`; the folder around it must exist. `~` at its
            beginning is the home folder.

    Raises:
        OSError: if the file cannot be written; the error names the file.
    """
    path = pathlib.Path(path).expanduser()
    with _deleted_after(_beside(path), path) as folder:
        folder.mkdir()
        partial = folder / path.name
        yield partial
        for each in folder.rglob("*"):
            if each.is_file():
                with each.open("r+b") as file:
                    os.fsync(file.fileno())
        for each in sorted(folder.iterdir(), key=lambda found: found == partial):
            (replace_folder if each.is_dir() else os.replace)(each, path.with_name(each.name))
        _sync_folder(path.parent)


def replace_folder(folder: pathlib.Path, path: pathlib.Path) -> None:
    """Renames a folder to `path`, and deletes what was there after that; if it fails, both are as before.

    No system renames a folder to the name of one that is not empty. The other one gets a name of its own
    first, so that there is nothing at `path` for a moment.

    Args:
        folder: path of the folder.
        path: path that it gets, on the same disk.

    Raises:
        OSError: if one of them cannot be renamed.
    """
    old = path.with_name(path.name + REPLACED)
    own = _beside(old)
    _delete(own)
    try:
        if os.path.lexists(path):
            os.replace(path, own)
        os.replace(folder, path)
    except BaseException:
        if os.path.lexists(own) and not os.path.lexists(path):
            os.replace(own, path)
        raise
    _sync_folder(path.parent)
    with contextlib.suppress(OSError):  # What cannot be deleted stays under the other name.
        delete_partial(path.parent, re.escape(old.name), folders=True)


def _beside(path: pathlib.Path) -> pathlib.Path:
    # The name has the number of the process, because several processes may write the same file of a cache.
    return path.with_name(f"{path.name}.{os.getpid()}{PARTIAL}")


@contextlib.contextmanager
def _deleted_after(partial: pathlib.Path, path: pathlib.Path) -> Iterator[pathlib.Path]:
    try:
        _delete(partial)
        yield partial
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise type(error)(error.errno, os.strerror(error.errno), str(path)) from error
    finally:
        with contextlib.suppress(OSError):
            _delete(partial)


def delete_partial(folder: str | os.PathLike, names: str, folders: bool = False) -> None:
    """Deletes partly written files, which processes leave in a folder if they are killed while they write.

    What another process of this machine may still be writing stays.

    Args:
        folder: path of the folder.
        names: regular expression that the final name of the file must match; other files "*.partial" stay.
        folders: whether to delete the temporary folders of `whole_path` too; False by default.
    """
    leftover = re.compile(rf"(?:{names})\.(?P<process>[0-9]+){re.escape(PARTIAL)}")
    for path in pathlib.Path(folder).glob(f"*{PARTIAL}"):
        found = leftover.fullmatch(path.name)
        if found and (folders or path.is_file()) and not _of_another(int(found["process"])):
            _delete(path)


def _of_another(process: int) -> bool:
    """Whether another process has this number. Its own files are left over from one that had it before."""
    return process != os.getpid() and processes.CAN_ASK and processes.alive(process)


def _delete(path: pathlib.Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync_folder(folder: pathlib.Path) -> None:
    if os.name == "nt":
        return  # Windows cannot open a folder, so it cannot be brought to the disk by fsync
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def without_leftovers(path: str | os.PathLike) -> pathlib.Path:
    """Deletes what killed processes have left of a file that is written anew, and returns its path."""
    path = pathlib.Path(path).expanduser()
    delete_partial(path.parent, re.escape(path.name), folders=True)
    return path


def write_text(path: str | os.PathLike, text: str) -> None:
    """Writes a UTF-8 file, whole or not at all."""
    with whole_file(path) as file:
        file.write(text.encode())


def write_json(path: str | os.PathLike, content: Any) -> None:
    """Writes a JSON file, indented by two blanks, whole or not at all."""
    write_text(path, json.dumps(content, indent=2) + "\n")


# === Locks ===


class Lock:
    """A lock that only one process at a time can hold; its file holds the name of that process as text.

    The operating system frees the lock when the process ends, also when it is killed. The file stays.

    Args:
        path: path of the file; its folder must exist when the lock is taken.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path)
        self._file = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._file is not None

    def take(self, wait: bool = False) -> None:
        """Takes the lock.

        Args:
            wait: whether to wait until another holder frees the lock; False by default.

        Raises:
            LockHeldError: if `wait` is False and another process, or another `Lock` in this process, holds
                the lock.
        """
        file = self.path.open("a+", encoding="utf-8")
        try:
            while not _try_to_lock(file):
                if not wait:
                    file.seek(0)
                    raise LockHeldError(self.path, file.read().strip() or "another process")
                time.sleep(WAIT)
            file.truncate(0)
            file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
            file.flush()
        except BaseException:
            file.close()
            raise
        self._file = file

    def free(self) -> None:
        """Frees the lock, so that others can take it; does nothing if the lock is not held."""
        if self._file is not None:
            self._file.close()
            self._file = None


@contextlib.contextmanager
def locked(path: str | os.PathLike, wait: bool = True) -> Iterator[Lock]:
    """Takes the lock of a file, and holds it until the block ends.

    Args:
        path: path of the lock's file; its folder is made if it is missing.
        wait: whether to wait until another holder frees the lock; True by default.

    Raises:
        LockHeldError: see `Lock.take`.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = Lock(path)
    lock.take(wait)
    try:
        yield lock
    finally:
        lock.free()


def _try_to_lock(file) -> bool:
    try:
        if os.name == "nt":
            file.seek(LOCKED_BYTE)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK):
            return False
        raise
    return True


# === Checksums ===


def sha256_of(path: str | os.PathLike) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with pathlib.Path(path).open("rb") as file:
        while piece := file.read(TO_HASH):
            digest.update(piece)
    return digest.hexdigest()
