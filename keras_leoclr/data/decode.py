"""Decodes pictures to RGB, in the TensorFlow graph if possible, otherwise by Pillow; long for the many
formats.

The result is always 8-bit RGB. Grey becomes three equal channels, CMYK is converted as by Pillow, a palette
is looked up, transparency is laid on `background`, of 16 or 12 bits the upper 8 are kept, the EXIF
orientation is applied, and the first frame of an animation is taken.
"""

from __future__ import annotations

import contextlib
import io
import zlib
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import Image, UnidentifiedImageError

from keras_leoclr.data import tiff
from keras_leoclr.data.failures import ImageError, shown
from keras_leoclr.tensorflow_host import tf

# Pillow may only use these formats. Others, such as EPS, would start another program.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
# This is twice Image.MAX_IMAGE_PIXELS, the size at which Pillow itself refuses.
MAX_PIXELS = 178_956_970
WHITE = (255, 255, 255)

# The three ways to decode a file: by Pillow, or by the graph as JPEG or PNG.
PILLOW, JPEG, PNG = 0, 1, 2

_ORIENTATION = 0x0112
_TRANSPOSED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_REDUCTIONS = (8, 4, 2)
_TAIL = 2**17  # bytes at the end of a PNG in which EXIF is looked for


class Header(NamedTuple):
    """The properties of a picture that its file tells before any pixel is decoded.

    `width` and `height` are those of the stored pixels, before `orientation` (1 to 8, EXIF) is applied.
    """

    format: str
    mode: str
    width: int
    height: int
    orientation: int
    route: int


def read_header(file: BinaryIO, max_pixels: int = MAX_PIXELS) -> Header:
    """Reads the header of a picture; the format is determined by the content, never by the name.

    Args:
        file: an open file, or `io.BytesIO` of the bytes.
        max_pixels: largest width times height.

    Raises:
        ImageError: if this is not a picture, or too large; the message is only the reason.
    """
    with _open(file, max_pixels) as image:
        orientation = _orientation(image)
        size = tiff.stored_size(image) if image.format == "TIFF" else image.size
        header = (image.format, image.mode, *size, orientation)
        return Header(*header, route=_route(image, orientation))


