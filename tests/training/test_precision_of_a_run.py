"""`--precision auto`: what it becomes, that it is kept, and what a device lacks."""

import json

import pytest

from keras_leoclr.training import precision
from keras_leoclr.training.recipe import Recipe
from keras_leoclr.training.studies import StudyRun

pytestmark = pytest.mark.backend_free
H100, T4 = ("H100", (9, 0)), ("T4", (7, 5))


@pytest.mark.parametrize(
    ("gpus", "policy", "line"),
    [
        ([], "float32", None),
        ([H100], "mixed_bfloat16", "precision mixed_bfloat16: H100 computes in bfloat16"),
        ([H100, T4], "float32", "precision float32: T4 does not compute in bfloat16"),
    ],
)
def test_auto_is_what_all_devices_have(gpus, policy, line, monkeypatch):
    monkeypatch.setattr(precision, "_gpus", lambda: gpus)
    recipe, lines = precision.decided(Recipe())
    assert recipe.precision == policy
    assert not lines if line is None else lines[0].startswith(line)


def test_a_run_keeps_the_precision_that_it_began_with(monkeypatch, tmp_path):
    (tmp_path / "recipe.json").write_text(json.dumps({"precision": "mixed_bfloat16"}))
    monkeypatch.setattr(precision, "_gpus", lambda: [])
    assert precision.decided(Recipe(), tmp_path)[0].precision == "mixed_bfloat16"
    assert precision.decided(Recipe(), tmp_path, overwrite=True)[0].precision == "float32"
    monkeypatch.setattr(precision, "_gpus", lambda: [T4])
    with pytest.raises(ValueError, match="`precision` mixed_bfloat16 needs GPUs.*began with it, on T4"):
        precision.decided(Recipe(), tmp_path)


def test_a_precision_that_the_device_lacks_is_refused(monkeypatch):
    monkeypatch.setattr(precision, "_gpus", lambda: [T4])
    with pytest.raises(ValueError, match="take mixed_float16 or float32. Received: .*mixed_bfloat16.*on T4"):
        precision.decided(Recipe(precision="mixed_bfloat16"))
    assert precision.decided(Recipe(precision="mixed_float16"))[0].precision == "mixed_float16"


def test_runs_of_a_study_have_one_precision_and_the_key_that_they_always_had():
    keys = {StudyRun("a", Recipe(dataset="x", precision=each), 0).key for each in ("auto", "float32")}
    assert len(keys) == 1
