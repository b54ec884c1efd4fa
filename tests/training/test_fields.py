"""Settings: what a field carries, and the checks that follow from it."""

import dataclasses
import json
import subprocess
import sys

import pytest

from keras_leoclr import backbones
from keras_leoclr.backbones.names import BACKBONES
from keras_leoclr.recipes import Recipe, detection, fashion_mnist, segmentation
from keras_leoclr.training import fields
from keras_leoclr.training.fields import setting

pytestmark = pytest.mark.backend_free


@dataclasses.dataclass(frozen=True)
class Example:
    kind: str = setting("round", "shape", group="shape", choices=("round", "square"))
    sides: int = setting(4, "number of sides", group="shape", low=1)
    share: float = setting(0.5, "share of it", group="size", low=0, high=1)
    scale: float = setting(1.0, "factor", group="size", above=0, resumable=True)
    corners: tuple[int, ...] = setting((), "corners", group="shape")

    def __post_init__(self):
        fields.check(self)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "oval"}, "`kind` must be one of round, square. Received: kind='oval'"),
        ({"sides": 0}, "`sides` must be >= 1. Received: sides=0"),
        ({"share": 1.5}, "`share` must lie in [0, 1]. Received: share=1.5"),
        ({"share": float("nan")}, "`share` must lie in [0, 1]. Received: share=nan"),
        ({"scale": 0.0}, "`scale` must be > 0. Received: scale=0.0"),
    ],
)
def test_a_value_outside_of_choices_and_bounds_is_refused(changes, words):
    with pytest.raises(ValueError) as raised:
        Example(**changes)
    assert str(raised.value) == words


def test_settings_come_back_from_json_as_they_were():
    for settings in (Example(corners=(1, 2)), fashion_mnist.RECIPE, segmentation.RECIPE):
        written = json.loads(json.dumps(dataclasses.asdict(settings)))
        assert fields.from_json(type(settings), written) == settings
    assert fields.from_json(Example, {"sides": 3}) == Example(sides=3)  # what is missing has its default


def test_every_field_of_a_recipe_has_help_and_a_group():
    for kind in (Recipe, detection.Detection, segmentation.Segmentation):
        for field in dataclasses.fields(kind):
            assert field.metadata["help"] and field.metadata["group"]
    assert list(fields.resumable(Example)) == ["scale"]


def test_the_backbones_that_can_be_chosen_are_those_that_can_be_built():
    assert tuple(backbones.BUILDERS) == BACKBONES


def test_recipes_and_their_settings_load_without_keras():
    code = """
import sys
from keras_leoclr.recipes import fashion_mnist, image_folder
from keras_leoclr.training import ablations, settling, studies
assert image_folder.choose and studies.study and settling.requested(fashion_mnist, "smoke")
loaded = {"keras", "tensorflow", "keras_cv", "jax", "torch"} & set(sys.modules)
assert not loaded, loaded
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
