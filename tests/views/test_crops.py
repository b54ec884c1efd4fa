"""Crop, resize and flip against the reference."""

import numpy as np
import pytest

from tests.case import random_images
from tests.views.making import apply, differ
from tests.views.reference import reference_resize

pytestmark = pytest.mark.backend_free

BOXES = {
    "enlarged": ((2, 3, 5, 4), 11),
    "reduced": ((1, 0, 9, 13), 4),
    "same size": ((3, 2, 6, 6), 6),
    "top left corner": ((0, 0, 3, 3), 10),
    "bottom right corner": ((9, 10, 3, 5), 10),
    "whole image": ((0, 0, 12, 15), 8),
    "one pixel": ((5, 6, 1, 1), 4),
    "to one pixel": ((0, 0, 12, 15), 1),
    "wide": ((4, 0, 2, 15), 9),
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("box, size", BOXES.values(), ids=BOXES.keys())
def test_crops_are_resized_bilinearly_with_half_pixel_centres(box, size, channels):
    image = random_images(1, 12, 15, channels)
    expected = reference_resize(image[0], box, size)
    np.testing.assert_allclose(
        apply(image, size, box=box)[0], np.broadcast_to(expected, (size, size, 3)), atol=5e-3
    )


@pytest.mark.parametrize("box, size", BOXES.values(), ids=BOXES.keys())
def test_flipped_crops_are_mirrored(box, size):
    image = random_images(1, 12, 15)
    expected = reference_resize(image[0], box, size, flip=True)
    np.testing.assert_allclose(apply(image, size, box=box, flip=True)[0], expected, atol=5e-3)


@pytest.mark.parametrize("size", [1, 5, 12, 32, 224])
def test_the_whole_image_at_its_own_size_has_the_same_pixels(size):
    images = random_images(2, size, size)
    np.testing.assert_allclose(apply(images), images, atol=0.02)


def test_enlarged_crops_see_the_image_beyond_their_border():
    image = random_images(1, 12, 12)
    cut_out = reference_resize(image[0, 3:7, 3:7], (0, 0, 4, 4), 8)
    view = apply(image, 8, box=(3, 3, 4, 4))[0]
    np.testing.assert_allclose(view[1:-1, 1:-1], cut_out[1:-1, 1:-1], atol=5e-3)
    assert differ(view[0], cut_out[0])


def test_edges_of_the_image_are_repeated():
    image = random_images(1, 6, 6)
    view = apply(image, 24, box=(0, 0, 6, 6))[0]
    np.testing.assert_allclose(view[:2, :2], np.broadcast_to(image[0, 0, 0], (2, 2, 3)), atol=5e-3)


def test_every_view_has_its_own_box_and_flip():
    images = random_images(2, 12, 15)
    boxes = [(0, 0, 12, 15), (2, 3, 5, 4), (4, 4, 8, 8), (1, 9, 6, 6)]
    flips = [True, False, False, True]
    views = apply(images, 7, num_views=2, box=boxes, flip=flips)
    for index, view in enumerate(views):
        expected = reference_resize(images[index // 2], boxes[index], 7, flips[index])
        np.testing.assert_allclose(view, expected, atol=5e-3)
