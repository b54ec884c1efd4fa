"""The report: one HTML file, made from the files of runs, that needs no network."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from keras_leoclr.checks import output_file
from keras_leoclr.evaluation.result_columns import name_apart
from keras_leoclr.report import explanations
from keras_leoclr.report.reading import RunRecord, read_run
from keras_leoclr.report.rendering import page
from keras_leoclr.report.sections import (
    classes,
    confusion,
    curves,
    differences,
    embedding,
    further,
    method,
    settings,
    summary,
    views,
)
from keras_leoclr.runs.files import write_text
from keras_leoclr.runs.folder import RunFolder

STYLES = ("page.css", "drawing.css", "report.css")


class Section(NamedTuple):
    """A section of the page.

    Attributes:
        name: id of the section.
        heading: heading of the section, also in the table of contents.
        template: name of a file in `templates/sections/`.
        make: function from the runs to the content of the template; if that is empty, the section is left
            out.
    """

    name: str
    heading: str
    template: str
    make: Callable[[Sequence[RunRecord]], Any]


SECTIONS = (  # in the order of the page
    Section("differences", "Which run is ahead", "differences.html", differences.differences),
    Section("summary", "Summary", "summary.html", summary.verdicts),
    Section("method", "What is learned from a picture", "method.html", method.explanations),
    Section("missing", "What is missing", "list.html", summary.missing),
    Section("training", "Training", "charts.html", curves.training),
    Section("views", "Views", "views.html", views.views),
    Section("map", "Map of the embedding", "map.html", embedding.maps),
    Section("neighbours", "Nearest neighbours", "neighbours.html", embedding.neighbours),
    Section("retrieval", "From a crop to its original", "charts.html", curves.retrieval),
    Section("robustness", "Robustness", "charts.html", curves.robustness),
    Section("classes", "Average precision of the classes", "table.html", classes.classes),
    Section("confusion", "Confusion of classes", "confusion.html", confusion.confusion),
    Section("further", "Further results", "table.html", further.further),
    Section("recipe", "Recipe", "table.html", settings.recipe),
    Section("environment", "Environment and data", "table.html", settings.environment),
)


def write_report(
    workdirs: str | pathlib.Path | Sequence[str | pathlib.Path],
    output: str | pathlib.Path | None = None,
    meanings: Mapping[str, str] | None = None,
) -> pathlib.Path:
    """Writes one HTML file, which opens from disk, from the files of runs; no model is loaded.

    Missing or damaged files are listed on the page and otherwise ignored.

    Args:
        workdirs: folder of a run, or several folders, whose runs are shown together and compared.
        output: path of the file, which ends in .html; by default `report.html` in the folder of a single run.
        meanings: a sentence for each setting of a recipe, by its name, which the table of settings shows;
            None (the default) leaves this column out. `training.fields.meanings(Recipe)` has them.

    Returns:
        Path of the page.

    Raises:
        FileNotFoundError: if a folder holds no run.
        ValueError: if there are several runs and no `output`, `output` does not end in .html or cannot be
            written, or a folder is that of a study.
    """
    folders = [workdirs] if isinstance(workdirs, (str, pathlib.Path)) else list(workdirs)
    if not folders:
        raise ValueError("`workdirs` must name a folder. Received: none")
    if output is None and len(folders) > 1:
        raise ValueError(f"`output` must name a file for the report of several runs. Received: {output}")
    if output is not None:
        output_file("output", output, (".html",))
    runs = [read_run(folder) for folder in folders]
    for run, name in zip(runs, name_apart([run.name for run in runs]), strict=True):
        run.name = name
    content = {section.name: section.make(runs) for section in SECTIONS}
    content["recipe"] = settings.recipe(runs, meanings)
    content["missing"] = summary.missing(runs)  # while the others were made, more may have turned out so
    shown = [
        {
            "name": section.name,
            "heading": section.heading,
            "about": _about(section.name, runs),
            "template": section.template,
            "content": found,
        }
        for section in SECTIONS
        if (found := content[section.name])
    ]
    maps = content["map"]
    script = "report.js" if maps else ""
    path = pathlib.Path(output).expanduser() if output is not None else RunFolder(folders[0]).report_file
    write_text(path, page("report.html", STYLES, script, title=_title(runs), sections=shown, maps=maps))
    return path


def _about(name, runs):
    """The explanation of a section; that of the summary names the baselines that were judged."""
    about = explanations.SECTIONS.get(name, "")
    if name != "summary":
        return about
    judged = {subject for run in runs for subject in run.subjects}
    told = (text for subject, text in explanations.BASELINES.items() if subject in judged)
    return " ".join([about, *told])


def _title(runs):
    recipe = runs[0].recipe
    if len(runs) == 1 and "method" in recipe:
        return f"{recipe['method']} on {recipe.get('dataset', 'unknown data')}"
    return " and ".join(run.name for run in runs)
