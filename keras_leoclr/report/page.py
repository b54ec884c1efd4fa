"""The page: one file that needs no network, from the files of a run."""

from __future__ import annotations

import base64
import hashlib
import html
import importlib.resources
import pathlib
from collections.abc import Sequence

from keras_leoclr.report import sections
from keras_leoclr.report.reading import read_run
from keras_leoclr.runs.files import whole_file

TITLES = {  # in the order of the page
    "summary": ("Summary", sections.summary),
    "missing": ("What is missing", sections.missing),
    "differences": ("Differences", sections.differences),
    "training": ("Training", sections.training),
    "views": ("Views", sections.views),
    "map": ("Map of the embedding", None),
    "neighbours": ("Nearest neighbours", sections.neighbours),
    "retrieval": ("From a crop to its original", sections.retrieval),
    "robustness": ("Robustness", sections.robustness),
    "confusion": ("Confusion of classes", sections.confusion),
    "recipe": ("Recipe", sections.recipe),
    "environment": ("Environment and data", sections.environment),
}


def write_report(
    workdirs: str | pathlib.Path | Sequence[str | pathlib.Path], output: str | pathlib.Path | None = None
) -> pathlib.Path:
    """Writes one HTML file that opens from disk, from what runs have written; no model is loaded.

    What is missing or damaged is named on the page and left out.

    Args:
        workdirs: folder of a run, or several, which are laid on top of each other and compared.
        output: the file; by default `report.html` in the folder of a single run.

    Returns:
        Path of the page.

    Raises:
        FileNotFoundError: if a folder holds no run.
        ValueError: if there are several runs and no `output`.
    """
    folders = [workdirs] if isinstance(workdirs, (str, pathlib.Path)) else list(workdirs)
    if not folders:
        raise ValueError("`workdirs` must name a folder. Received: none")
    if output is None and len(folders) > 1:
        raise ValueError(f"`output` must name a file for the report of several runs. Received: {output}")
    runs = [read_run(folder) for folder in folders]
    names = [run.name for run in runs]
    for number, run in enumerate(runs, 1):  # two folders of one name
        if names.count(run.name) > 1:
            run.name = f"{run.name} ({number})"
    made, data = {}, []
    for name, (_, section) in TITLES.items():
        if section is None:
            made[name], data = sections.maps(runs)
        elif name != "missing":
            made[name] = section(runs)
    made["missing"] = sections.missing(runs)  # the other sections may find that something is
    title = " and ".join(run.name for run in runs)
    recipe = runs[0].recipe
    if len(runs) == 1 and "method" in recipe:
        title = f"{recipe['method']} on {recipe.get('dataset', 'unknown data')}"
    body = "".join(
        f'<section id="{name}" aria-labelledby="h-{name}"><h2 id="h-{name}">{heading}</h2>'
        f"{made[name]}</section>"
        for name, (heading, _) in TITLES.items()
        if made[name]
    )
    links = "".join(
        f'<li><a href="#{name}">{heading}</a></li>' for name, (heading, _) in TITLES.items() if made[name]
    )
    path = pathlib.Path(output) if output is not None else pathlib.Path(folders[0]) / "report.html"
    with whole_file(path) as file:
        file.write(page(title, body, links, data).encode())
    return path


def page(title: str, body: str, links: str = "", data: list | None = None) -> str:
    """A whole document.

    Its policy forbids every request: only the style sheet and the script of the package, known by their
    checksums, and pictures inside of the page are allowed.

    Args:
        title: not escaped yet.
        body: HTML.
        links: items of the table of contents, HTML.
        data: what the script draws maps of; None or empty: no script.
    """
    style, script = (_static(f"report.{kind}") for kind in ("css", "js"))
    allowed = [f"style-src '{_checksum(style)}'", "img-src data:"]
    scripts = ""
    if data:
        allowed.append(f"script-src '{_checksum(script)}'")
        scripts = (
            f'<script type="application/json" id="map-data">{sections.as_json(data)}</script>'
            f"<script>{script}</script>"
        )
    policy = "; ".join(["default-src 'none'", *allowed, "base-uri 'none'", "form-action 'none'"])
    contents = f'<nav aria-label="Contents"><ul>{links}</ul></nav>' if links else ""
    skip = '<a class="skip" href="#main">Skip to the content</a>' if links else ""
    title = html.escape(title)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>{title}</title><style>{style}</style></head><body>{skip}"
        f'<header><h1>{title}</h1>{contents}</header><main id="main" tabindex="-1">{body}</main>'
        f"{scripts}</body></html>\n"
    )


def _static(name):
    return importlib.resources.files("keras_leoclr.report").joinpath("static", name).read_text("utf-8")


def _checksum(text):
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
