"""Runs the notebooks of the tutorials and writes them with their outputs: `make notebooks`.

    python docs/notebooks.py [NOTEBOOK ...]

`make docs` runs them as well, but leaves the files as they are. What differs from one machine to the next
and tells a reader nothing, such as times, versions and warnings of a backend, is left out of the files.
"""

from __future__ import annotations

import argparse
import os
import pathlib

import nbformat

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

FOLDER = pathlib.Path(__file__).resolve().parent / "tutorials"
KERNEL = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
TIME = 600  # seconds for a cell


def run(notebook: nbformat.NotebookNode, folder: pathlib.Path) -> None:
    """Runs a notebook in place.

    Args:
        notebook: what is run.
        folder: in which it begins.

    Raises:
        nbclient.exceptions.CellExecutionError: if a cell raises an error.
    """
    from nbclient import NotebookClient

    client = NotebookClient(notebook, timeout=TIME, resources={"metadata": {"path": str(folder)}})
    client.execute()


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Leaves out of a notebook, in place, what its readers do not need."""
    notebook.metadata = nbformat.from_dict({**KERNEL, "language_info": {"name": "python"}})
    for number, cell in enumerate(notebook.cells):
        cell.id, cell.metadata = f"cell-{number:02}", nbformat.from_dict({})
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
            for output in cell.outputs:
                if "metadata" in output:
                    output.metadata = nbformat.from_dict({})


def main(paths: list[pathlib.Path]) -> None:
    """Runs and writes the notebooks.

    Args:
        paths: of the notebooks.
    """
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        run(notebook, path.parent)
        tidy(notebook)
        nbformat.write(notebook, path)
        print(path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("notebook", nargs="*", type=pathlib.Path, help="by default all of the tutorials")
    main(parser.parse_args().notebook or sorted(FOLDER.glob("*.ipynb")))
