"""What holds across all studies: the methods compared, leads that were expected, what the losses tell."""

from __future__ import annotations

from keras_leoclr.evaluation.comparison import text_table
from keras_leoclr.report import studies
from keras_leoclr.report.studies.lead import EQUAL_EPOCHS, STEMS, TITLES, count_of, told
from keras_leoclr.training.ablations import METHODS
from results_page.words import ABOUT, CENTRED, EXPECTED, FORETOLD, OTHERS, kind_of

Found = list[tuple[str, studies.Study]]  # folder and study


def comparison(found: Found, method: str) -> list[str]:
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
                    ahead[kind_of(folder)][measure][sign].append(f"{folder}, {lead.setting}")
            rows.append([folder, lead.setting, *cells(lead)])
            single[kind_of(folder)] += count_of(lead) == 1
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


def expected(found: Found) -> list[str]:
    """The leads that were expected of LeOCLR, and what came out."""
    rows = [["study", "setting", "seeds", "measure", "expected", "measured", "reached"]]
    for folder, study in found:
        for lead in studies.leads(study):
            for name, stem, aim, who in EXPECTED:
                change = lead.changes[stem]
                if name != folder or lead.budget != EQUAL_EPOCHS or change is None:
                    continue
                reached = "yes" if round(100 * change.mean, 1) >= aim else "no"
                row = [folder, lead.setting, str(change.count), TITLES[stem], f"+{aim:.1f}, {who}"]
                rows.append([*row, studies.points(change), reached])
    title = "## Leads of LeOCLR that were expected\n"
    return [title, text_table(rows, markdown=True) + "\n"] if len(rows) > 1 else []


def foretold(found: Found) -> list[str]:
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


def cells(lead: studies.Lead) -> list[str]:
    """Number of seeds and differences, as the tables have them."""
    seeds = count_of(lead)
    return [str(seeds), *(told(change, seeds) for change in lead.changes.values())]


def _runs_of(study, lead):
    return frozenset(line["run"] for line in study.runs if line["variant"] in (lead.base, lead.label))


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
