"""Training, evaluation and reports work where TensorFlow, keras-cv and TFDS are not installed."""

import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import tarfile

import pytest

pytestmark = pytest.mark.backend_free
ROOT = pathlib.Path(__file__).parent.parent
PARTS = (
    "fit_of_twenty_steps",
    "fit_of_arrays",
    "fit_of_pictures_with_views_on_the_device",
    "checkpoint_and_resume_to_the_bit",
    "knn_and_linear_probe_of_numpy_batches",
    "results",
    "torch_weights",
    "help_recipes_and_doctor",
    "report",
    "compare_and_watch",
)


@pytest.fixture(scope="module", params=["jax", "torch"])
def outcome(request, tmp_path_factory):
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    folder = tmp_path_factory.mktemp(request.param)
    with tarfile.open(ROOT / "tests" / "fixtures" / "runs_0.1.0.tar.xz") as archive:
        archive.extractall(folder / "runs", filter="data")
    made = subprocess.run(
        [sys.executable, "-m", "tests.without_tensorflow", folder / "runs", folder],
        capture_output=True,
        text=True,
        timeout=900,
        cwd=ROOT,
        env={**os.environ, "KERAS_BACKEND": request.param},
    )
    assert made.returncode == 0, made.stderr
    return json.loads(made.stdout.splitlines()[-1])


@pytest.mark.parametrize("part", PARTS)
def test_it_works_without_tensorflow(outcome, part):
    assert not outcome[part], outcome[part]


def test_nothing_is_left_out_and_nothing_blocked_was_loaded(outcome):
    assert outcome.pop("loaded") == []
    assert sorted(outcome) == sorted(PARTS)
