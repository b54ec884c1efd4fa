"""How much crops lose that the original shows."""

import numpy as np
import pytest

import keras_leoclr as kl
from keras_leoclr import cli
from keras_leoclr.training.crop_agreement import (
    CropAgreement,
    agreement,
    crop_agreement,
    orientations,
    told,
)

pytestmark = pytest.mark.backend_free


def test_orientations_are_those_of_edges():
    images = np.zeros((2, 16, 16, 3))
    images[0, :, 8:] = images[1, 8:] = 1  # an edge to the right, an edge downwards
    across, down = orientations(images).reshape(2, 4, 4, 8)
    assert across[:, 1:3].sum() == pytest.approx(across.sum()) and down[1:3].sum() == pytest.approx(
        down.sum()
    )
    assert set(np.flatnonzero(across.sum(axis=(0, 1)))) == {4} and set(np.flatnonzero(down.sum((0, 1)))) == {
        6
    }
    assert np.linalg.norm(across) == pytest.approx(1)


def test_agreement_counts_the_others_that_are_less_alike():
    views = np.eye(4)
    assert agreement(views, views) == 1
    assert agreement(views, np.roll(views, 1, axis=0)) == 0
    others = np.array([[1, 0, 0, 0], [0.9, 0.5, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    assert agreement(views, others) == 1 and agreement(others, views) == (3 + 2 + 3 + 3) / 12


def test_crops_of_scenes_have_less_in_common_than_the_original_and_a_crop():
    found = crop_agreement(kl.data.fashion_scenes("test", things=1, size=8), (0.2, 1.0), 100)
    assert found.difference > 0.05 and found.original > 0.4


def test_the_command_says_what_the_numbers_hint_at(tmp_path, capsys):
    assert "+4.0 points. Where this was below 5 points MoCo v2 was ahead" in told(CropAgreement(0.8, 0.84))
    assert "+7.0 points. Where this was above 5 points LeOCLR was ahead" in told(CropAgreement(0.6, 0.67))
    output = tmp_path / "views.png"
    command = [
        "leoclr",
        "views",
        "fashion_mnist",
        "--output",
        str(output),
        "--images",
        "1",
        "--compare",
        "60",
    ]
    assert cli.main(command) == 0
    assert "Two crops of a picture are told from crops of other pictures in " in capsys.readouterr().out
