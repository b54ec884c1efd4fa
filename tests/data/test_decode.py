"""Picture files to pixels, in every format and colour mode."""

import io
import random
import time

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

import keras_leoclr as kl
from keras_leoclr.data import decode
from keras_leoclr.data.decode import JPEG, PILLOW, PNG, decode_image, read_header
from tests.pictures import encoded, header_of_a_huge_png, jpeg, oriented, picture, png

pytestmark = pytest.mark.backend_free

JPEG_TOLERANCE = 12  # another IDCT and another upsampling of the colour planes


def gif():
    frames = [picture("P", seed=seed) for seed in range(3)]
    return encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])


def palette_with_transparency():
    image = picture("RGB").quantize(16)
    return encoded(image, "PNG", transparency=3)


def png16(channels=3):
    """A 16-bit PNG; Pillow writes grey ones only."""
    values = np.random.default_rng(0).integers(0, 2**16, (11, 13, channels), dtype=np.uint16)
    return tf.io.encode_png(values if channels == 3 else values[..., :1]).numpy(), values


# name: bytes, route, tolerance
FILES = {
    "jpeg": (jpeg(), JPEG, JPEG_TOLERANCE),
    "jpeg grey": (jpeg(mode="L"), JPEG, JPEG_TOLERANCE),
    "jpeg progressive": (jpeg(progressive=True), JPEG, JPEG_TOLERANCE),
    "jpeg 4:4:4": (jpeg(subsampling=0), JPEG, JPEG_TOLERANCE),
    "jpeg cmyk": (jpeg(mode="CMYK"), PILLOW, 0),
    "png": (png(), PNG, 0),
    "png grey": (png(mode="L"), PNG, 0),
    "png 1 bit": (png(mode="1"), PILLOW, 0),
    "png palette": (png(mode="P"), PILLOW, 0),
    "png palette, transparent": (palette_with_transparency(), PILLOW, 0),
    "png rgba": (png(mode="RGBA"), PILLOW, 0),
    "png grey, alpha": (png(mode="LA"), PILLOW, 0),
    "png 16 bits grey": (png(mode="I;16"), PILLOW, 0),
    "png 16 bits": (png16()[0], PNG, 0),
    "webp": (encoded(picture(), "WEBP", lossless=True), PILLOW, 0),
    "webp, lossy": (encoded(picture(), "WEBP"), PILLOW, 0),
    "webp rgba": (encoded(picture("RGBA"), "WEBP", lossless=True), PILLOW, 0),
    "bmp": (encoded(picture(), "BMP"), PILLOW, 0),
    "gif": (gif(), PILLOW, 0),
    "tiff": (encoded(picture(), "TIFF"), PILLOW, 0),
    "tiff cmyk": (encoded(picture("CMYK"), "TIFF"), PILLOW, 0),
    "1 x 1": (png(height=1, width=1), PNG, 0),
    **{f"turned {n}": (oriented(n), JPEG, JPEG_TOLERANCE) for n in range(1, 9)},
    **{f"turned png {n}": (oriented(n, "PNG"), PNG if n == 1 else PILLOW, 0) for n in (1, 6)},
    "turned webp": (oriented(8, "WEBP", lossless=True), PILLOW, 0),
}


