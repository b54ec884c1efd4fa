"""Reads pictures in .zip and .tar files without unpacking them; the path of such a picture is ARCHIVE/NAME.

Nothing is written to the disk. A member is read by its position in the archive, so that several threads and
processes can read at the same time.
"""

from __future__ import annotations

import functools
import io
import os
import re
import struct
import tarfile
import zipfile
import zlib
from typing import BinaryIO, NamedTuple

from keras_leoclr.data.failures import ImageError, shown

ARCHIVES = (".zip", ".tar")
# Largest size of a member in bytes, and largest size of all members as a multiple of that of the archive.
MOST_BYTES, MOST_TIMES = 1 << 30, 100
STORED, DEFLATED = zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED
_LOCAL_HEADER = 30  # bytes before the name of a member in a ZIP file


class Member(NamedTuple):
    """The position and the size of a file in an archive.

    Attributes:
        start: position of the file's content in bytes; in a ZIP file, that of the header before the content.
        packed: number of bytes in the archive.
        size: number of bytes of the file when it is unpacked.
        method: `STORED` or `DEFLATED`; None for another compression, which cannot be read.
        crc: checksum of the unpacked file; None in a .tar file, which has none.
        problem: the reason why the file cannot be read; "" if it can.
    """

    start: int
    packed: int
    size: int
    method: int | None = STORED
    crc: int | None = None
    problem: str = ""


def is_archive(path: str | bytes) -> bool:
    """Whether a path is a file whose name ends with .zip or .tar."""
    return os.fsdecode(path).lower().endswith(ARCHIVES) and os.path.isfile(path)


def members(path: str) -> dict[bytes, Member]:
    """Returns the files in an archive by their names, which have / between folders.

    Raises:
        ValueError: if the archive is damaged, a name leads out of it, or the files are larger than the
            limits.
    """
    found = os.stat(path)
    return _members(os.path.abspath(path), found.st_size, found.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _members(path, size, changed):
    try:
        found = _of_zip(path) if path.lower().endswith(".zip") else _of_tar(path)
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, struct.error) as error:
        raise ValueError(
            "`name_or_path`: an archive must be a .zip file, or a .tar file that is not compressed. "
            f"Received: {shown(path)} ({error})"
        ) from error
    for name in found:
        parts = re.split(rb"[/\\]", name)
        if b".." in parts or name.startswith((b"/", b"\\")) or re.match(rb"[A-Za-z]:", name):
            raise ValueError(
                "`name_or_path`: the names in an archive must not lead out of it. "
                f"Received: {shown(path)}, with {shown(name)}"
            )
    total = sum(member.size for member in found.values())
    if total > max(MOST_BYTES, MOST_TIMES * size):
        raise ValueError(
            f"`name_or_path`: the files in an archive may be {MOST_TIMES} times as large as the archive, or "
            f"{MOST_BYTES:,} bytes. Received: {shown(path)} of {size:,} bytes, with files of {total:,} bytes"
        )
    return found


def _of_zip(path) -> dict[bytes, Member]:
    found = {}
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.is_dir():
                continue
            method = info.compress_type if info.compress_type in (STORED, DEFLATED) else None
            problem = "encrypted" if info.flag_bits & 1 else ""
            if method is None:
                problem = problem or f"compressed by method {info.compress_type} of ZIP, which is not read"
            numbers = info.header_offset, info.compress_size, info.file_size, method, info.CRC
            found[info.filename.encode("utf-8", "surrogateescape")] = Member(
                *numbers, _checked(info, problem)
            )
    return found


def _of_tar(path) -> dict[bytes, Member]:
    found = {}
    with tarfile.open(path, "r:") as archive:
        for info in archive:
            problem = "" if info.isreg() and not info.issparse() else "no plain file of the archive"
            if not info.isdir():
                name = info.name.encode("utf-8", "surrogateescape").removeprefix(b"./")
                found[name] = Member(
                    info.offset_data, info.size, info.size, problem=problem or _checked(info, "")
                )
    return found


def _checked(info, problem) -> str:
    size = info.file_size if isinstance(info, zipfile.ZipInfo) else info.size
    return problem or (f"{size:,} bytes, more than {MOST_BYTES:,}" if size > MOST_BYTES else "")


def parted(path: str | bytes) -> tuple[str, bytes] | None:
    """Splits a path ARCHIVE/NAME into the archive and the name in it; None for any other path."""
    text = os.fsdecode(path)
    for found in re.finditer(r"\.(?:zip|tar)/", text, re.I):
        archive = text[: found.end() - 1]
        if os.path.isfile(archive):
            return archive, os.fsencode(text[found.end() :])
    return None


def state_of(path: str | bytes) -> tuple[int, int]:
    """Returns the size in bytes and the time of change in ns of a file, which may lie in an archive.

    For a file in a ZIP archive, the checksum stands in the place of the time, so that an archive that is
    written again with the same pictures does not count as changed.

    Raises:
        OSError: if there is no such file.
    """
    place = parted(path)
    if place is None:
        found = os.stat(path)
        return found.st_size, found.st_mtime_ns
    member = _member(*place)
    return member.size, os.stat(place[0]).st_mtime_ns if member.crc is None else member.crc


def open_file(path: str | bytes) -> BinaryIO:
    """Opens a file for reading, which may lie in an archive.

    Raises:
        OSError: if there is no such file.
        ImageError: if it cannot be unpacked. The message is the reason, without the path.
    """
    place = parted(path)
    if place is None:
        return open(path, "rb")
    member = _member(*place)
    if member.problem:
        raise ImageError(member.problem)
    with open(place[0], "rb") as file:
        start = member.start
        if member.crc is not None:
            file.seek(start)
            header = file.read(_LOCAL_HEADER)
            if len(header) < _LOCAL_HEADER or header[:4] != b"PK\3\4":
                raise ImageError("damaged: no file of the archive where its table says")
            start += _LOCAL_HEADER + sum(struct.unpack("<HH", header[26:30]))
        file.seek(start)
        packed = file.read(member.packed)
    return io.BytesIO(_unpacked(packed, member))


def _member(archive: str, name: bytes) -> Member:
    found = members(archive).get(name)
    if found is None:
        raise FileNotFoundError(2, "not in the archive", f"{archive}/{os.fsdecode(name)}")
    return found


def _unpacked(packed: bytes, member: Member) -> bytes:
    content = packed
    if member.method == DEFLATED:
        try:
            content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(packed, member.size + 1)
        except zlib.error as error:
            raise ImageError(f"damaged: {error}") from error
    if len(content) != member.size:
        raise ImageError(f"damaged: the archive does not hold the {member.size:,} bytes that its table says")
    if member.crc is not None and zlib.crc32(content) != member.crc:
        raise ImageError("damaged: its checksum is not that of the archive")
    return content
