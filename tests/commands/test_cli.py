"""The command line: help, mistyped names, exit status, JSON."""

import configparser
import dataclasses
import importlib
import os
import pathlib
import re
import subprocess
import sys
import tarfile

import pytest

import leoclr
from keras_leoclr import __version__, cli, commands
from keras_leoclr.commands import watch

pytestmark = pytest.mark.backend_free
ROOT = pathlib.Path(__file__).parents[2]


def run(*arguments):
    return cli.main(["leoclr", *map(str, arguments)])


def test_every_command_is_in_the_help_with_one_line(capsys):
    assert run("--help") == 0
    printed = capsys.readouterr().out
    assert printed == f"{cli.usage()}\n"
    for name in commands.NAMES:
        command = importlib.import_module(f"keras_leoclr.commands.{name}").COMMAND
        assert command.name == name and callable(command)
        call = re.escape(f"{name} {command.arguments}".rstrip())
        assert re.search(rf"^  {call} +{re.escape(command.summary)}$", printed, re.M)
    assert all(len(line) <= 110 for line in printed.splitlines())
    assert "Exit status:" in printed


@pytest.mark.parametrize("command", commands.NAMES)
def test_every_command_has_a_short_help(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "90")
    for flag in ("--help", "-h"):
        assert run(command, flag) == 0
        printed = capsys.readouterr().out
        assert printed.startswith(f"leoclr {command} ")
        flag_lines = printed.split("\n\n", 1)[1]
        assert all(len(line) <= 90 for line in flag_lines.splitlines() if line.startswith("  --"))
        assert "absl" not in printed and "<" not in printed


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


def replace_watch(monkeypatch, function):
    """Another function than its own for a command."""
    monkeypatch.setattr(watch, "COMMAND", dataclasses.replace(watch.COMMAND, run=function))


def test_every_module_with_a_command_is_listed():
    folder = pathlib.Path(commands.__file__).parent
    found = {path.stem for path in folder.glob("*.py") if "\nCOMMAND = " in path.read_text(encoding="utf-8")}
    assert found == set(commands.NAMES)


def test_ctrl_c_ends_with_130(monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    replace_watch(monkeypatch, interrupted)
    assert run("watch", "x") == 130


def test_a_fault_of_the_program_is_not_hidden(monkeypatch):
    def wrong(*_):
        raise RuntimeError("no user can help this")

    replace_watch(monkeypatch, wrong)
    with pytest.raises(RuntimeError, match="no user"):
        run("watch", "x")


def test_a_lost_worker_is_one_line(monkeypatch, capsys):
    from keras_leoclr.distribution.devices import WorkerLostError

    def lost(*_):
        raise WorkerLostError("worker 1 is gone")

    replace_watch(monkeypatch, lost)
    assert run("watch", "x") == 1
    assert capsys.readouterr().err == "leoclr: WorkerLostError: worker 1 is gone\n"


def loaded_by(*arguments, blocked=()):
    """Exit status, output, and heavy packages that a command imports in a process of its own."""
    code = (
        "import sys\n"
        "class Blocked:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {tuple(blocked)!r}:\n"
        "            raise ImportError(f'{name} is blocked')\n"
        "sys.meta_path.insert(0, Blocked())\n"
        "import leoclr\n"
        f"status = leoclr.main(['leoclr', *{[str(a) for a in arguments]!r}])\n"
        "print('LOADED', *sorted({'keras', 'tensorflow', 'keras_cv', 'numpy', 'rich'} & set(sys.modules)))\n"
        "sys.exit(status)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=environment
    )
    printed, _, loaded = done.stdout.rpartition("LOADED")
    return done.returncode, printed + done.stderr, set(loaded.split())


@pytest.mark.parametrize(
    "arguments", [["--help"], ["recipes"], ["--version"], ["doctor", "--help"], ["watch"]]
)
def test_what_asks_for_nothing_heavy_loads_nothing_heavy(arguments):
    assert loaded_by(*arguments)[2] == set()


@pytest.mark.parametrize("command", [n for n in commands.NAMES if n not in ("detect", "segment", "ablate")])
def test_help_loads_neither_keras_nor_tensorflow(command):
    recipe = ["fashion_mnist"] if command in ("pretrain", "views") else []
    code, printed, loaded = loaded_by(command, *recipe, "--help")
    assert code == 0 and not loaded & {"keras", "tensorflow", "keras_cv"}, printed


@pytest.mark.parametrize("command", ["report", "compare", "watch"])
def test_runs_are_looked_at_without_tensorflow(command, tmp_path):
    with tarfile.open(ROOT / "tests" / "fixtures" / "runs_0.1.0.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    options = ["--once"] if command == "watch" else []
    call = command, tmp_path / "finished", *options
    code, printed, loaded = loaded_by(*call, blocked=["tensorflow", "keras_cv"])
    assert code == 0, printed
    assert "tensorflow" not in loaded


def test_the_console_command_is_installed_under_its_name():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    assert config["options.entry_points"]["console_scripts"].strip() == "leoclr = leoclr:main"
    assert config["options"]["py_modules"].split() == ["leoclr"]
    assert leoclr.main(["leoclr", "--version"]) == 0