def reference(data: bytes) -> np.ndarray:
    """Pillow's own pixels, upright, transparency on white."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    if image.mode == "I;16":
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        return np.stack([grey] * 3, axis=-1)
    if "A" in image.getbands() or "transparency" in image.info:
        rgba = np.asarray(image.convert("RGBA"), np.float64)
        alpha = rgba[..., 3:] / 255
        return np.round(rgba[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return np.asarray(image.convert("RGB"))


def write_all(folder, files):
    for name, (data, *_) in files.items():
        (folder / name.replace(" ", "_")).with_suffix(".jpg").write_bytes(data)  # the extension says nothing


def largest_difference(first, second):
    assert first.shape == second.shape and first.dtype == second.dtype == np.uint8
    return np.abs(first.astype(int) - second).max()


@pytest.mark.parametrize("name", FILES)
def test_every_format_and_mode_decodes_as_pillow_does(name):
    data, route, _ = FILES[name]
    assert read_header(io.BytesIO(data)).route == route
    # one step of rounding where transparency is blended
    assert largest_difference(decode_image(io.BytesIO(data)), reference(data)) <= 1


def test_folder_and_stream_decode_them_all_alike(tmp_path):
    write_all(tmp_path, FILES)
    names = {name.replace(" ", "_"): name for name in FILES}
    dataset = kl.data.load(tmp_path)
    assert dataset.element_spec["image"].shape == (None, None, 3)
    for path, element in zip(dataset.images.paths, dataset.as_numpy_iterator(), strict=True):
        data, _, tolerance = FILES[names[path.rsplit("/", 1)[1].removesuffix(".jpg")]]
        assert largest_difference(element["image"], reference(data)) <= max(1, tolerance), path
    stream = tf.data.Dataset.from_tensor_slices({"image": [data for data, _, _ in FILES.values()]})
    for name, element in zip(FILES, kl.data.decode_dataset(stream).as_numpy_iterator(), strict=True):
        data, _, tolerance = FILES[name]
        assert largest_difference(element["image"], reference(data)) <= max(1, tolerance), name


def test_inverted_cmyk_of_adobe_is_turned_back():
    plain = jpeg(mode="CMYK")
    image = Image.open(io.BytesIO(plain))
    assert image.info.get("adobe") is not None  # Pillow writes the marker and inverts
    expected = np.asarray(picture("CMYK").convert("RGB"))
    assert largest_difference(decode_image(io.BytesIO(plain)), expected) <= 3 * JPEG_TOLERANCE


def test_transparency_lies_on_the_background():
    clear = encoded(Image.new("RGBA", (4, 3), (10, 20, 30, 0)), "PNG")
    assert (decode_image(io.BytesIO(clear)) == 255).all()
    coloured = decode_image(io.BytesIO(clear), background=(1, 2, 3))
    np.testing.assert_array_equal(coloured, np.broadcast_to(np.uint8([1, 2, 3]), (3, 4, 3)))


def test_of_16_bits_the_upper_8_are_kept(tmp_path):
    data, values = png16()
    np.testing.assert_array_equal(decode_image(io.BytesIO(data)), values >> 8)
    (tmp_path / "a.png").write_bytes(data)
    np.testing.assert_array_equal(next(iter(kl.data.load(tmp_path)))["image"], values >> 8)


@pytest.mark.parametrize(
    ("least_pixels", "expected"), [(None, 1), (400 * 300, 1), (200 * 150, 2), (100 * 75, 4), (1, 8)]
)
def test_large_jpegs_are_decoded_at_a_reduced_scale(tmp_path, least_pixels, expected):
    (tmp_path / "a.jpg").write_bytes(jpeg(height=300, width=400))
    assert decode.reduction(400, 300, least_pixels) == expected
    dataset = kl.data.load(tmp_path, least_pixels=least_pixels)
    shapes = [next(iter(dataset))["image"].shape, dataset.images.read(0, least_pixels).shape]
    assert shapes == [(-(-300 // expected), -(-400 // expected), 3)] * 2
    stream = tf.data.Dataset.from_tensors({"image": jpeg(height=300, width=400)})
    assert next(iter(kl.data.decode_dataset(stream, least_pixels)))["image"].shape == shapes[0]


def test_only_jpegs_are_reduced_and_never_below_a_pixel(tmp_path):
    (tmp_path / "a.png").write_bytes(png(height=300, width=400))
    (tmp_path / "b.jpg").write_bytes(jpeg(height=1, width=1))
    shapes = {e["image"].shape for e in kl.data.load(tmp_path, least_pixels=1).as_numpy_iterator()}
    assert shapes == {(300, 400, 3), (1, 1, 3)}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no JPEG, PNG, WEBP, BMP, GIF or TIFF picture"),
        (b"<html>not found</html>", "no JPEG, PNG"),
        (b"\x89PNG\r\n\x1a\n", "no JPEG, PNG|damaged"),
        (png()[:200], "damaged: "),
        (jpeg()[:400], "damaged: "),
        (header_of_a_huge_png(), "20000 x 20000|more pixels than `max_pixels`"),
        (encoded(Image.fromarray(np.ones((3, 3), np.float32)), "TIFF"), "pixels of 32 bits"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no JPEG, PNG"),
    ],
)
def test_what_cannot_be_decoded_says_why(data, reason):
    with pytest.raises(kl.data.ImageError, match=reason):
        decode_image(io.BytesIO(data))


def test_size_is_judged_before_anything_is_decoded():
    started = time.monotonic()
    with pytest.raises(kl.data.ImageError, match=r"53 x 37 pixels are more than `max_pixels`, 1,960, allows"):
        decode_image(io.BytesIO(png()), max_pixels=1960)
    assert decode_image(io.BytesIO(png()), max_pixels=1961).shape == (37, 53, 3)
    with pytest.raises(kl.data.ImageError, match="max_pixels"):
        read_header(io.BytesIO(header_of_a_huge_png()))
    stream = tf.data.Dataset.from_tensors({"image": header_of_a_huge_png()})
    with pytest.raises(tf.errors.InvalidArgumentError, match="picture 0: .*max_pixels"):
        list(kl.data.decode_dataset(stream))
    assert time.monotonic() - started < 5


def test_damaged_exif_does_not_matter():
    data = oriented(6)
    start = data.index(b"Exif\0\0") + 6
    broken = data[:start] + b"\xff" * 16 + data[start + 16 :]
    assert read_header(io.BytesIO(broken)).orientation == 1
    assert decode_image(io.BytesIO(broken)).shape == (37, 53, 3)


# === Order ===


def test_order_is_exact_however_slow_single_pictures_are():
    files = [data for data, _, _ in FILES.values()] * 6
    random.Random(0).shuffle(files)
    elements = {"image": files, "label": np.arange(len(files))}
    dataset = kl.data.decode_dataset(tf.data.Dataset.from_tensor_slices(elements), parallel=4)
    assert int(dataset.cardinality()) == len(files)
    for expected, element in enumerate(dataset.as_numpy_iterator()):
        assert int(element["label"]) == expected
        assert element["image"].shape == reference(files[expected]).shape


def test_an_iterator_may_be_left_in_the_middle():
    files = [jpeg(seed) for seed in range(8)] * 20 + [b"bad"]
    dataset = kl.data.decode_dataset(tf.data.Dataset.from_tensor_slices({"image": files})).prefetch(4)
    for _ in range(5):
        iterator = iter(dataset)
        next(iterator)
        del iterator
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"picture 160: no JPEG.*let `on_error` skip"):
        list(dataset)
    with pytest.raises(tf.errors.InvalidArgumentError):  # once more: no thread hangs
        list(dataset)


# === Damage ===

SEEDS = [
    jpeg(height=20, width=24),
    jpeg(height=20, width=24, progressive=True),
    png(height=20, width=24),
    png(height=20, width=24, mode="P"),
    encoded(picture("RGBA", 20, 24), "WEBP"),
    encoded(picture("P", 20, 24), "GIF"),
    encoded(picture("RGB", 20, 24), "BMP"),
    encoded(picture("RGB", 20, 24), "TIFF"),
    oriented(6),
]


@st.composite
def damaged(draw):
    """A picture, cut, with bytes changed, or with a piece twice."""
    data = bytearray(draw(st.sampled_from(SEEDS)))
    for _ in range(draw(st.integers(0, 6))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    if draw(st.booleans()):
        data = data[: draw(st.integers(0, len(data)))]
    if draw(st.booleans()):
        start = draw(st.integers(0, len(data)))
        data[start:start] = data[start : start + draw(st.integers(0, 64))]
    return bytes(data)


LIMIT = 1_000_000


@tf.function
def in_graph(data, header):
    return decode.decode_in_graph(data, header)


def check_damaged(data):
    """An image or our error, in the graph and in Python, and no more pixels than allowed."""
    try:
        image = decode_image(io.BytesIO(data), max_pixels=LIMIT)
        assert image.shape[2] == 3 and image.size <= 3 * LIMIT
    except kl.data.ImageError as error:
        assert "\n" not in str(error) and len(str(error)) < 200
    try:
        header = read_header(io.BytesIO(data), LIMIT)._asdict()
    except kl.data.ImageError:
        return
    numbers = {name: tf.constant(header[name]) for name in ("route", "orientation", "height", "width")}
    try:
        image = in_graph(tf.constant(data), numbers)
        assert image.shape[2] == 3 and tf.size(image) <= 3 * LIMIT
    except tf.errors.InvalidArgumentError:
        pass  # goes on to Python


quietly = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=300, derandomize=True, **quietly)
@given(data=damaged())
def test_damaged_files_are_an_image_or_an_error(data):
    check_damaged(data)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@settings(max_examples=3000, **quietly)
@given(data=damaged())
def test_many_damaged_files_are_an_image_or_an_error(data):
    check_damaged(data)


@pytest.mark.filterwarnings("ignore")
def test_a_stream_of_damaged_files_keeps_its_length():
    rng = random.Random(0)

    def mutated():
        data = bytearray(rng.choice(SEEDS))
        for _ in range(rng.randrange(4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        return bytes(data[: rng.randrange(len(data) // 2, len(data) + 1)])

    files = [jpeg(), *(mutated() for _ in range(100))]
    failures = kl.data.Failures(max_failures=1.0)
    stream = tf.data.Dataset.from_tensor_slices({"image": files, "label": np.arange(len(files))})
    dataset = kl.data.decode_dataset(stream, on_error="skip", max_pixels=LIMIT, failures=failures)
    labels = [int(element["label"]) for element in dataset.as_numpy_iterator()]
    assert len(labels) == len(files) and labels == sorted(labels)
    assert len(set(labels)) == len(files) - failures.count and failures.count > 10
