"""Reads the tags of TIFF files for what Pillow does not report or reads wrongly.

The tags are described in https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf.
"""

from __future__ import annotations

from typing import Any, BinaryIO

from PIL import Image, TiffImagePlugin

from keras_leoclr.data.failures import ImageError

_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _CHANNELS, _PLANES, _SIGN = 256, 257, 258, 262, 277, 284, 339
_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_KINDS = {1: "", 2: "signed ", 3: "floating point "}
_COLOURS = {0: "grey, 0 for white", 1: "grey", 2: "RGB", 3: "palette", 5: "CMYK", 6: "YCbCr", 8: "CIELAB"}


def stored_size(image: Image.Image) -> tuple[int, int]:
    """Returns width and height as stored; some versions of Pillow exchange them in `image.size`."""
    return int(image.tag_v2[_WIDTH]), int(image.tag_v2[_HEIGHT])


def grey_values(image: Image.Image) -> tuple[int, bool]:
    """Returns the bits of a grey value of more than 8 bits, and whether 0 is white, which Pillow ignores."""
    return int(image.tag_v2.get(_BITS, (16,))[0]), image.tag_v2.get(_PHOTOMETRIC) == 0


def check_readable(image: Image.Image) -> None:
    """Refuses files that Pillow opens but reads wrongly.

    Raises:
        ImageError: if the file is such; the message gives the reason.
    """
    tags = image.tag_v2
    bits = max(tags.get(_BITS, (1,)))
    kind = max(tags.get(_SIGN, (1,)))
    if kind == 2 and bits <= 16:
        raise ImageError(f"signed pixels of {bits} bits, whose range is not known")
    planes = tags.get(_PLANES, 1) == 2 and tags.get(_CHANNELS, 1) > 1
    if planes and bits == 16 and image.info.get("compression") == "raw":
        raise ImageError(
            "a TIFF of 16 bits whose channels lie in planes of their own, not compressed, "
            "which Pillow reads wrong; save it with the channels together, or compressed"
        )


def why_not_opened(file: BinaryIO, start: int) -> str:
    """Describes a TIFF that Pillow does not open; "" if the file is no TIFF, or its tags are damaged."""
    try:
        file.seek(start)
        head = file.read(8)
        if head[:4] not in _STARTS:
            return ""
        head += file.read(8) if b"+" in head[:4] else b""
        tags = TiffImagePlugin.ImageFileDirectory_v2(head)
        file.seek(tags.next)
        tags.load(file)
        return _described(tags)
    except Exception:  # Pillow's parser raises many types of errors on damaged files.
        return ""


def _described(tags: Any) -> str:
    channels, bits = int(tags.get(_CHANNELS, 1)), int(max(tags.get(_BITS, (1,))))
    kind = _KINDS.get(int(max(tags.get(_SIGN, (1,)))), "other ")
    if not {_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC} <= set(tags):
        return ""
    colour = _COLOURS.get(tags[_PHOTOMETRIC], "other colours")
    layout = ", in planes of their own" if tags.get(_PLANES, 1) == 2 and channels > 1 else ""
    values = f"{kind}values of {bits} bits"
    plural = "" if channels == 1 else "s"
    return (
        f"a TIFF with {channels} channel{plural} of {values} ({colour}){layout}, which Pillow cannot read; "
        "8 or 16 bits of grey or RGB can be read"
    )
