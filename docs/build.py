"""Builds the site of the documents: `make docs`, or `python docs/build.py [FOLDER]`.

The pages of docs/ are copied beside the pages that are made here: the reference of the public names, from
their docstrings, and that of the command line, from its flags. Sphinx makes the site from both, with a search
and without network. It ends with an error if Sphinx warns, which it does of a link that leads nowhere, if a
notebook does not run, or if a public name has no place on a page.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import inspect
import io
import os
import pathlib
import re
import shutil
import sys
import tempfile
import textwrap
import types

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras_leoclr
import keras_leoclr.recipes
from keras_leoclr import cli, commands

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGES = ("README.md", "RESULTS.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "CITATION.cff")
LINKED = (
    "callbacks",
    "keras_leoclr",
    "recipes",
    "tests",
    "tools",
)  # files that the pages link to
START = '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url=docs/index.html">\n'


def public_names() -> dict[str, list[str]]:
    """Names in `__all__` by module, of the package and the modules that it names, and of the recipes."""
    modules = [keras_leoclr, keras_leoclr.recipes]
    modules += [
        value
        for name in keras_leoclr.__all__
        if isinstance(value := getattr(keras_leoclr, name), types.ModuleType)
    ]
    return {module.__name__: _names(module) for module in modules}


def _names(module):
    if hasattr(module, "__all__"):
        return list(module.__all__)
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]


def reference_of(module: str, names: list[str], places: dict[int, str]) -> str:
    """The page of a public module: its docstring, then each name with its docstring.

    Args:
        module: its name.
        names: its public names.
        places: by `id`, where a class or function has its docstring already; those of this page are added.
    """
    parts = [f"# {module}\n", f"```{{eval-rst}}\n.. automodule:: {module}\n   :no-index:\n```\n"]
    for name in names:
        value = getattr(sys.modules[module], name)
        if isinstance(value, types.ModuleType):
            page = f"[{value.__name__}]({value.__name__}.md)"
            parts.append(f"- {page}" if value.__name__ in public_names() else f"- `{value.__name__}`")
        elif not callable(value):
            parts.append(
                f"## {name}\n\n```{{eval-rst}}\n.. py:data:: {module}.{name}\n   :no-typesetting:\n```\n"
            )
            parts.append(constant(value))
        elif id(value) in places:
            parts.append(f"## {name}\n\nSee [{places[id(value)]}]({places[id(value)]}.md).\n")
        else:
            places[id(value)] = module
            kind, members = ("class", "   :members:\n") if inspect.isclass(value) else ("function", "")
            parts.append(f"## {name}\n\n```{{eval-rst}}\n.. auto{kind}:: {module}.{name}\n{members}```\n")
    return "\n".join(parts)


def constant(value: object) -> str:
    """A constant on its page: a dictionary as a table with a line for each key, anything else as text."""
    if not isinstance(value, dict) or not value:
        return f"A constant:\n\n```text\n{textwrap.fill(repr(value), 90)}\n```\n"
    rows = {key: _cells(each) for key, each in value.items()}
    names = list(dict.fromkeys(name for cells in rows.values() for name in cells))
    lines = ["A dictionary, with these keys and values:\n", f"| key | {' | '.join(names)} |"]
    lines.append("|---" * (1 + len(names)) + "|")
    for key, cells in rows.items():
        lines.append(f"| `{key}` | {' | '.join(_shown(cells.get(name)) for name in names)} |")
    return "\n".join(lines) + "\n"


def _cells(value):
    """The columns of a value in the table of a constant."""
    if dataclasses.is_dataclass(value):
        cells = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    else:
        cells = value._asdict() if hasattr(value, "_asdict") else {"value": value}
    return {name: each for name, each in cells.items() if not getattr(each, "__name__", "").startswith("_")}


def _shown(value):
    """A value in a cell: a function by its name, and a sequence without brackets."""
    if isinstance(value, (tuple, list)):
        value = ", ".join(map(str, value))
    return str(getattr(value, "__name__", value) or "–").replace("|", "\\|")


def command_line() -> str:
    """The page of the command line: what `leoclr --help` and the `--help` of each command print."""
    parts = ["# Command line\n", f"```text\n{cli.usage()}\n```\n"]
    for name in commands.NAMES:
        shown = io.StringIO()
        with contextlib.redirect_stdout(shown):
            cli.command_of(name)(["--help"])
        parts.append(f"## leoclr {name}\n\n```text\n{shown.getvalue().rstrip()}\n```\n")
    return "\n".join(parts)


def tables_of_contents(index: str) -> str:
    """The sections of the index page as the site's tables of contents.

    Args:
        index: text of docs/index.md, where each section lists its pages as links.
    """
    parts = []
    for section in index.split("\n## ")[1:]:
        pages = re.findall(r"\]\(([\w./]+)\.(?:md|ipynb)\)", section)
        listed = "\n".join(pages)
        parts.append(f"```{{toctree}}\n:hidden:\n:caption: {section.splitlines()[0]}\n\n{listed}\n```\n")
    return "\n".join(parts)


def stage(folder: pathlib.Path) -> None:
    """Lays the sources of the site out in a folder: copies of the pages, and those that are made.

    Args:
        folder: where to; it does not exist yet.
    """
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns("__pycache__", "*.jsonl"))
    for name in PAGES:
        shutil.copy(ROOT / name, folder / name)
    shutil.copytree(ROOT / "benchmarks", folder / "benchmarks")
    for name in LINKED:
        (folder / name).symlink_to(ROOT / name)
    index = folder / "docs" / "index.md"
    text = index.read_text(encoding="utf-8")
    index.write_text(f"{text}\n{tables_of_contents(text)}", encoding="utf-8")
    api = folder / "docs" / "reference"
    api.mkdir(exist_ok=True)
    names, places = public_names(), {}
    for module, members in names.items():
        page = reference_of(module, members, places)
        (api / f"{module}.md").write_text(page, encoding="utf-8")
    (api / "command_line.md").write_text(command_line(), encoding="utf-8")
    pages = "\n".join(names)
    (api / "index.md").write_text(
        f"# Reference\n\n```{{toctree}}\n:maxdepth: 2\n\ncommand_line\n{pages}\n```\n", encoding="utf-8"
    )


def build(folder: pathlib.Path, notebooks: bool = True) -> list[str]:
    """Writes the site.

    Args:
        folder: where to.
        notebooks: whether the notebooks are run; otherwise they are shown with the outputs that they hold.

    Returns:
        What is wrong with it, sentence by sentence.
    """
    from sphinx.application import Sphinx

    warned = io.StringIO()
    settings = {} if notebooks else {"nb_execution_mode": "off"}
    with tempfile.TemporaryDirectory() as temporary:
        source = pathlib.Path(temporary) / "source"
        stage(source)
        app = Sphinx(
            source,
            ROOT / "docs",
            folder,
            pathlib.Path(temporary) / "doctrees",
            "html",
            settings,
            status=None,
            warning=warned,
        )
        app.build()
    (folder / "index.html").write_text(START, encoding="utf-8")
    wrong = [line for line in warned.getvalue().splitlines() if line.strip()]
    for module, members in public_names().items():
        page = (folder / "docs" / "reference" / f"{module}.html").read_text(encoding="utf-8")
        for name in members:
            if f">{name}<a " not in page and f'href="{module}.{name}.html"' not in page:
                wrong.append(f"{module}.{name} is not on its page")
    return wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", nargs="?", type=pathlib.Path, default="build/docs", help="of the site")
    where = parser.parse_args().folder
    found = build(where)
    print("\n".join(found), file=sys.stderr) if found else print(where / "index.html")
    sys.exit(1 if found else 0)