def decode_image(
    file: BinaryIO,
    least_pixels: int | None = None,
    background: tuple[int, int, int] = WHITE,
    max_pixels: int = MAX_PIXELS,
) -> np.ndarray:
    """Decodes any picture with Pillow.

    Args:
        file: an open file, or `io.BytesIO` of the bytes.
        least_pixels: if given, JPEGs are decoded at 1/2, 1/4 or 1/8 of their size as long as at least so many
            pixels remain.
        background: RGB in [0, 255] behind transparent pixels; white by default.
        max_pixels: largest width times height, checked before any pixel is decoded.

    Returns:
        (H, W, 3) uint8.

    Raises:
        ImageError: if it cannot be decoded; the message is only the reason.
    """
    with _open(file, max_pixels) as image, _reasons():
        if image.format in ("JPEG", "MPO"):
            factor = reduction(*image.size, least_pixels)
            if factor > 1:
                image.draft(None, (image.width // factor, image.height // factor))
        image.load()
        # Size and orientation must be read after this: Pillow turns TIFFs as it loads them, and then reports
        # 1.
        picture, orientation = _to_rgb(image, background), _orientation(image)
        if orientation in _TRANSPOSED:
            picture = picture.transpose(_TRANSPOSED[orientation])
        return np.array(picture, np.uint8)


def reduction(width: int, height: int, least_pixels: int | None) -> int:
    """The largest of 8, 4, 2 and 1 by which both sides may be divided while `least_pixels` remain."""
    for factor in _REDUCTIONS if least_pixels is not None else ():
        if (width // factor) * (height // factor) >= max(1, least_pixels):
            return factor
    return 1


def decode_in_graph(
    encoded: tf.Tensor, header: dict[str, tf.Tensor], least_pixels: int | None = None
) -> tf.Tensor:
    """Decodes a JPEG or PNG without special features in the graph.

    Args:
        encoded: bytes, ().
        header: `route`, `orientation`, `height` and `width` of a `Header`, each () int.
        least_pixels: see `decode_image`.

    Returns:
        (H, W, 3) uint8; the step fails for a picture that only Pillow can decode.
    """

    def jpeg(ratio):
        return lambda: tf.io.decode_jpeg(encoded, channels=3, ratio=ratio, dct_method="INTEGER_FAST")

    def scaled_jpeg():
        if least_pixels is None:
            return jpeg(1)()
        fits = [
            (header["width"] // factor) * (header["height"] // factor) >= max(1, least_pixels)
            for factor in _REDUCTIONS
        ]
        cases = [(fit, jpeg(factor)) for fit, factor in zip(fits, _REDUCTIONS, strict=True)]
        return tf.case(cases, default=jpeg(1))

    routes = {
        PILLOW: lambda: tf.io.decode_png("", channels=3),  # This fails, so that `in_order` calls Python.
        JPEG: scaled_jpeg,
        PNG: lambda: tf.io.decode_png(encoded, channels=3),
    }
    image = tf.switch_case(tf.cast(header["route"], tf.int32), routes)
    return _transpose_in_graph(image, header["orientation"])


def in_order(
    elements: tf.data.Dataset,
    in_graph: Callable[[Any], Any],
    in_python: Callable[[Any], Any],
    parallel: int,
) -> tf.data.Dataset:
    """Maps each element with `in_graph` or, if that fails, with `in_python`.

    The order is that of `elements`. Only what the graph cannot do reaches Python, which runs one call at a
    time.

    Args:
        elements: data set of the functions' argument.
        in_graph: graph function; its errors are ignored.
        in_python: graph function that calls Python; its errors are raised.
        parallel: number of elements that are processed at a time.
    """

    def one(element):
        single = tf.data.Dataset.from_tensors(element)
        return single.map(in_graph).ignore_errors().concatenate(single.map(in_python)).take(1)

    return elements.interleave(
        tf.autograph.experimental.do_not_convert(one),
        cycle_length=2 * parallel,
        block_length=1,
        num_parallel_calls=parallel,
        deterministic=True,
    )


def check_options(
    on_error: str, max_pixels: int, background: Sequence[int], least_pixels: int | None, parallel: int
) -> None:
    """Raises ValueError for an option of `load` or `decode_dataset` that is not valid."""
    if on_error not in ("raise", "skip"):
        raise ValueError(f'`on_error` must be "raise" or "skip". Received: on_error={on_error!r}')
    if not isinstance(max_pixels, int) or not 1 <= max_pixels <= MAX_PIXELS:
        raise ValueError(
            f"`max_pixels` must be a whole number in [1, {MAX_PIXELS}]. Received: max_pixels={max_pixels!r}"
        )
    colour = tuple(background)
    if len(colour) != 3 or not all(isinstance(v, int) and 0 <= v <= 255 for v in colour):
        raise ValueError(
            f"`background` must be three whole numbers in [0, 255]. Received: background={background!r}"
        )
    for name, value in (("least_pixels", least_pixels), ("parallel", parallel)):
        if not (value is None and name == "least_pixels") and (not isinstance(value, int) or value < 1):
            raise ValueError(f"`{name}` must be a whole number >= 1. Received: {name}={value!r}")


def advice(name: str | bytes, reason: str) -> str:
    """The error message for a picture that cannot be decoded."""
    return f"{shown(name)}: {reason}. Repair or remove it, or let `on_error` skip it."


def raise_if(message: tf.Tensor) -> None:
    """Fails the step of a tf.data pipeline with only the message, without the stack of Python."""
    tf.debugging.Assert(tf.equal(message, ""), [message])


def _open(file: BinaryIO, max_pixels: int) -> Image.Image:
    start = file.tell()
    try:
        with _reasons():
            image = Image.open(file, formats=FORMATS)
    except ImageError as error:
        reason = tiff.why_not_opened(file, start)
        raise (ImageError(reason) if reason else error) from error
    if not image.width or not image.height:
        raise ImageError("no pixels, of size 0")
    if image.width * image.height > max_pixels:
        raise ImageError(
            f"{image.width} x {image.height} pixels are more than `max_pixels`, {max_pixels:,}, allows"
        )
    if image.format == "TIFF":
        tiff.check_readable(image)
    if image.mode == "F" or (image.mode == "I" and image.format != "PNG"):
        raise ImageError(f"pixels of 32 bits (mode {image.mode}), whose range is not known")
    if image.mode == "LAB":
        raise ImageError("colours in CIELAB, which are not converted")
    return image


@contextlib.contextmanager
def _reasons():
    """A context that turns whatever Pillow raises into an ImageError with a short reason."""
    try:
        yield
    except ImageError:
        raise
    except UnidentifiedImageError as error:
        raise ImageError(f"no {', '.join(FORMATS[:-1])} or {FORMATS[-1]} picture") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"more pixels than `max_pixels`, {MAX_PIXELS:,}, allows") from error
    except Exception as error:  # Pillow's parsers raise many types of errors on damaged files.
        if isinstance(error, OSError) and error.strerror:
            raise ImageError(f"cannot be opened: {error.strerror}") from error
        words = str(error).strip() or type(error).__name__
        raise ImageError(f"damaged: {words.splitlines()[0][:120]}") from error


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation (1 to 8) that must still be applied to the pixels."""
    try:
        if image.format == "PNG" and "exif" not in image.info:
            image.info |= _late_exif(image.fp)
        # The getexif of PNG would decode all pixels in search of a chunk that may follow them.
        orientation = Image.Image.getexif(image).get(_ORIENTATION, 1)
    except Exception:  # EXIF is often damaged in pictures that are otherwise fine.
        return 1
    return orientation if orientation in _TRANSPOSED else 1


def _late_exif(file: BinaryIO | None) -> dict[str, bytes]:
    """Returns the EXIF data that follow the pixels of a PNG, as in Pillow's `info`; {} if there are none."""
    if file is None or file.closed:  # Pillow has loaded the pixels, and the data after them, already.
        return {}
    position = file.tell()
    file.seek(max(0, file.seek(0, io.SEEK_END) - _TAIL))
    tail = file.read()
    file.seek(position)
    start = tail.rfind(b"eXIf")
    length = int.from_bytes(tail[max(0, start - 4) : start], "big") if start >= 4 else 0
    chunk, check = tail[start : start + 4 + length], tail[start + 4 + length : start + 8 + length]
    if start < 4 or zlib.crc32(chunk) != int.from_bytes(check, "big"):  # The bytes found belong to pixels.
        return {}
    return {"exif": b"Exif\0\0" + chunk[4:]}


def _route(image: Image.Image, orientation: int) -> int:
    if image.mode not in ("RGB", "L"):
        return PILLOW
    if image.format in ("JPEG", "MPO"):
        return JPEG
    plain = image.format == "PNG" and "transparency" not in image.info and orientation == 1
    return PNG if plain else PILLOW


def _to_rgb(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        bits, inverted = tiff.grey_values(image) if image.format == "TIFF" else (16, False)
        grey = (np.asarray(image).astype(np.int32) >> (bits - 8)).clip(0, 255).astype(np.uint8)
        return Image.fromarray(255 - grey if inverted else grey).convert("RGB")
    if image.mode == "La":  # In this mode, grey is premultiplied with alpha.
        image = image.convert("LA")
    if image.has_transparency_data:
        opaque = Image.new("RGBA", image.size, (*background, 255))
        return Image.alpha_composite(opaque, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _transpose_in_graph(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    def among(*values):
        return tf.reduce_any(tf.equal(orientation, values))

    def turned():
        turned = tf.cond(orientation >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
        turned = tf.cond(among(2, 3, 6, 7), lambda: tf.reverse(turned, [1]), lambda: turned)
        return tf.cond(among(3, 4, 7, 8), lambda: tf.reverse(turned, [0]), lambda: turned)

    image = tf.cond(orientation > 1, turned, lambda: image)
    image.set_shape([None, None, 3])
    return image
