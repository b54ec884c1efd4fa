"""What a search for settings has found: the table of the candidates, the choice, and how sure it is."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_leoclr.evaluation.comparison import text_table
from keras_leoclr.evaluation.measures import either
from keras_leoclr.report.studies import RANDOM, Study

LINEAR, KNN, RANKME, UNIFORMITY = "linear", "knn", "rankme", "uniformity"
BY_LABELS = (LINEAR, KNN)
JUDGES = (*BY_LABELS, RANKME, UNIFORMITY)
WORDS = {
    RANKME: "RankMe of held-out pictures, without labels",
    UNIFORMITY: "alignment + uniformity of held-out pictures, without labels",
}
NORMAL = 1.96  # half the width of the 95 % interval, in standard errors


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A pair of settings and what was measured of it.

    Attributes:
        label: its name in the table.
        fields: the settings, by name.
        values: what was measured on held-out training pictures, by name; {} if the run failed.
    """

    label: str
    fields: dict[str, Any]
    values: dict[str, float]

    def score(self, judge: str) -> float:
        """The value that the judge chooses by, larger for better features."""
        if judge in BY_LABELS:
            return next(self.values[name] for name in either(judge) if name in self.values)
        if judge == RANKME:
            return self.values["quality/rankme"]
        # Both are better the smaller they are (arXiv 2005.10242).
        return -(self.values["quality/alignment"] + self.values["quality/uniformity"])


@dataclasses.dataclass(frozen=True)
class Tuned:
    """The result of `tune`.

    Attributes:
        candidates: all candidates that were tried.
        random: what was measured of the network with random weights.
        judge: one of `JUDGES`.
        held_out: number of held-out pictures.
        epochs: number of epochs that each candidate was trained for.
        pictures: number of pictures that each was trained on.
        left: labels of candidates that there was no time for.
        own: label of the candidate with the settings of the recipe.
    """

    candidates: tuple[Candidate, ...]
    random: dict[str, float]
    judge: str
    held_out: int
    epochs: int
    pictures: int
    left: tuple[str, ...] = ()
    own: str = ""

    @property
    def measured(self) -> list[Candidate]:
        """The candidates whose runs did not fail."""
        return [each for each in self.candidates if each.values]

    @property
    def best(self) -> Candidate:
        """The candidate that the judge chooses; of equals, the first."""
        return max(self.measured, key=lambda each: each.score(self.judge))

    @property
    def fields(self) -> dict[str, Any]:
        """The settings that are chosen, as `kl.pretrain(data, workdir, **fields)` takes them."""
        return dict(self.best.fields)

    @property
    def flags(self) -> str:
        """The settings that are chosen, as flags of `leoclr pretrain`."""
        typed = {name: v if isinstance(v, tuple) else (v,) for name, v in self.fields.items()}
        return " ".join(f"--{name} {','.join(f'{n:g}' for n in v)}" for name, v in typed.items())

    def table(self, markdown: bool = False) -> str:
        """The candidates and what was measured of them, with a star at the chosen one."""
        names = {
            name: title for name, title in _COLUMNS.items() if any(name in c.values for c in self.measured)
        }
        rows = [["learning rate", "crops from", *names.values(), "sum"]]
        for each in self.candidates:
            rate, (area, _) = each.fields["learning_rate"], each.fields["crop_scale"]
            star = " *" if each is self.best else ""
            rows.append([f"{rate:g}{star}", f"{100 * area:g} %", *_cells(each.values, names)])
        if self.random:
            rows.append([RANDOM, "", *_cells(self.random, names)])
        return text_table(rows, markdown=markdown)

    def why(self) -> str:
        """One sentence that says what is chosen and by what."""
        best, first = self.best, next((each for each in self.candidates if each.label == self.own), None)
        rate, area = best.fields["learning_rate"], best.fields["crop_scale"][0]
        chosen = f"Chosen: learning rate {rate:g} and crops of {100 * area:g} % of the picture or more"
        judge = self._judge_words()
        if best is first:
            return f"{chosen}, the settings of the recipe: no other candidate is better by {judge}."
        chosen += f", by {judge}: {self._shown(best)}"
        if first is None:
            return f"{chosen}; the settings of the recipe were not measured."
        if not first.values:
            return f"{chosen}; the run with the settings of the recipe failed."
        chosen += f", with the settings of the recipe {self._shown(first)}"
        margin = self._margin(best, first)
        if margin is None:
            return f"{chosen}."
        beyond = best.score(self.judge) - first.score(self.judge) > margin
        where = "beyond" if beyond else "within"
        return f"{chosen}, a difference that is {where} chance (± {100 * margin:.1f})."

    def agreement(self) -> str:
        """A sentence on whether the measures without labels rank the candidates as those with labels do.

        Without labels, or with fewer than three candidates, it is "".
        """
        if len(self.measured) < 3 or not any(name in self.measured[0].values for name in either(KNN)):
            return ""
        scores = {judge: [each.score(judge) for each in self.measured] for judge in JUDGES}

        def shown(judge):
            found = [rank_correlation(scores[judge], scores[by]) for by in BY_LABELS]
            told = ["undefined" if math.isnan(one) else f"{one:+.2f}" for one in found]
            return f"{told[0]} with linear and {told[1]} with kNN"

        said = (
            f"Rank correlation (Spearman) of {len(self.measured)} candidates, +1 for the same order: RankMe "
            f"{shown(RANKME)}, alignment + uniformity {shown(UNIFORMITY)}."
        )
        equal = any(len({*of_one}) == 1 for of_one in scores.values())
        return f"{said} It is undefined where all candidates have equal values." if equal else said

    def text(self) -> str:
        """Table, choice, agreement and flags, as the command prints them."""
        failed = [each.label for each in self.candidates if not each.values]
        lines = [
            f"{self.pictures:,} pictures, {self.epochs} epochs, measured on {self.held_out:,} training "
            "pictures that were held out; sum: alignment + uniformity",
            "",
            self.table(),
            "",
            self.why(),
            self.agreement(),
            f"Failed, and not compared: {'; '.join(failed)}." if failed else "",
            f"There was no time for: {'; '.join(self.left)}." if self.left else "",
            "",
            self.flags,
        ]
        kept = [line for number, line in enumerate(lines) if line or number in (1, 3, len(lines) - 2)]
        return "\n".join(kept)

    def as_json(self) -> dict[str, Any]:
        """Choice and candidates as plain values."""
        about = {
            "judge": self.judge,
            "held_out": self.held_out,
            "epochs": self.epochs,
            "pictures": self.pictures,
        }
        listed = [{**each.fields, **each.values} for each in self.candidates]
        said = {"why": self.why(), "agreement": self.agreement(), "left": list(self.left)}
        return {
            "fields": self.fields,
            "flags": self.flags,
            **about,
            **said,
            "candidates": listed,
            "random": self.random,
        }

    def _judge_words(self):
        if self.judge not in BY_LABELS:
            return WORDS[self.judge]
        name = "kNN" if self.judge == KNN else "a linear classifier"
        return f"{name} on {self.held_out:,} held-out training pictures"

    def _shown(self, each):
        score = each.score(self.judge)
        return f"{100 * score:.1f} %" if self.judge in BY_LABELS else f"{abs(score) if score else 0:.2f}"

    def _margin(self, best, first):
        """Half the 95 % interval of a difference of two accuracies; None for other measures.

        The two are measured on the same pictures, so that this is too wide rather than too narrow.
        """
        if self.judge not in BY_LABELS or f"{self.judge}/top1" not in best.values:
            return None
        shares = [each.score(self.judge) for each in (best, first)]
        variances = [share * (1 - share) / self.held_out for share in shares]
        return NORMAL * math.sqrt(sum(variances))


