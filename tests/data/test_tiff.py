"""TIFFs that Pillow reads wrong or not at all are read right, or refused with what they hold."""

import io

import numpy as np
import pytest

import keras_leoclr as kl
from keras_leoclr import cli
from keras_leoclr.data.decode import decode_image, read_header
from tests.pictures import smooth, tiff

pytestmark = pytest.mark.backend_free

GREY = smooth(8, 10, 1)
COLOUR = smooth(8, 10, 3)


def grey(values):
    return np.repeat(values, 3, axis=-1)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (tiff(COLOUR), COLOUR),
        (tiff(COLOUR, planes=True), COLOUR),
        (tiff(COLOUR.astype(np.uint16) * 257), COLOUR),
        (tiff(GREY.astype(np.uint16) * 257), grey(GREY)),
        (tiff(GREY, white_is_zero=True), grey(255 - GREY)),
        (tiff(GREY.astype(np.uint16) * 257, white_is_zero=True), grey(255 - GREY)),
        (tiff(GREY.astype(np.uint16) * 16, bits=12), grey(GREY)),
    ],
    ids=["rgb", "planes", "16 bits", "grey 16", "white is 0", "16 bits, white is 0", "12 bits"],
)
def test_right_values(data, expected):
    np.testing.assert_array_equal(decode_image(io.BytesIO(data)), expected)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (tiff(COLOUR.astype(np.uint16) * 257, planes=True), "16 bits whose channels lie in planes of their"),
        (tiff(GREY.astype(np.int16), sign=2), "signed pixels of 16 bits, whose range is not known"),
        (tiff(GREY.astype(np.int8), sign=2), "signed pixels of 8 bits, whose range is not known"),
        (tiff(GREY.astype(np.int32), sign=2), "pixels of 32 bits"),
        (tiff(GREY.astype(np.float16), sign=3), "1 channel of floating point values of 16 bits"),
        (tiff(GREY.astype(np.float32), sign=3), "pixels of 32 bits .mode F., whose range is not known"),
        (tiff(smooth(8, 10, 4), rgb=False), r"a TIFF with 4 channels of values of 8 bits \(grey\)"),
        (tiff(np.tile(GREY, 13).astype(np.uint16)), r"13 channels of values of 16 bits .* cannot read; 8 or"),
        (tiff(np.tile(GREY, 13), planes=True), "13 channels .* in planes of their own, which Pillow cannot"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(data, reason):
    for read in (decode_image, read_header):
        with pytest.raises(kl.data.ImageError, match=reason):
            read(io.BytesIO(data))


@pytest.mark.filterwarnings("ignore:Truncated File Read", "ignore:Corrupt EXIF data")
def test_damaged_tags_are_still_a_damaged_picture():
    for data in (tiff(COLOUR)[:60], b"II*\0\xff\xff\xff\xff", b"II+\0\x08\0\0\0"):
        with pytest.raises(kl.data.ImageError, match="no JPEG|damaged"):
            decode_image(io.BytesIO(data))


def test_the_command_tells_of_pictures_that_use_a_small_part_of_their_range(tmp_path, capsys):
    (tmp_path / "full.tif").write_bytes(tiff(GREY.astype(np.uint16) * 257))
    (tmp_path / "twelve.tif").write_bytes(tiff(GREY.astype(np.uint16) * 16))  # 12 bits in 16
    for flags in ([], ["--verify"]):
        assert cli.main(["leoclr", "data", str(tmp_path), *flags]) == 0
        said = capsys.readouterr().out
        assert "levels      1 of 2 pictures that were decoded use 32 of 256 levels or fewer" in said
        assert "twelve.tif (0 to 15): nearly of one colour, as values of 12 bits in files of 16" in said
    (tmp_path / "twelve.tif").unlink()
    assert cli.main(["leoclr", "data", str(tmp_path)]) == 0
    assert "levels" not in capsys.readouterr().out
