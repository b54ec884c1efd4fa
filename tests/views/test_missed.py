"""What the crops of a picture show and what they miss."""

import numpy as np
import pytest
from PIL import Image

import keras_leoclr as kl
from keras_leoclr.views import missed
from keras_leoclr.views.preview import draw_views, write_missed
from keras_leoclr.views.sheet import Drawn

pytestmark = pytest.mark.backend_free
THINGS = (("Bag", (0, 0, 8, 8)), ("Coat", (16, 16, 8, 8)), ("Boot", (4, 16, 8, 8)))


def drawn(query=(0, 0, 32, 32), keys=((0, 0, 16, 16), (8, 8, 24, 24)), things=THINGS):
    """A grey picture with three things and two crops."""
    view = np.zeros((8, 8, 3), np.uint8)
    boxes = {"query": np.array(query), "keys": np.array(keys)}
    return Drawn(np.full((32, 32, 3), 90, np.uint8), boxes, view, np.stack([view] * len(keys)), things)


def test_the_share_of_a_thing_is_that_of_its_area():
    assert missed.share_inside((0, 0, 16, 16), (0, 0, 8, 8)) == 1
    assert missed.share_inside((0, 0, 4, 8), (0, 0, 8, 8)) == 0.5
    assert missed.share_inside((2, 4, 8, 8), (0, 0, 8, 8)) == 0.375
    assert missed.share_inside((20, 20, 4, 4), (0, 0, 8, 8)) == 0
    assert [missed.fate(share) for share in (1, 0.75, 0.5, 0.25, 0)] == [
        *("shown", "shown", "cut", "missed", "missed")
    ]


def test_a_picture_is_described():
    found = missed.describe(drawn())
    assert found["things"] == ["Bag", "Coat", "Boot"]
    original, first, second = found["views"]
    assert original == {"name": "the original", "crop": False, "area": 1.0, "fates": ["shown"] * 3}
    assert first == {"name": "crop 1", "crop": True, "area": 0.25, "fates": ["shown", "missed", "missed"]}
    assert second["fates"] == ["missed", "shown", "cut"] and second["area"] == 0.5625
    assert found["shared"] == 64 / 1024
    # the first crop misses the coat and three quarters of the boot, the second the bag and not the boot
    assert missed.differences(drawn()) == 1.0
    assert missed.differences(drawn(things=())) == missed.differences(drawn(keys=((0, 0, 32, 32),))) == 0
    moco = missed.describe(drawn(query=(0, 0, 16, 16), keys=((16, 16, 16, 16),)))
    assert [view["name"] for view in moco["views"]] == ["crop q", "crop 1"] and moco["shared"] == 0


def test_the_figure_dims_what_lies_outside_of_a_crop():
    pixels = np.asarray(missed.figure(drawn(things=())).convert("RGB"))
    scale, left = missed.TILE // 32, missed.TILE + missed.GAP
    assert pixels.shape == (missed.TILE, 3 * missed.TILE + 2 * missed.GAP, 3)
    assert (pixels[:, : missed.TILE] == 90).all()
    middle, outside = pixels[12 * scale, left + 12 * scale], pixels[24 * scale, left + 24 * scale]
    assert (middle == 90).all() and (outside > 110).all()


def test_things_are_outlined_and_crossed():
    plain, marked = (np.asarray(missed.figure(drawn(things=t)).convert("RGB")) for t in ((), THINGS))
    assert (plain != marked).any(axis=-1)[:, : missed.TILE].any()
    left, scale = missed.TILE + missed.GAP, missed.TILE // 32
    cross = marked[20 * scale - 8 : 20 * scale + 8, left + 20 * scale - 8 : left + 20 * scale + 8]
    assert (cross == (213, 94, 0)).all(axis=-1).any()  # crop 1 misses the coat, the middle of its box


def test_the_picture_whose_crops_differ_most_is_written_with_the_numbers_of_all(tmp_path):
    whole = drawn(keys=((0, 0, 32, 31), (0, 0, 32, 31)))
    missed.write_figure([whole, drawn()], tmp_path / "missed.png")
    content, about, width = missed.read_figure(tmp_path / "missed.png")
    assert content.startswith(b"\x89PNG") and width == 3 * missed.TILE + 2 * missed.GAP
    assert about["chosen"] == 1 and about["pictures"] == [missed.describe(whole), missed.describe(drawn())]


def test_another_png_is_no_figure(tmp_path):
    Image.new("RGB", (9, 4)).save(tmp_path / "missed.png")
    with pytest.raises(ValueError, match="`path` must be a PNG of `write_figure`"):
        missed.read_figure(tmp_path / "missed.png")


def test_scenes_bring_their_things_and_other_sources_none(tmp_path):
    views = kl.LeOCLRViews(16, crop_scale=(0.2, 0.5), jit_compile=False)
    source = kl.data.fashion_scenes("test", things=3, size=8)
    write_missed(views, source, tmp_path / "missed.png", 3)
    pictures = missed.read_figure(tmp_path / "missed.png")[1]["pictures"]
    assert [len(picture["things"]) for picture in pictures] == [3, 3, 3]
    expected = {source.class_names[c] for c in np.flatnonzero(source.labels[0])}
    assert set(pictures[0]["things"]) == expected
    (on_device,) = draw_views(views, source, 1, views_on="device", canvas=(16, 16))
    assert on_device.things[0][1] == tuple(side / 2 for side in source.images.things(0)[0][1])
    assert draw_views(views, source.subset(np.array([7])), 1)[0].things == source.images.things(7)
    (plain,) = draw_views(views, kl.data.load("fashion_mnist", "test"), 1)
    assert plain.things == []
