"""The section of one study: its setting, commands, tables and pictures."""

from __future__ import annotations

import pathlib
import statistics

from keras_leoclr.evaluation.comparison import text_table
from keras_leoclr.report import studies
from keras_leoclr.training.ablations import ABLATIONS
from results_page.words import DATA


def section(folder: pathlib.Path, study: studies.Study, root: pathlib.Path) -> tuple[list[str], dict]:
    """Texts and pictures of a study.

    Args:
        folder: where its `results.jsonl` lies; its pictures are written beside it.
        study: the study.
        root: folder of the page, to which its links are relative.

    Returns:
        The parts of the page, and the texts of the pictures by path.
    """
    parts = [
        f"## {ABLATIONS[study.name].question} ({folder.name})\n",
        _setting(study),
        "\n".join(["```bash", *study.commands, "```\n"]),
        studies.markdown(study) + "\n",
    ]
    files = {}
    for name, text in (
        ("table", studies.picture(study)),
        ("knn", studies.curves(study, "knn_top1") or studies.curves(study, "knn_map")),
        ("loss", studies.curves(study, "loss_to_chance") if study.name == "method" else None),
        ("leads", _leads(study)),
    ):
        if text is not None:
            path = folder / f"{name}.svg"
            files[path] = text
            parts.append(f"![{study.name}, {name}]({path.relative_to(root).as_posix()})\n")
    return [*parts, *_peaks(study), *_changes(study)], files


def _setting(study):
    first = study.runs[0]
    recipe = first["recipe"]
    data = DATA.get(recipe["dataset"], recipe["dataset"])
    if len({line["recipe"]["dataset"] for line in study.runs}) > 1:
        data = "scenes of garments, whose number and size the rows name"
    widths = f" of widths {', '.join(map(str, recipe['widths']))}" if recipe["widths"] else ""
    photometrics = ", ".join(f"{strength:g}" for strength in recipe["color_jitter"])
    machine = first["environment"]
    versions = machine.get("packages", {})
    seeds = sorted({line["seed"] for line in study.runs})
    return (
        f"Data: {data}. Backbone: {recipe['backbone']}{widths}, stem {recipe['stem']}, "
        f"{recipe['image_size']} px. First row: "
        f"{recipe['epochs']} epochs, batch {recipe['batch_size']}, learning rate {recipe['learning_rate']:g} "
        f"per 256 images, temperature {recipe['temperature']:g}, momentum {recipe['momentum']:g}, queue "
        f"{recipe['queue_size']:,}, crops of {recipe['crop_scale'][0]:g} to {recipe['crop_scale'][1]:g}, "
        f"colour jitter {photometrics} with probability {recipe['jitter_probability']:g}. Seeds "
        f"{', '.join(map(str, seeds))}. {machine.get('backend', '?')} backend, Keras "
        f"{versions.get('keras', '?')}, {machine.get('cores', '?')} cores.\n"
    )


def _leads(study):
    """The picture of the leads of a study in which several settings are varied; None for others."""
    rows = studies.by_cell(study)
    return studies.leads_picture(f"{study.name}: lead over MoCo v2", rows) if len(rows) > 1 else None


def _peaks(study):
    """Where the curves of kNN were highest, and where they ended."""
    rows = [["kNN while training, mean over seeds", "highest", "at epoch", "at the end", "lost"]]
    for variant, curve in studies.mean_curves(study).items():
        epoch, most = max(curve, key=lambda point: point[1])
        last = curve[-1][1]
        numbers = (f"{100 * most:.1f}", str(epoch), f"{100 * last:.1f}", f"{100 * (most - last):.1f}")
        rows.append([variant, *numbers])
    return [text_table(rows, markdown=True) + "\n"] if len(rows) > 1 else []


def _changes(study):
    """Linear accuracy on changed test images, by change."""
    changes = list(dict.fromkeys(change for found in study.changed.values() for change in found))
    rows = [["linear accuracy on changed test images, mean over strengths and seeds", *changes]]
    for variant in study.values:
        found = study.changed.get(variant, {})
        means = [
            100 * statistics.fmean(found[change].values()) if change in found else None for change in changes
        ]
        rows.append([variant, *("–" if mean is None else f"{mean:.1f}" for mean in means)])
    return [text_table(rows, markdown=True) + "\n"] if changes else []
