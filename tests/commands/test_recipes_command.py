"""`leoclr recipes`."""

import importlib
import json

import pytest

from keras_leoclr import cli
from keras_leoclr.commands.recipes import recipe_files

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
