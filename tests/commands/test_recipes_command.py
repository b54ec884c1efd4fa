"""`leoclr recipes`."""

import importlib
import json
import sys
import types

import pytest

import keras_leoclr as kl
from keras_leoclr import cli
from keras_leoclr.commands import recipes
from keras_leoclr.commands.recipes import recipe_files
from keras_leoclr.recipes import fashion_mnist

pytestmark = pytest.mark.backend_free


def run(*arguments):
    return cli.main(["leoclr", *map(str, arguments)])


def test_recipes_as_json_and_as_lines(capsys):
    assert run("recipes", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    names = sorted(recipe_files())
    assert [each["name"] for each in found] == names
    for each in found:
        module = importlib.import_module(f"keras_leoclr.recipes.{each['name']}")
        assert module.__doc__.startswith(each["summary"]) and each["summary"] in each["description"]
    assert run("recipes") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == names


def test_recipes_of_users_need_no_docstring(capsys, monkeypatch, tmp_path):
    texts = {"plain": "RECIPE = None", "empty": '""', "broken": "RECIPE = (", "helpers": '"""Of mine."""'}
    for name, text in texts.items():
        (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.setattr(recipes, "recipe_files", lambda: {name: tmp_path / f"{name}.py" for name in texts})
    assert run("recipes") == 0
    plain, empty, broken, helpers = capsys.readouterr().out.splitlines()
    assert (plain, empty) == ("plain", "empty") and helpers.endswith(" Of mine.")
    assert broken.startswith("broken ") and "cannot be read: '(' was never closed" in broken
    plain = types.ModuleType("plain")
    plain.RECIPE = fashion_mnist.RECIPE
    monkeypatch.setitem(sys.modules, "keras_leoclr.recipes.plain", plain)
    assert run("pretrain", "plain", "--help") == 0
    assert "leoclr pretrain plain --workdir DIR" in capsys.readouterr().out
    helpers = types.ModuleType("helpers")
    helpers.__file__ = "helpers.py"
    monkeypatch.setitem(sys.modules, "keras_leoclr.recipes.helpers", helpers)
    assert run("pretrain", "helpers", "--workdir", tmp_path / "run") == 1
    words = "must be a file with the name RECIPE. Received: helpers.py, without it"
    assert words in capsys.readouterr().err
    with pytest.raises(ValueError, match=words):
        kl.pretrain(None, tmp_path / "run", recipe="helpers")