_COLUMNS = {
    "knn/top1": "kNN",
    "knn/map": "kNN, mAP",
    "linear/top1": "linear",
    "linear/map": "linear, mAP",
    "quality/rankme": "RankMe",
    "quality/alignment": "alignment",
    "quality/uniformity": "uniformity",
}


def of_study(study: Study, variants: dict[str, dict[str, Any]], seed: int, **about: Any) -> Tuned:
    """Makes the result from the lines of a study.

    Args:
        study: the study, as `report.studies.read` returns it.
        variants: settings of the candidates that were planned, by label.
        seed: seed of the runs.
        **about: attributes of `Tuned`: judge, held_out, epochs, pictures, left, own.
    """

    def values(variant):
        return {name: found[seed] for name, found in study.values.get(variant, {}).items() if seed in found}

    tried = tuple(Candidate(label, fields, values(label)) for label, fields in variants.items())
    return Tuned(tried, values(RANDOM), **about)


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's rank correlation of two lists of numbers; nan if one of them has equal numbers alone.

    Args:
        first: N numbers.
        second: N numbers.
    """
    ranks = np.array([_ranks(first), _ranks(second)])
    if (ranks.std(axis=1) == 0).any():
        return float("nan")
    return float(np.corrcoef(ranks)[0, 1])


def _ranks(values: Sequence[float]) -> np.ndarray:
    """Places in ascending order; equal numbers share the mean of theirs."""
    values = np.asarray(values, float)
    return (values[:, None] > values).sum(1) + (values[:, None] == values).sum(1) / 2


def _cells(values: dict[str, float], names: dict[str, str]) -> list[str]:
    if not values:
        return ["failed", *[""] * len(names)]
    cells = []
    for name in names:
        shown = f"{100 * values[name]:.1f}" if not name.startswith("quality/") else f"{values[name]:.2f}"
        cells.append(shown)
    return [*cells, f"{values['quality/alignment'] + values['quality/uniformity']:.2f}"]
