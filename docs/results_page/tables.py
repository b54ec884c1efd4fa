"""The tables that stand in documents between `<!-- table: NAME -->` and `<!-- end of table -->`."""

from __future__ import annotations

import json
import pathlib
import re

from keras_leoclr.evaluation.comparison import text_table
from keras_leoclr.report import studies
from keras_leoclr.report.studies.lead import EQUAL_EPOCHS, STEMS, TITLES
from keras_leoclr.training.crop_agreement import CLOSE
from results_page.comparison import Found, cells
from results_page.words import CENTRED, NAMES, OTHERS, PATHS, kind_of

AGREEMENT = pathlib.Path(__file__).parents[1] / "results" / "crop_agreement.json"


def _photographs(found: Found) -> str:
    """The results on Imagenette: what the README shows."""
    study = next(study for folder, study in found if folder == "imagenette")
    rows = [["features", "seeds", *TITLES.values()]]
    best = max(study.values, key=lambda variant: study.of(variant, "linear/top1").mean)
    random_first = sorted(study.values, key=lambda variant: variant != studies.RANDOM)
    for variant in random_first:
        count = str(study.of(variant, "linear/top1").count)
        row = [variant, count, *(studies.percent(study.of(variant, f"{stem}/top1")) for stem in STEMS)]
        mark = "**" if variant == best else ""
        rows.append([f"{mark}{text}{mark}" for text in row])
    return text_table(rows, markdown=True)


def _leads(found: Found) -> str:
    """LeOCLR minus MoCo v2 in the studies of the method."""
    rows = [["pictures", "budget", "seeds", *TITLES.values()]]
    for folder, study in _of_method(found):
        rows += [[NAMES[folder], lead.setting, *cells(lead)] for lead in studies.leads(study)]
    return text_table(rows, markdown=True)


def leads_picture(found: Found) -> str:
    """The leads of the studies of the method, as a picture."""
    rows = {
        f"{NAMES[folder]}, {cell}": row
        for folder, study in _of_method(found)
        for cell, row in studies.by_cell(study).items()
    }
    return studies.leads_picture("lead over MoCo v2 by kind of pictures", rows)


def _agreement(found: Found) -> str:
    """How often crops agree (benchmarks/crop_agreement.py), beside the lead of LeOCLR at equal epochs.

    Pictures with crops of one size count once, by the study with the most seeds.
    """
    measured = json.loads(AGREEMENT.read_text(encoding="utf-8"))
    rows = {}
    for folder, study in found:
        recipes = {line["variant"]: line["recipe"] for line in study.runs}
        for lead in studies.leads(study) if study.name in ("method", "scenes", "crop_scale") else ():
            recipe = recipes[lead.label]
            low, high = (f"{number:g}" for number in recipe["crop_scale"])
            data = f"{PATHS.get(recipe['dataset'], recipe['dataset'])}@{low},{high}"
            if lead.budget == EQUAL_EPOCHS and data in measured:
                pictures, change = _pictures(folder, recipe["dataset"]), lead.changes["linear"]
                row = studies.Agreed(pictures, f"{low} to {high}", *measured[data], change)
                if data not in rows or change.count > rows[data].gain.count:
                    rows[data] = row
    return studies.agreement_text([*rows.values()], CLOSE)


def _of_method(found):
    """The studies of the method, of photographs and of several or small things first."""
    return [
        (folder, study)
        for kind in (OTHERS, CENTRED)
        for folder, study in found
        if study.name == "method" and kind_of(folder) == kind
    ]


def _pictures(folder, dataset):
    if found := re.fullmatch(r"fashion_scenes:things=(\d+),size=(\d+)", dataset):
        return "scenes of {} garments of {} pixels".format(*found.groups()).replace("1 garments", "1 garment")
    return NAMES.get(folder, NAMES["scenes" if dataset == "fashion_scenes" else "fashion_mnist_60000"])


TABLES = {
    "photographs": _photographs,
    "leads": _leads,
    "agreement": _agreement,
}  # by the name between the marks
