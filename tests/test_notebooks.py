"""The notebooks as they are in the repository; test_packaging.py tests that they run, with the site."""

import ast
import importlib
import json
import pathlib
import re
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))
pytestmark = [
    pytest.mark.backend_free,
    pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem),
]


def code_of(path):
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


def test_there_are_notebooks(path):
    assert len(NOTEBOOKS) >= 2


def test_a_notebook_was_run_from_its_beginning_to_its_end_without_an_error(path):
    cells = code_of(path)
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell["outputs"]]
    kinds = {output["output_type"] for output in outputs}
    assert "stream" in kinds and "error" not in kinds
    assert not any(output.get("name") == "stderr" for output in outputs)
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 3


def test_a_notebook_names_no_folder_of_a_machine_and_needs_no_network(path):
    text = path.read_text()
    assert not re.findall(r"/(?:home|root|tmp|work|Users|usr|var)/\w+", text)
    assert not re.findall(r"https?://|\bpip install|\burlopen\b|\bget_file\b", text)


def test_a_notebook_is_small_and_has_no_metadata_that_differ_from_run_to_run(path):
    notebook = json.loads(path.read_text())
    assert path.stat().st_size < 600_000
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert notebook["metadata"]["language_info"] == {"name": "python"}
    assert not any(cell["metadata"] for cell in notebook["cells"])
    ids = [cell["id"] for cell in notebook["cells"]]
    assert ids == [f"cell-{number:02}" for number in range(len(ids))]


def test_a_notebook_uses_public_names_only(path):
    tree = ast.parse("\n".join("".join(cell["source"]) for cell in code_of(path)))
    package = importlib.import_module("keras_leoclr")
    used = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom | ast.Import):
            names = [node.module] if isinstance(node, ast.ImportFrom) else [name.name for name in node.names]
            assert all(not name.startswith("keras_leoclr.") for name in names), names
            known = {*sys.stdlib_module_names, "keras", "keras_leoclr", "matplotlib", "numpy", "PIL"}
            assert {name.partition(".")[0] for name in names} <= known
        if isinstance(node, ast.Attribute):
            assert not node.attr.startswith("_"), node.attr
            if isinstance(node.value, ast.Name) and node.value.id == "kl":
                used.add(node.attr)
    assert used and used <= set(package.__all__)
