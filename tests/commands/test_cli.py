"""The command line: help, mistyped names, exit status, JSON."""

import configparser
import importlib
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest
from absl import flags

import leoclr
from keras_leoclr import __version__, cli
from keras_leoclr.commands import flags as usage
from keras_leoclr.runs.results import Results

pytestmark = pytest.mark.backend_free
ROOT = pathlib.Path(__file__).parents[2]


def run(*arguments):
    return cli.main(["leoclr", *map(str, arguments)])


def with_hits(path, right):
    """A folder with one result, whose first `right` of 100 images are hits."""
    import numpy as np

    from keras_leoclr.evaluation import write_scores
    from keras_leoclr.evaluation.scores import Score
    from keras_leoclr.evaluation.statistics import wilson

    path.mkdir()
    hits = np.arange(100) < right
    score = Score("knn/top1", right / 100, wilson(right, 100), hits, None, k=20)
    write_scores([score], Results(path / "results.jsonl"), subject="pretrained", dataset="d")
    return path


def test_every_command_is_in_the_help_with_one_line(capsys):
    assert run("--help") == 0
    printed = capsys.readouterr().out
    assert printed == f"{cli.usage()}\n"
    for name, (target, arguments, text) in cli.COMMANDS.items():
        module, function = target.split(":")
        assert callable(getattr(importlib.import_module(module), function))
        assert re.search(
            rf"^  {re.escape(f'{name} {arguments}'.rstrip())} +{re.escape(text)}$", printed, re.M
        )
    assert all(len(line) <= 110 for line in printed.splitlines())
    assert "Exit status:" in printed


@pytest.mark.parametrize("command", sorted(cli.COMMANDS))
def test_every_command_has_a_short_help(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "90")
    for flag in ("--help", "-h"):
        assert run(command, flag) == 0
        printed = capsys.readouterr().out
        assert printed.startswith(f"leoclr {command} ")
        flag_lines = printed.split("\n\n", 1)[1]
        assert all(len(line) <= 90 for line in flag_lines.splitlines() if line.startswith("  --"))
        assert "absl" not in printed and "<" not in printed


def test_flags_are_grouped_wrapped_and_show_kind_and_default():
    values = flags.FlagValues()
    first = {"flag_values": values, "module_name": "first"}
    flags.DEFINE_integer("count", 7, "how many, " + "words " * 20, **first)
    flags.DEFINE_bool("on", True, "a switch", **first)
    flags.DEFINE_list("sizes", ["1", "2"], "of something, pixels", flag_values=values, module_name="second")
    flags.DEFINE_enum("way", None, ["a", "b"], "which", flag_values=values, module_name="second")
    lines = usage.flags_text(values, 60).splitlines()
    assert lines[1] == "First:" and "Second:" in lines
    assert lines[2].startswith("  --count N                     how many,")
    assert all(len(line) <= 60 for line in lines) and "7)" in "".join(lines)
    assert "  --[no]on                      a switch (on by default)" in lines
    assert (
        "  --sizes A,B                   of something, pixels" in lines
        and " " * 32 + "(default 1,2)" in lines
    )
    assert "  --way a|b                     which" in lines


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evalaute"], "unknown command 'evalaute'. Did you mean evaluate?"),
        (["evaluate", "kn", "--workdir", "x"], "unknown evaluation 'kn'. Did you mean knn?"),
        (["pretrain", "image_foldr"], "unknown recipe 'image_foldr'. Did you mean image_folder?"),
        (["pretrain", "image_folder", "--epcohs", "3"], "Did you mean: epochs"),
        (["watch", "--onse"], "Did you mean: once"),
        (["doctor", "--jsn"], "Did you mean: json"),
        (["compare"], "`compare` takes the folders of one or more runs"),
        (["watch"], "`watch` takes one folder"),
        (["doctor", "x"], "`doctor` takes no arguments"),
        (["data"], "`data` takes one name or path"),
    ],
)
def test_what_is_mistyped_ends_with_2_and_the_nearest_name(arguments, words, capsys):
    assert run(*arguments) == 2
    said = capsys.readouterr()
    assert words in said.err and said.err.startswith("leoclr: ") and said.out == ""


def test_no_command_ends_with_2_and_the_help(capsys):
    assert run() == 2
    assert "Commands:" in capsys.readouterr().out


