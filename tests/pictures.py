"""Real picture files in every format and colour mode, made with Pillow."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def smooth(height=37, width=53, channels=3, seed=0) -> np.ndarray:
    """uint8 (H, W, C) without sharp edges, so that JPEG keeps it."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (5, 7, channels), dtype=np.uint8)
    planes = [Image.fromarray(coarse[..., c]).resize((width, height), 3) for c in range(channels)]
    return np.stack([np.asarray(plane) for plane in planes], axis=-1)


def picture(mode="RGB", height=37, width=53, seed=0) -> Image.Image:
    """A smooth picture in a mode of Pillow's."""
    pixels = smooth(height, width, 4, seed)
    if mode == "I;16":
        return Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    if mode in ("RGBA", "LA"):
        return Image.fromarray(pixels).convert(mode)
    if mode == "CMYK":
        return Image.fromarray(pixels, "CMYK")
    return Image.fromarray(pixels[..., :3]).convert(mode)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    """The bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def oriented(orientation: int, kind="JPEG", **options) -> bytes:
    """A picture with an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(picture(), kind, exif=exif.tobytes(), **options)


def jpeg(seed=0, height=37, width=53, mode="RGB", **options) -> bytes:
    return encoded(picture(mode, height, width, seed), "JPEG", **options)


def png(seed=0, height=37, width=53, mode="RGB", **options) -> bytes:
    return encoded(picture(mode, height, width, seed), "PNG", **options)


def header_of_a_huge_png(side=20_000) -> bytes:
    """A PNG that says it is `side` x `side` and holds a few bytes."""
    import struct
    import zlib

    data = png()
    header = b"IHDR" + struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:]


# Pillow's modes that files of a format can have
MODES = {
    "JPEG": ("RGB", "L", "CMYK"),
    "PNG": ("RGB", "L", "1", "P", "RGBA", "LA", "I;16"),
    "WEBP": ("RGB", "RGBA"),
    "TIFF": ("RGB", "L", "1", "P", "RGBA", "LA", "CMYK", "I;16"),
}


def turned(image: Image.Image, kind: str, orientation: int, **options) -> bytes:
    """A file of a picture with an orientation, where the format keeps it."""
    if kind == "TIFF":
        return encoded(image, kind, tiffinfo={0x0112: orientation}, **options)
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image, kind, exif=exif.tobytes(), **options)


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Stored pixels (H, W, ...) as the orientation, 1 to 8, wants them seen."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels[::-1] if orientation in (3, 4, 7, 8) else pixels


def with_late_exif(png_file: bytes, orientation: int) -> bytes:
    """A PNG whose orientation stands behind its pixels."""
    import struct
    import zlib

    exif = Image.Exif()
    exif[0x0112] = orientation
    chunk = b"eXIf" + exif.tobytes()[6:]
    late = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    return png_file[:-12] + late + png_file[-12:]


def tiff(values: np.ndarray, bits=None, planes=False, white_is_zero=False, sign=1, rgb=None) -> bytes:
    """A TIFF as Pillow does not write it: values (H, W, C) as they are, not compressed.

    Args:
        values: integers or floats; with 12 `bits` in [0, 4095], two of them in three bytes.
        bits: of a value; by default those of the type.
        planes: whether each channel lies by itself.
        white_is_zero: whether 0 is white.
        sign: the tag SampleFormat, 2 for signed and 3 for floating point values.
        rgb: whether the first three channels are colours; by default if there are three.
    """
    import struct

    height, width, channels = values.shape
    bits = bits or 8 * values.dtype.itemsize
    stored = values.transpose(2, 0, 1) if planes else values
    content = stored.astype(values.dtype.newbyteorder("<")).tobytes()
    if bits == 12:
        pairs = values.reshape(-1, 2).astype(np.uint16)
        high, low = pairs[:, 0], pairs[:, 1]
        content = np.stack([high >> 4, (high & 15) << 4 | low >> 8, low & 255], 1).astype(np.uint8).tobytes()
    strips = channels if planes else 1
    rgb = channels == 3 if rgb is None else rgb
    photometric = 2 if rgb else 0 if white_is_zero else 1
    per_strip = len(content) // strips
    tags = [(256, 4, [width]), (257, 4, [height]), (258, 3, [bits] * channels), (259, 3, [1])]
    tags += [(262, 3, [photometric]), (273, 4, [None] * strips), (277, 3, [channels]), (278, 4, [height])]
    tags += [(279, 4, [per_strip] * strips), (284, 3, [2 if planes else 1]), (339, 3, [sign] * channels)]
    end = 8 + 2 + 12 * len(tags) + 4
    more = b""
    outside = sum(len(v) * (2 if kind == 3 else 4) for _, kind, v in tags if len(v) * (kind - 1) * 2 > 6)
    start = end + outside + outside % 2
    table = struct.pack("<H", len(tags))
    for tag, kind, entries in tags:
        if tag == 273:
            entries = [start + number * per_strip for number in range(strips)]
        packed = b"".join(struct.pack("<H" if kind == 3 else "<I", entry) for entry in entries)
        table += struct.pack("<HHI", tag, kind, len(entries))
        if len(packed) <= 4:
            table += packed.ljust(4, b"\0")
        else:
            table += struct.pack("<I", end + len(more))
            more += packed
    return (b"II*\0" + struct.pack("<I", 8) + table + bytes(4) + more).ljust(start, b"\0") + content
