"""Renders RESULTS.md and its pictures from docs/results/*/results.jsonl: `make results`.

    python docs/results.py [--check]

Each folder holds the `results.jsonl` of one study, as `leoclr ablate ... --workdir FOLDER` writes it; all
numbers, tables, pictures and comparisons of the page come from there. So do the tables in other documents
that stand between `<!-- table: NAME -->` and `<!-- end of table -->`. With `--check` nothing is written, and
the exit status is 1 if a document differs from what would be.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import re
import statistics
import sys

from keras_leoclr.evaluation.comparison import text_table
from keras_leoclr.report import studies
from keras_leoclr.report.studies.lead import EQUAL_EPOCHS, STEMS, TITLES, count_of, told
from keras_leoclr.runs.results import Results
from keras_leoclr.training.ablations import ABLATIONS, METHODS
from keras_leoclr.training.crop_agreement import CLOSE

ROOT = pathlib.Path(__file__).parent
PAGE = ROOT.parent / "RESULTS.md"
DATA = {
    "fashion_mnist": "Fashion-MNIST, the bundled 10,000 training and 2,000 test images",
    "fashion-mnist": "Fashion-MNIST, 60,000 training and 10,000 test images (Debian's dataset-fashion-mnist)",
    "fashion_scenes": "scenes of 2 to 4 garments each, 10,000 training and 2,000 test pictures "
    "(`keras_leoclr.data.fashion_scenes`)",
    "small_objects.npz": "garments of 12 pixels on canvases of 32, 10,000 training and 2,000 test images "
    "(`python tools/small_objects.py`)",
    "openclipart.npz": "coloured drawings of the Open Clip Art Library (`python tools/openclipart.py`)",
    "cifar10": "CIFAR-10, 50,000 training and 10,000 test pictures (a folder of JPEG files)",
    "imagenette_72": "Imagenette, 9,469 training and 3,925 test photographs of 10 classes of ImageNet, "
    "reduced to 72 pixels (`python tools/reduced_pictures.py imagenette runs/imagenette_72`)",
    "imagenette_108": "Imagenette, reduced to 108 pixels (`python tools/reduced_pictures.py imagenette "
    "runs/imagenette_108 --shorter_side 108`)",
}
ABOUT = {
    "leoclr": "Everything but the method is the same in a row, by seed; points of test accuracy, or of mean "
    "average precision where pictures have several labels. At equal compute LeOCLR has four fifths of the "
    "epochs.\n",
    "crop_to_original": "Queries are crops and keys originals, as `--method crop_to_original` takes them: "
    "LeOCLR's pair the other way round, which is not the paper's.\n",
}
FORETOLD = """## Which method to take, seen without labels

The loss of the training needs no labels. Here it is divided by that of guessing (`loss_to_chance`): 1 is a
network that cannot tell the keys of an image from the negatives. Does the method with the smaller loss have
the better features? The table shows LeOCLR minus MoCo v2 at equal epochs, as the mean over the seeds: LeOCLR
is ahead where the loss is below 0, and where the gains in accuracy, in points, are above 0.
"""
WITH_TABLES = (ROOT.parent / "README.md", ROOT / "when.md", ROOT / "compare_methods.md")
TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end of table -->)", re.S)
# Leads of LeOCLR at equal epochs that were expected, in points: study, measure, lead, and who expected it.
EXPECTED = (
    ("scenes", "knn", 4.0, "this library's aim for scenes"),
    ("scenes", "linear", 4.0, "this library's aim for scenes"),
    ("imagenette", "linear", 5.1, "the paper's lead on ImageNet-1K"),
    ("imagenette_50", "linear", 5.1, "the paper's lead on ImageNet-1K"),
)
NAMES = {  # of the pictures of the studies of the method, by folder
    "cifar10": "CIFAR-10",
    "fashion_mnist_60000": "one garment (Fashion-MNIST)",
    "imagenette": "photographs (Imagenette)",
    "imagenette_50": "photographs (Imagenette)",
    "imagenette_96": "photographs at 96 px (Imagenette)",
    "imagenette_stem_imagenet": "photographs, another network",
    "openclipart": "clip art",
    "scenes": "scenes of 2 to 4 garments",
    "small_objects": "one small garment",
}
PATHS = {  # of data sets, as benchmarks/crop_agreement.py was given them
    "small_objects.npz": "runs/small_objects.npz",
    "openclipart.npz": "runs/openclipart.npz",
    "fashion-mnist": "/usr/share/datasets/fashion-mnist",
    "imagenette_72": "runs/imagenette_72",
    "cifar10": "runs/cifar10",
}
CENTRED = "that show one centred thing on a plain ground"
OTHERS = "that show several or small things, and photographs"
OF_CENTRED = ("fashion_mnist", "openclipart")  # how their folders begin
INTRODUCTION = """# Results

