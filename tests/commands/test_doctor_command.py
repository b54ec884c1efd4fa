"""`leoclr doctor`."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from keras_leoclr import nvidia
from keras_leoclr.commands import combinations, installation
from keras_leoclr.commands.doctor import text

pytestmark = pytest.mark.backend_free
ROOT = pathlib.Path(__file__).parents[2]


def fake(folder, **modules):
    """Modules that stand before the real ones on the path."""
    folder.mkdir(exist_ok=True)
    for name, code in modules.items():
        (folder / f"{name}.py").write_text(code)
    return {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}", "XLA_FLAGS": ""}


def doctor(environment, *arguments):
    command = [sys.executable, "-m", "leoclr", "doctor", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
def test_doctor_finds_nothing_wrong_here():
    environment = {**os.environ, "XLA_FLAGS": "", "KERAS_BACKEND": "tensorflow", "PYTHONPATH": str(ROOT)}
    code, printed, error = doctor(environment, "--json")
    assert code == 0, printed + error
    found = json.loads(printed)
    import keras
    import tensorflow as tf

    assert found["packages"]["keras"] == keras.__version__
    assert found["packages"]["tensorflow"] == tf.__version__
    assert found["backend"] == "tensorflow" and found["devices"] and found["faults"] == []
    assert found["cpu"]["cores"] >= 1 and set(found["directories"]) == {"here", "data", "cache", "temporary"}
    assert "safetensors" in found["packages"] and "faiss-cpu" in found["optional"]


def test_doctor_survives_a_package_that_raises_and_one_that_crashes(tmp_path):
    broken = fake(
        tmp_path / "broken",
        keras="raise ImportError('libcudart.so.99 is missing')",
        tensorflow="import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
        keras_cv="",
        tensorflow_datasets="",
    )
    code, printed, error = doctor(broken)
    assert code == 1 and error == ""
    assert "FAULT    import keras fails: ImportError: libcudart.so.99 is missing" in printed
    assert "FAULT    import tensorflow fails: ended by SIGSEGV" in printed
    assert "import numpy" not in printed
    command = [sys.executable, "-m", "leoclr", "data", "fashion_mnist"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=broken)
    assert done.returncode == 1
    assert "libcudart.so.99 is missing" in done.stderr and "see `leoclr doctor`" in done.stderr
    assert "Traceback" not in done.stderr


def test_doctor_survives_without_packaging(tmp_path):
    empty = {"tensorflow": "", "keras_cv": "", "tensorflow_datasets": "", "keras": "raise SystemExit(3)"}
    broken = fake(tmp_path / "broken", packaging="raise RuntimeError('odd')", **empty)
    code, printed, error = doctor(broken)
    assert code == 1 and error == ""
    assert "packaging, which Keras needs, cannot be used" in printed
    assert "import keras fails: exit status 3" in printed


@pytest.fixture
def examined(monkeypatch):
    """What doctor says, of versions, an environment and an answer of the packages that a test chooses."""

    def examine(versions=None, requires=None, environment=None, answer=None, python=None):
        for name in installation.VARIABLES:
            monkeypatch.delenv(name, raising=False)
        for name, value in (environment or {}).items():
            monkeypatch.setenv(name, value)
        real, real_requires = installation.version_of, installation.metadata.requires
        for module in (installation, combinations):
            monkeypatch.setattr(module, "version_of", lambda name: (versions or {}).get(name, real(name)))
        monkeypatch.setattr(
            installation.metadata, "requires", lambda name: (requires or {}).get(name) or real_requires(name)
        )
        backend = (environment or {}).get("KERAS_BACKEND", "tensorflow")
        said = json.dumps({"backend": backend, "devices": ["cpu:0"], **(answer or {})})
        monkeypatch.setattr(installation, "_python", lambda code: (said, None))
        if python:
            monkeypatch.setattr(installation.sys, "version_info", python)
        return installation.examine()

    return examine


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"versions": {"keras": "3.5.0"}}, "keras 3.5.0 does not fit: keras-leoclr needs >=3.12"),
        ({"versions": {"tensorflow": None}}, "tensorflow is missing: pip install"),
        ({"environment": {"KERAS_BACKEND": "mxnet"}}, "KERAS_BACKEND must be one of tensorflow, jax, torch"),
        (
            {"environment": {"KERAS_BACKEND": "jax"}, "versions": {"jax": None}},
            'KERAS_BACKEND is jax, which is missing: pip install "keras-leoclr[jax]"',
        ),
        ({"environment": {"TF_CONFIG": "{"}}, "TF_CONFIG is not JSON"),
        (
            {"environment": {"KERAS_BACKEND": "torch", "KERAS_DISTRIBUTION_JOB_ADDRESSES": "a,b"}},
            "torch trains on one device",
        ),
        ({"python": (3, 9, 1)}, "3.10, 3.11 and 3.12 are supported"),
    ],
)
def test_doctor_knows_what_will_not_work(examined, options, words):
    faults = examined(**options)["faults"]
    assert any(words in fault for fault in faults), faults


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {
                "versions": {"torchvision": "0.29.1", "torch": "2.13.0"},
                "requires": {"torchvision": ["torch==2.14.1"]},
            },
            "torchvision 0.29.1 needs torch==2.14.1, and 2.13.0 is installed",
        ),
        ({"environment": {"TF_CONFIG": "{}"}}, "outside of the strategy's scope"),
        ({"environment": {"TF_CONFIG": "{}", "KERAS_BACKEND": "jax"}}, "the backend is jax"),
        (
            {"environment": {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}},
            "splits the CPU into 8 devices",
        ),
        ({"environment": {"XLA_FLAGS": "--xla_odd"}}, "a flag that this version does not know"),
        ({"environment": {"TF_USE_LEGACY_KERAS": "1"}}, "TF_USE_LEGACY_KERAS makes tf.keras Keras 2"),
        ({"answer": {"image_data_format": "channels_first"}}, "made for channels_last"),
        (
            {"environment": {"KERAS_BACKEND": "jax"}, "answer": {"devices": ["gpu:0"]}},
            "import keras_leoclr.data before you use TensorFlow: it hides the GPUs from TensorFlow",
        ),
        ({"versions": {"tensorflow-cpu": "2.20.0"}}, "tensorflow-cpu 2.20.0 lies over the files"),
        ({"versions": {"torch": "2.1.0"}}, "torch 2.1.0 is not what keras-leoclr asks for"),
    ],
)
def test_doctor_warns_of_what_does_not_go_together(examined, options, words):
    found = examined(**options)
    assert any(words in warning for warning in found["warnings"]), found["warnings"]
    assert found["faults"] == []


def test_doctor_warns_of_a_gpu_that_is_not_seen_and_of_a_full_disk(examined, monkeypatch):
    monkeypatch.setattr(nvidia, "nvidia_gpus", lambda: nvidia.System(("NVIDIA H100",), "580.65"))
    found = examined(environment={"CUDA_VISIBLE_DEVICES": "-1"})
    assert any("CUDA_VISIBLE_DEVICES hides it" in warning for warning in found["warnings"])
    usage = type("Usage", (), {"free": 1 << 20})
    monkeypatch.setattr(installation.shutil, "disk_usage", lambda path: usage)
    assert any("is full: 1 MiB free" in fault for fault in examined()["faults"])


def test_doctor_goes_on_where_folders_are_gone_forbidden_or_full(examined, monkeypatch, tmp_path):
    def none():
        raise FileNotFoundError("No usable temporary directory found")

    def forbidden(path, *_, **__):
        if "private" in str(path):
            raise PermissionError(f"Permission denied: {path}")
        return real(path, *_, **__)

    real = os.stat
    monkeypatch.setattr(os, "stat", forbidden)
    monkeypatch.setattr(installation.tempfile, "gettempdir", none)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "private" / "data"))
    found = examined()
    assert found["faults"] == [
        "no folder can be used (temporary): FileNotFoundError: No usable temporary directory found"
    ]
    assert list(found["directories"]) == ["here", "data", "cache"]
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert any("no folder can be used (here)" in fault for fault in examined()["faults"])


def test_an_empty_backend_is_keras_own_choice(examined):
    assert examined(environment={"KERAS_BACKEND": ""})["faults"] == []


def test_doctor_as_text_says_all(examined):
    found = examined(environment={"XLA_FLAGS": "--xla_odd"})
    printed = text(found)
    for words in (
        "python",
        "keras-leoclr",
        "backend",
        "cpu:0",
        "GiB free",
        "XLA_FLAGS",
        "warning  XLA_FLAGS",
    ):
        assert words in printed
    assert text(examined()).endswith("Nothing to object to.")
