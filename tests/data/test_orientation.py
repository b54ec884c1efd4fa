"""Pictures that are stored turned, in every format and colour mode, are decoded upright, once."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

import keras_leoclr as kl
from keras_leoclr.data.decode import decode_image, read_header
from keras_leoclr.data.summary import summarize
from tests.pictures import MODES, encoded, picture, png, turned, upright, with_late_exif

pytestmark = pytest.mark.backend_free

KINDS = [(kind, mode) for kind, modes in MODES.items() for mode in modes]
BLOCKS = 40  # of 255: JPEG's blocks and WebP's predictions are others in a picture that is turned


def exact(kind):
    return {"WEBP": {"lossless": True}, "JPEG": {"quality": 95}}.get(kind, {})


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(
    kind_mode=st.sampled_from(KINDS),
    orientation=st.integers(1, 8),
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    seed=st.integers(0, 9),
    compression=st.sampled_from([None, "tiff_lzw", "tiff_deflate", "packbits"]),
)
def test_every_orientation_of_every_format_and_mode_is_decoded_upright(
    kind_mode, orientation, height, width, seed, compression
):
    kind, mode = kind_mode
    image = picture(mode, height, width, seed)
    options = exact(kind) | ({"compression": compression} if kind == "TIFF" else {})
    data = turned(image, kind, orientation, **options)
    stored = decode_image(io.BytesIO(turned(image, kind, 1, **options)))
    np.testing.assert_array_equal(decode_image(io.BytesIO(data)), upright(stored, orientation))
    header = read_header(io.BytesIO(data))
    assert (header.width, header.height, header.orientation) == (width, height, orientation)
    theirs = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert theirs.size == upright(stored, orientation).shape[1::-1]


def test_a_folder_of_turned_pictures_is_upright_in_pixels_sizes_and_words(tmp_path):
    expected = {}
    for kind, mode in KINDS:
        stored = decode_image(io.BytesIO(turned(picture(mode), kind, 1, **exact(kind))))
        for orientation in range(1, 9):
            name = f"{kind}_{mode.replace(';', '')}_{orientation}.jpg"
            (tmp_path / name).write_bytes(turned(picture(mode), kind, orientation, **exact(kind)))
            expected[name] = upright(stored, orientation)
    source = kl.data.load(tmp_path)
    for path, size, element in zip(
        source.images.paths, source.images.sizes, source.as_numpy_iterator(), strict=True
    ):
        name = path.rsplit("/", 1)[1]
        assert element["image"].shape == expected[name].shape == (*size, 3), name
        difference = np.abs(element["image"].astype(int) - expected[name])
        assert difference.max() <= (BLOCKS if name.startswith("JPEG") else 0), name
    text, _ = summarize(str(tmp_path))
    assert f"rotated     {7 * len(KINDS)}, as their" in text
    assert "width       min 37, median 45, max 53" in text and "height      min 37, median 45" in text


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_a_tiff_that_is_stored_turned_is_not_turned_twice(compression):
    stored = np.zeros((40, 60, 3), np.uint8)
    stored[:10, :20] = 255  # the upper left corner is the upper right one once it is turned
    data = encoded(Image.fromarray(stored), "TIFF", tiffinfo={0x0112: 6}, compression=compression)
    image = decode_image(io.BytesIO(data))
    assert image.shape == (60, 40, 3) and (image[:20, -10:] == 255).all() and image.mean() < 30


def test_an_orientation_behind_the_pixels_of_a_png_counts(tmp_path):
    data = with_late_exif(png(), 6)
    assert read_header(io.BytesIO(data)).orientation == 6
    (tmp_path / "late.png").write_bytes(data)
    (element,) = kl.data.load(tmp_path).as_numpy_iterator()
    np.testing.assert_array_equal(element["image"], upright(np.asarray(picture()), 6))
    damaged = data.replace(b"eXIf", b"eXIg")
    assert read_header(io.BytesIO(damaged)).orientation == 1