def test_version(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out == f"keras-leoclr {__version__}\n"


def test_ctrl_c_ends_with_130(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("keras_leoclr.commands.watch.run", interrupted)
    assert run("watch", "x") == 130


def test_a_fault_of_the_program_is_not_hidden(monkeypatch):
    def wrong(*_):
        raise RuntimeError("no user can help this")

    monkeypatch.setattr("keras_leoclr.commands.watch.run", wrong)
    with pytest.raises(RuntimeError, match="no user"):
        run("watch", "x")


def test_a_lost_worker_is_one_line(monkeypatch, capsys):
    from keras_leoclr.distribution.devices import WorkerLostError

    def lost(*_):
        raise WorkerLostError("worker 1 is gone")

    monkeypatch.setattr("keras_leoclr.commands.watch.run", lost)
    assert run("watch", "x") == 1
    assert capsys.readouterr().err == "leoclr: WorkerLostError: worker 1 is gone\n"


def test_recipes_as_json_and_as_lines(capsys):
    assert run("recipes", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    names = sorted([*cli.recipe_names(), *cli.DOWNSTREAM.values()])
    assert [each["name"] for each in found] == names
    for each in found:
        module = importlib.import_module(f"keras_leoclr.recipes.{each['name']}")
        assert module.__doc__.startswith(each["summary"]) and each["summary"] in each["description"]
    assert run("recipes") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == names


def test_data_as_json_names_what_is_damaged(tmp_path, capsys, monkeypatch):
    from PIL import Image

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.new("RGB", (9, 7)).save(pictures / "whole.png")
    assert run("data", pictures, "--json") == 0
    assert json.loads(capsys.readouterr().out)["pictures"] == 1
    (pictures / "broken.png").write_bytes(b"no picture")
    assert run("data", pictures, "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["pictures"] == 1 and found["damaged_pictures"] == 1
    (damaged,) = found["damaged"]
    assert damaged["file"].endswith("broken.png") and damaged["reason"]
    assert found["text"]["width"] == "min 9, median 9, max 9"


def test_compare_as_json_has_the_numbers_of_the_table(tmp_path, capsys):
    runs = with_hits(tmp_path / "one", 50), with_hits(tmp_path / "two", 70)
    assert run("compare", *runs, "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["measurement"] == "knn/top1, k 20"
    assert row["values"]["one: pretrained"]["value"] == 0.5
    change = row["differences"]["two: pretrained"]
    assert change["value"] == pytest.approx(0.2) and change["beyond_chance"] is True
    assert 0.1 < change["low"] < 0.2 < change["high"] < 0.3
    assert run("compare", *runs) == 0
    text = f"+20.0 ({100 * change['low']:+.1f} to {100 * change['high']:+.1f}) *"
    assert text in capsys.readouterr().out


def test_the_console_command_is_installed_under_its_name():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert config["options.entry_points"]["console_scripts"].strip() == "leoclr = leoclr:main"
    assert config["options"]["py_modules"].split() == ["leoclr"]
    assert leoclr.main(["leoclr", "--version"]) == 0


# === doctor ===


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
    assert "safetensors" in found["optional"]


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
    from keras_leoclr.commands import doctor

    def examine(versions=None, requires=None, environment=None, answer=None, python=None):
        for name in doctor.VARIABLES:
            monkeypatch.delenv(name, raising=False)
        for name, value in (environment or {}).items():
            monkeypatch.setenv(name, value)
        real, real_requires = doctor.version_of, doctor.metadata.requires
        monkeypatch.setattr(doctor, "version_of", lambda name: (versions or {}).get(name, real(name)))
        monkeypatch.setattr(
            doctor.metadata, "requires", lambda name: (requires or {}).get(name) or real_requires(name)
        )
        backend = (environment or {}).get("KERAS_BACKEND", "tensorflow")
        said = json.dumps({"backend": backend, "devices": ["cpu:0"], **(answer or {})})
        monkeypatch.setattr(doctor, "_python", lambda code: (said, None))
        if python:
            monkeypatch.setattr(doctor.sys, "version_info", python)
        return doctor.examine()

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
            "it hides the GPUs from TensorFlow",
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
    from keras_leoclr.commands import doctor

    monkeypatch.setattr(doctor.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    found = examined(environment={"CUDA_VISIBLE_DEVICES": "-1"})
    assert any("CUDA_VISIBLE_DEVICES hides it" in warning for warning in found["warnings"])
    usage = type("Usage", (), {"free": 1 << 20})
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage)
    assert any("is full: 1 MiB free" in fault for fault in examined()["faults"])


def test_doctor_as_text_says_all(examined):
    from keras_leoclr.commands import doctor

    found = examined(environment={"XLA_FLAGS": "--xla_odd"})
    printed = doctor.text(found)
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
    assert doctor.text(examined()).endswith("Nothing to object to.")