LeOCLR (`--method leoclr`, the default) beside its baseline MoCo v2 (`--method moco_v2`): trained alike, with
several seeds. LeOCLR gives better features where crops lose what the original shows: in photographs, and in
pictures with several or with small things. Where one centred thing on a plain ground fills every picture, any
two crops show the same thing, and LeOCLR was equal to MoCo v2 or worse.

Rendered by `make results` (docs/results.py) from the `results.jsonl` files in `docs/results`;
each section names its command. Accuracies are of the test images, in percent: mean ± standard deviation
over the seeds. In brackets the difference from the first row in points, paired by seed, with its 95 %
interval (Student's t over the seeds); `*` marks an interval that does not contain 0, also where its end is
rounded to 0.0. Where two rows have different numbers of seeds, the difference is that of the seeds that both
have, and not the difference of the two means. A cell that has fewer seeds than its row says how many. A ring
in a picture is one seed, a filled dot the mean, the bar its 95 % interval, the dashed line the first row.

- *kNN*: the 20 nearest training images vote, by the cosine of the features, with weights exp(cosine / 0.07).
- *linear*: softmax regression on the frozen features; the weight decay is chosen on held-out training images.
- *linear, few labels*: the same on 10 labelled images per class, mean of 5 draws.
- *kNN among training images*: each training image is classified by the others. If it rises while the accuracy
  on test images falls, the network has memorised training images.
- *retrieval of the original*: the share of crops of 60 % of the area whose nearest picture among the test
  originals is their own.
- *linear, changed images*: the linear classifier of clean images is applied to test images that are cropped,
  shrunk, occluded or corrupted; mean over the changes and their strengths.
- *fine-tuned, few labels*: backbone and head are trained on 1 % of the labels for 20 epochs, as SwAV's
  authors do. Where these are fewer than 256 labels, such as the 97 of Imagenette, an epoch is one step, and
  the accuracies are low.
"""


def sections() -> list[tuple[str, studies.Study]]:
    """Folder and study, of all studies, ordered by folder."""
    found = []
    for path in sorted(ROOT.glob("results/*/results.jsonl")):
        found += [(path.parent.name, study) for study in studies.read(Results(path)).values()]
    return found


def page() -> dict[pathlib.Path, str]:
    """The texts of RESULTS.md, of the documents with tables and of the pictures, by path."""
    files, parts = {}, [INTRODUCTION]
    found = sections()
    for method in ABOUT:
        parts += _comparison(found, method)
    parts += _expected(found)
    parts += _foretold(found)
    for folder, study in found:
        first = study.runs[0]
        recipe = first["recipe"]
        parts.append(f"## {ABLATIONS[study.name].question} ({folder})\n")
        parts.append(_setting(study, recipe))
        parts.append("\n".join(["```bash", *dict.fromkeys(r["command"] for r in study.runs), "```\n"]))
        parts.append(studies.markdown(study) + "\n")
        for name, text in (
            ("table", studies.picture(study)),
            ("knn", studies.curves(study, "knn_top1") or studies.curves(study, "knn_map")),
            ("loss", studies.curves(study, "loss_to_chance") if study.name == "method" else None),
            ("leads", _leads_of(study)),
        ):
            if text is not None:
                path = ROOT / "results" / folder / f"{name}.svg"
                files[path] = text
                parts.append(f"![{study.name}, {name}]({path.relative_to(ROOT.parent).as_posix()})\n")
        parts += _peaks(study)
        parts += _changes(study)
    files[ROOT / "pictures" / "leads.svg"] = _leads_picture(found)
    for path in WITH_TABLES:
        old = path.read_text(encoding="utf-8")
        files[path] = TABLE.sub(lambda m: f"{m[1]}\n{TABLES[m[2]](found)}\n\n{m[3]}", old)
    return {PAGE: "\n".join(parts).rstrip() + "\n", **files}


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


def _setting(study, recipe):
    data = DATA.get(recipe["dataset"], recipe["dataset"])
    if len({line["recipe"]["dataset"] for line in study.runs}) > 1:
        data = "scenes of garments, whose number and size the rows name"
    widths = f" of widths {', '.join(map(str, recipe['widths']))}" if recipe["widths"] else ""
    photometrics = ", ".join(f"{strength:g}" for strength in recipe["color_jitter"])
    machine = study.runs[0]["environment"]
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


def _comparison(found, method):
    """Table of a method's differences from MoCo v2 in all studies, and what follows from it."""
    name = METHODS[method]
    rows = [["study", "setting", "seeds", *TITLES.values()]]
    # by kind of picture and measure, the settings with neither, the method, MoCo v2 ahead
    ahead = {kind: {m: ([], [], []) for m in STEMS} for kind in (OTHERS, CENTRED)}
    single = dict.fromkeys(ahead, 0)  # number of settings with one seed, which have no interval
    known = set()  # two studies may have the same runs, which count once
    for folder, study in found:
        for lead in studies.leads(study, method):
            if (runs := _runs_of(study, lead)) in known:
                continue
            known.add(runs)
            for measure, change in lead.changes.items():
                if change is not None and change.low is not None:
                    sign = 0 if not change.beyond_chance else 1 if change.mean > 0 else 2
                    ahead[_kind_of(folder)][measure][sign].append(f"{folder}, {lead.setting}")
            rows.append([folder, lead.setting, *_cells(lead)])
            single[_kind_of(folder)] += count_of(lead) == 1
    if len(rows) == 1:
        return []
    lines = [
        f"## {name[:1].upper()}{name[1:]} minus MoCo v2\n",
        ABOUT[method],
        text_table(rows, markdown=True) + "\n",
    ]
    for kind, found_ahead in ahead.items():
        if not any(settings for groups in found_ahead.values() for settings in groups):
            continue
        lines.append(f"On pictures {kind}:\n")
        for measure in STEMS:
            none, better, worse = map(len, found_ahead[measure])
            lines.append(
                f"- {TITLES[measure]}: of {none + better + worse} settings with several seeds, {name} is "
                f"ahead beyond chance in {better} and MoCo v2 in {worse}."
            )
        if single[kind]:
            lines.append(f"- Settings with one seed, which have no interval: {single[kind]}.")
        for number, who in ((1, name), (2, "MoCo v2")):
            where = list(dict.fromkeys(s for groups in found_ahead.values() for s in groups[number]))
            if where:
                lines.append(f"- Settings with {who} ahead by some measure: {'; '.join(where)}.")
        lines += [f"- {_advice(name, found_ahead, kind)}", ""]
    return lines


def _expected(found):
    """The leads that were expected of LeOCLR, and what came out."""
    rows = [["study", "setting", "seeds", "measure", "expected", "measured", "reached"]]
    for folder, study in found:
        for lead in studies.leads(study):
            for name, stem, expected, who in EXPECTED:
                change = lead.changes[stem]
                if name != folder or lead.budget != EQUAL_EPOCHS or change is None:
                    continue
                reached = "yes" if round(100 * change.mean, 1) >= expected else "no"
                cells = [str(change.count), TITLES[stem], f"+{expected:.1f}, {who}"]
                rows.append([folder, lead.setting, *cells, studies.points(change), reached])
    title = "## Leads of LeOCLR that were expected\n"
    return [title, text_table(rows, markdown=True) + "\n"] if len(rows) > 1 else []


def _foretold(found):
    """What the losses tell of each pair of runs at equal epochs."""
    rows, known = [], set()
    for folder, study in found:
        for lead in studies.leads(study):
            if lead.budget != EQUAL_EPOCHS or (runs := _runs_of(study, lead)) in known:
                continue
            known.add(runs)
            gains = [lead.changes[stem] for stem in ("linear", "knn")]
            name = f"{folder}, {lead.setting}"
            rows.append(studies.losses_foretell(name, study, lead.base, lead.label, *gains))
    lines = studies.foretold_text([row for row in rows if row is not None])
    return [FORETOLD, *lines] if lines else []


def _leads_of(study):
    """The picture of the leads of a study in which several settings are varied; None for others."""
    rows = studies.by_cell(study)
    return studies.leads_picture(f"{study.name}: lead over MoCo v2", rows) if len(rows) > 1 else None


def _runs_of(study, lead):
    return frozenset(line["run"] for line in study.runs if line["variant"] in (lead.base, lead.label))


def _cells(lead):
    """Number of seeds and differences, as the tables have them."""
    return [str(count_of(lead)), *(told(change) for change in lead.changes.values())]


def _kind_of(folder):
    return CENTRED if folder.startswith(OF_CENTRED) else OTHERS


def _advice(name, ahead, kind):
    """What follows for the choice between a method and MoCo v2, from the counts alone."""
    ours, moco = (sum(len(groups[n]) for groups in ahead.values()) for n in (1, 2))
    measured = f"On pictures {kind} (small pictures, networks and budgets; ImageNet was not trained here),"
    if ours == moco == 0:
        return f"{measured} {name} and MoCo v2 are not told apart."
    if max(ours, moco) > 2 * min(ours, moco):
        better, other = (name, "MoCo v2") if ours > moco else ("MoCo v2", name)
        rest = "The exceptions are listed above." if min(ours, moco) else f"In no setting is {other} ahead."
        return f"{measured} {better} is the better choice. {rest}"
    return f"{measured} neither is ahead throughout: look for the row that is most like your setting."


def _photographs(found):
    """The results on Imagenette: what the README shows."""
    study = next(study for folder, study in found if folder == "imagenette")
    rows = [["features", "seeds", *TITLES.values()]]
    best = max(study.values, key=lambda variant: study.of(variant, "linear/top1").mean)
    random_first = sorted(study.values, key=lambda variant: variant != studies.RANDOM)
    for variant in random_first:
        count = str(study.of(variant, "linear/top1").count)
        cells = [count, *(studies.percent(study.of(variant, f"{stem}/top1")) for stem in STEMS)]
        mark = "**" if variant == best else ""
        rows.append([f"{mark}{text}{mark}" for text in (variant, *cells)])
    return text_table(rows, markdown=True)


def _leads(found):
    """LeOCLR minus MoCo v2 in the studies of the method."""
    rows = [["pictures", "budget", "seeds", *TITLES.values()]]
    for folder, study in _of_method(found):
        rows += [[NAMES[folder], lead.setting, *_cells(lead)] for lead in studies.leads(study)]
    return text_table(rows, markdown=True)


def _leads_picture(found):
    """The same as a picture."""
    rows = {
        f"{NAMES[folder]}, {cell}": row
        for folder, study in _of_method(found)
        for cell, row in studies.by_cell(study).items()
    }
    return studies.leads_picture("lead over MoCo v2 by kind of pictures", rows)


def _of_method(found):
    """The studies of the method, of photographs and of several or small things first."""
    return [
        (folder, study)
        for kind in (OTHERS, CENTRED)
        for folder, study in found
        if study.name == "method" and _kind_of(folder) == kind
    ]


def _agreement(found):
    """How often crops agree (benchmarks/crop_agreement.py), beside the lead of LeOCLR at equal epochs."""
    measured = json.loads((ROOT / "results" / "crop_agreement.json").read_text(encoding="utf-8"))
    rows = {}
    for folder, study in found:
        recipes = {line["variant"]: line["recipe"] for line in study.runs}
        for lead in studies.leads(study) if study.name in ("method", "scenes", "crop_scale") else ():
            recipe = recipes[lead.label]
            low, high = (f"{number:g}" for number in recipe["crop_scale"])
            data = f"{PATHS.get(recipe['dataset'], recipe['dataset'])}@{low},{high}"
            if lead.budget == EQUAL_EPOCHS and data in measured:
                pictures = _pictures(folder, recipe["dataset"])
                rows[folder, lead.setting] = studies.Agreed(
                    pictures, f"{low} to {high}", *measured[data], lead.changes["linear"]
                )
    return studies.agreement_text([*rows.values()], CLOSE)


def _pictures(folder, dataset):
    if found := re.fullmatch(r"fashion_scenes:things=(\d+),size=(\d+)", dataset):
        return "scenes of {} garments of {} pixels".format(*found.groups()).replace("1 garments", "1 garment")
    return NAMES.get(folder, NAMES["scenes" if dataset == "fashion_scenes" else "fashion_mnist_60000"])


TABLES = {
    "photographs": _photographs,
    "leads": _leads,
    "agreement": _agreement,
}  # by the name between the marks


def main() -> int:
    """Writes the page, or compares it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    check = parser.parse_args().check
    stale = []
    for path, text in page().items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(path)
            if not check:
                path.write_text(text, encoding="utf-8")
    for path in stale:
        print(f"{'differs' if check else 'written'}: {path.relative_to(ROOT.parent)}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
