"""Settings: what a field carries, and the checks that follow from it."""

import dataclasses
import json
import pathlib
import re
import subprocess
import sys

import numpy as np
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
        ({"share": float("nan")}, "`share` must be a finite number. Received: share=nan"),
        ({"scale": 0.0}, "`scale` must be > 0. Received: scale=0.0"),
    ],
)
def test_a_value_outside_of_choices_and_bounds_is_refused(changes, words):
    with pytest.raises(ValueError) as raised:
        Example(**changes)
    assert str(raised.value) == words


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"evaluate": "no"}, "`evaluate` must be True or False. Received: evaluate='no'"),
        ({"online_probe": 1}, "`online_probe` must be True or False. Received: online_probe=1"),
        ({"epochs": "10"}, "`epochs` must be a whole number. Received: epochs='10'"),
        ({"epochs": 2.5}, "`epochs` must be a whole number. Received: epochs=2.5"),
        ({"epochs": True}, "`epochs` must be a whole number. Received: epochs=True"),
        ({"seed": None}, "`seed` must be a whole number. Received: seed=None"),
        ({"seed": -1}, "`seed` must lie in [0, 4294967295]. Received: seed=-1"),
        (
            {"learning_rate": "0.03"},
            "`learning_rate` must be a finite number. Received: learning_rate='0.03'",
        ),
        (
            {"learning_rate": float("inf")},
            "`learning_rate` must be a finite number. Received: learning_rate=inf",
        ),
        ({"max_failures": "1%"}, "`max_failures` must be a finite number. Received: max_failures='1%'"),
        ({"sgd_momentum": 1.0}, "`sgd_momentum` must lie in [0, 1). Received: sgd_momentum=1.0"),
        ({"momentum": 1.5}, "`momentum` must lie in [0, 1]. Received: momentum=1.5"),
        ({"temperature": 0}, "`temperature` must be > 0. Received: temperature=0.0"),
        ({"flip_probability": -1}, "`flip_probability` must lie in [0, 1]. Received: flip_probability=-1.0"),
        ({"queue_size": -5}, "`queue_size` must be >= 0. Received: queue_size=-5"),
        ({"widths": (8, 0)}, "`widths` must be >= 1. Received: widths=(8, 0)"),
        ({"widths": (8, 2.5)}, "`widths` must be a whole number. Received: widths=2.5"),
        ({"widths": "8,8"}, "`widths` must be a number or a tuple of them. Received: widths='8,8'"),
        ({"crop_scale": "auto"}, "`crop_scale` must be numbers, not a word. Received: crop_scale='auto'"),
        (
            {"crop_scale": (0.2, 2)},
            "`crop_scale` must be two numbers with 0 < low <= high <= 1. Received: crop_scale=(0.2, 2.0)",
        ),
        (
            {"blur_sigma": (2, 1)},
            "`blur_sigma` must be two numbers with 0 < low <= high. Received: blur_sigma=(2.0, 1.0)",
        ),
        (
            {"std": 0},
            "`std` must be auto or one number for each of the `channels`. Received: std=(0.0,), channels=3",
        ),
        ({"test_split": 3}, "`test_split` must be a text. Received: test_split=3"),
        ({"jit_compile": True}, "`jit_compile` must be one of auto, on, off. Received: jit_compile=True"),
    ],
)
def test_a_recipe_refuses_what_is_not_of_the_type_or_bounds_of_a_setting(changes, words):
    with pytest.raises(ValueError) as raised:
        Recipe(**changes)
    assert str(raised.value) == words


def test_a_recipe_takes_numbers_of_numpy_and_whole_numbers_for_floats():
    made = Recipe(
        epochs=np.int64(3),
        batch_size=32.0,
        learning_rate=np.float32(0.5),
        warmup_epochs=1,
        evaluate=np.True_,
        widths=np.array([8, 16]),
        crop_scale=[1, 1],
        max_failures=None,
        momentum=1,
        probe_split=None,
        canvas=None,
        dataset=pathlib.Path("pictures"),
    )
    for name, value in {
        "epochs": 3,
        "batch_size": 32,
        "learning_rate": 0.5,
        "warmup_epochs": 1.0,
        "evaluate": True,
        "widths": (8, 16),
        "crop_scale": (1.0, 1.0),
        "max_failures": None,
        "momentum": 1.0,
        "probe_split": "",
        "canvas": (),
        "dataset": "pictures",
    }.items():
        assert repr(getattr(made, name)) == repr(value), name


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


def test_the_page_of_interruptions_names_what_may_change_with_override():
    text = (pathlib.Path(__file__).parents[2] / "docs" / "reliability.md").read_text(encoding="utf-8")
    listed = text.partition("- `--override` goes on with the new values of")[2].partition("\n- ")[0]
    named = set(re.findall(r"`(\w+)`", listed))
    assert named & {field.name for field in dataclasses.fields(Recipe)} == {*fields.resumable(Recipe)}


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
