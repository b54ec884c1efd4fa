"""Views as they are drawn, and `leoclr views`."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import keras_leoclr as kl
from keras_leoclr import cli
from keras_leoclr.views import missed, sampling
from keras_leoclr.views import sheet as view_sheet
from keras_leoclr.views.preview import draw_views, write_views
from keras_leoclr.views.settings import ViewSettings
from keras_leoclr.views.sheet import Drawn
from tests.case import random_images

pytestmark = pytest.mark.backend_free
PLAIN = {
    **{"jitter_probability": 0.0, "grayscale_probability": 0.0, "blur_probability": 0.0},
    **{"flip_probability": 0.0, "mean": (0.0,) * 3, "std": (1.0,) * 3},
}


def source(*shape):
    return tf.data.Dataset.from_tensor_slices({"image": random_images(*shape)})


def test_a_box_is_where_its_crop_was_cut():
    views = kl.LeOCLRViews(12, crop_scale=(0.2, 0.6), **PLAIN)
    for one in draw_views(views, source(3, 24, 32), 3):
        for box, key in zip(one.boxes["keys"], one.keys, strict=True):
            top, left, height, width = box.astype(int)
            cut = one.picture[top : top + height, left : left + width]
            expected = tf.image.resize(cut, (12, 12)).numpy()
            np.testing.assert_allclose(key, expected.round(), atol=1)
        assert tuple(one.boxes["query"]) == (0, 0, 24, 32) and not one.query_is_crop


def test_views_of_the_device_are_drawn_with_boxes_in_the_picture_that_it_has():
    """The crops are those of the host where the picture fits, up to what lies beyond their borders."""
    views = kl.LeOCLRViews(12, crop_scale=(0.3, 0.6), **PLAIN)
    host, device = (draw_views(views, source(3, 24, 32), 3, views_on=place) for place in ("host", "device"))
    for one, other in zip(host, device, strict=True):
        np.testing.assert_array_equal(one.picture, other.picture)
        np.testing.assert_array_equal(one.boxes["keys"], other.boxes["keys"])
        assert tuple(other.boxes["query"]) == (0, 0, 24, 32) and not other.query_is_crop
        np.testing.assert_allclose(one.keys[:, 2:-2, 2:-2], other.keys[:, 2:-2, 2:-2], atol=1)
    reduced = draw_views(views, source(1, 24, 32, 1), 1, views_on="device", canvas=(16, 16))[0]
    assert reduced.picture.shape == (12, 16, 3) and tuple(reduced.boxes["query"]) == (0, 0, 12, 16)


@pytest.mark.parametrize("shape", [(100, 1000), (3000, 60), (1, 500)])
def test_a_very_long_picture_is_drawn(shape):
    settings = ViewSettings(8, num_views=2)
    tile = np.zeros((8, 8, 3), np.uint8)
    for seed in range(10):
        boxes = sampling.parameters(settings, sampling.draw(settings, 2, np.array([seed, 0])), *shape)["box"]
        query = np.array([0, 0, *shape], np.float32)
        picture = np.full((*shape, 3), 90, np.uint8)
        one = Drawn(picture, {"query": query, "keys": boxes}, tile, np.stack([tile] * 2))
        pixels = np.asarray(view_sheet.strip(one))[:, : view_sheet.TILE]
        red, green, blue = (int(view_sheet.COLOURS[1][at : at + 2], 16) for at in (1, 3, 5))
        assert (pixels[..., :3] == (red, green, blue)).all(-1).any()  # The second crop has its colour.
        assert missed.figure(one).height == max(1, round(missed.TILE * shape[0] / max(shape)))


@pytest.mark.parametrize("place", ["host", "device"])
def test_a_picture_of_one_pixel_has_views_of_its_colour(place):
    views = kl.LeOCLRViews(12, crop_scale=(0.2, 0.6), **PLAIN)
    for one in draw_views(views, source(2, 1, 1), 2, views_on=place):
        for view in (one.query, *one.keys):
            np.testing.assert_allclose(view, np.broadcast_to(one.picture, view.shape), atol=1)


def test_the_query_of_moco_has_a_box_too():
    views = kl.MoCoV2Views(12, crop_scale=(0.2, 0.4), **PLAIN)
    one = draw_views(views, source(1, 24, 24, 1), 1)[0]
    assert one.query_is_crop and view_sheet.headings(one) == ["picture", "query: crop q", "key: crop 1"]
    assert one.picture.shape == (24, 24, 3)


def test_boxes_and_frames_have_the_colours_of_their_crops():
    views = kl.LeOCLRViews(16, crop_scale=(0.2, 0.3), **PLAIN)
    drawn = draw_views(views, source(1, 32, 32), 1)[0]
    pixels = np.asarray(view_sheet.strip(drawn))
    assert pixels.shape == (view_sheet.TILE, 4 * view_sheet.TILE + 3 * view_sheet.GAP, 4)
    tile = view_sheet.TILE + view_sheet.GAP
    for key, colour in enumerate(view_sheet.COLOURS[:2]):
        wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        found = (pixels[..., :3] == wanted).all(axis=-1)
        assert found[:, : view_sheet.TILE].any()  # the box
        frame = found[:, (key + 2) * tile : (key + 2) * tile + view_sheet.TILE]
        assert frame[-1].all() and frame[:, -1].all()
        assert not found[:, tile : tile + view_sheet.TILE].any()  # the original has none


def test_a_sheet_knows_its_strips(tmp_path):
    views = kl.LeOCLRViews(8, **PLAIN)  # of pictures that do not fill their tile: the rest is transparent
    write_views(views, source(7, 12, 8), tmp_path / "views.png", 9)
    strips, headings = view_sheet.read_strips(tmp_path / "views.png")
    assert len(strips) == 7 and headings == ["picture", "query: original", "key: crop 1", "key: crop 2"]
    drawn = draw_views(views, source(7, 12, 8), 9)
    for one, held in zip(drawn, strips, strict=True):
        expected, actual = view_sheet.strip(one), Image.open(io.BytesIO(held))
        np.testing.assert_array_equal(np.asarray(actual), np.asarray(expected))


def test_another_png_is_one_strip(tmp_path):
    Image.new("RGB", (9, 4)).save(tmp_path / "views.png")
    (strip,), headings = view_sheet.read_strips(tmp_path / "views.png")
    assert Image.open(io.BytesIO(strip)).size == (9, 4) and headings == []


def test_a_key_that_is_the_original_is_called_so():
    views = kl.CropToOriginalViews(12, crop_scale=(0.2, 0.4))
    (drawn,) = draw_views(views, source(1, 20, 16), 1)
    assert view_sheet.headings(drawn) == ["picture", "query: crop q", "key: original 1"]


def test_command_draws_a_recipe_with_changed_fields(tmp_path, capsys):
    sheet, page = tmp_path / "views.png", tmp_path / "views.html"
    common = ["leoclr", "views", "fashion_mnist", "--images", "3"]
    leoclr = ["--method", "leoclr", "--num_crops", "3"]
    assert cli.main([*common, "--output", str(sheet), *leoclr]) == 0
    assert str(sheet) in capsys.readouterr().out
    strips, headings = view_sheet.read_strips(sheet)
    assert len(strips) == 3 and headings[-1] == "key: crop 3"
    assert cli.main([*common, "--output", str(page), "--crop_scale", "0.1,0.2"]) == 0
    text = page.read_text()
    assert text.count("<img") == 3 and "crop_scale 0.1, 0.2" in text and "default-src 'none'" in text
    assert "<script" not in text


def test_help_of_the_command(capsys):
    assert cli.main(["leoclr", "views", "--help"]) == 0
    assert cli.main(["leoclr", "views", "fashion_mnist", "--help"]) == 0
    assert "--images N" in capsys.readouterr().out
