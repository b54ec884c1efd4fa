"""The check of a machine with a GPU works on a CPU, with small networks."""

import json
import pathlib
import subprocess
import sys

import pytest

pytestmark = pytest.mark.backend_free
ROOT = pathlib.Path(__file__).parent.parent


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
