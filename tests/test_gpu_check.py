"""The check of a machine with a GPU works on a CPU, with small networks."""

import json
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from tools.gpu_checks import cases, training

ROOT = pathlib.Path(__file__).parent.parent


@pytest.mark.backend_free
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_check_of_a_gpu_runs_on_a_cpu(backend, tmp_path):
    pytest.importorskip(backend)
    output = tmp_path / "checks.json"
    command = [sys.executable, "tools/gpu_check.py", "--tiny", "--backends", backend, "--output", output]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert made.returncode == 0, made.stdout + made.stderr
    results = {result["check"]: result for result in json.loads(output.read_text())}
    assert sorted(results) == [1, 2, 3, 4, 6, 7, 8, 9]  # the memory, 5, stands beside the speed
    assert all(result["fine"] is not False for result in results.values())
    assert results[2]["figures"]["float32"] < 1e-4
    assert results[8]["figures"]["equal"] == results[8]["figures"]["variables"]


@pytest.mark.backend_free
def test_numbers_that_are_not_finite_are_no_small_deviation():
    expected = {"losses": [1.0, 2.0], "queue": [0.5]}
    assert cases.deviation({"losses": [1.0, 2.2], "queue": [0.5]}, expected) == pytest.approx(0.1)
    assert not cases.deviation({"losses": [1.0, np.nan], "queue": [0.5]}, expected) < 1e-4
    assert not cases.deviation({"losses": [1.0, 2.0], "queue": [np.nan]}, expected) < 1e-4


@pytest.mark.backend_free
def test_checks_that_do_not_exist_are_refused():
    tool = pathlib.Path(__file__).parents[1] / "tools" / "gpu_check.py"
    for number in ("5", "10"):
        done = subprocess.run([sys.executable, tool, "--only", number], capture_output=True, text=True)
        assert done.returncode == 2 and f"--only: invalid choice: {number}" in done.stderr


@pytest.mark.skipif(
    keras.backend.backend() == "jax",
    reason="compiling takes more than a minute; python tools/gpu_check.py --backends jax --only 2 does it",
)
def test_the_limit_of_the_five_steps_lies_between_float32_and_tf32(monkeypatch):
    expected = cases.reference()[cases.FULL.name]
    assert cases.deviation(cases.numbers_of_five_steps(cases.FULL), expected) < 5e-5
    give = cases.give_drawn_weights

    def give_rounded(model):
        give(model)
        for encoder in (model.query_encoder, model.key_encoder):
            encoder.set_weights([rounded_as_in_tf32(weight) for weight in encoder.get_weights()])

    monkeypatch.setattr(cases, "give_drawn_weights", give_rounded)
    assert cases.deviation(cases.numbers_of_five_steps(cases.FULL), expected) > 2e-4


def rounded_as_in_tf32(values):
    """Rounds float32 numbers to the 10 bits of TF32 after the leading one."""
    bits = np.ascontiguousarray(values, "float32").view("uint32")
    return ((bits + 0x1000) & 0xFFFFE000).view("float32").reshape(values.shape)


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("accuracies", "verdict"),
    [([0.5, 0.4], None), ([0.5, *[0.6] * 4], None), ([0.5, *[0.6] * 5], True), ([0.5, *[0.4] * 5], False)],
)
def test_a_training_is_judged_after_five_epochs(accuracies, verdict):
    assert training.verdict(cases.FULL, [[0.5, *[0.6] * 5], accuracies]) is verdict
