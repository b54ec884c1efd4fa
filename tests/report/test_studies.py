"""What is said of studies: numbers, tables, pictures, and the page of results."""

import importlib.util
import json
import pathlib
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import scipy.stats

from keras_leoclr.report import studies
from keras_leoclr.runs.results import Results
from keras_leoclr.training import ablations
from tests.report.study_lines import lines_of

pytestmark = pytest.mark.backend_free

ROOT = pathlib.Path(__file__).parents[2]


# === Numbers ===


def test_intervals_are_those_of_students_t():
    values = [0.1, 0.4, 0.35, 0.2]
    low, high = scipy.stats.t.interval(0.95, 3, np.mean(values), scipy.stats.sem(values))
    found = studies.spread(values)
    np.testing.assert_allclose([found.low, found.high], [low, high], rtol=1e-9)
    assert studies.spread([0.3]) == studies.Spread(0.3, None, None, None, 1)


def test_differences_are_paired_by_seed(tmp_path):
    values = {"b": [0.50, 0.60, 0.70], "a": [0.519, 0.621, 0.72], "c": [0.52, 0.58, 0.76]}
    found = studies.read(lines_of(tmp_path / "results.jsonl", values))["temperature"]
    assert found.reference == "b"
    change = found.change("a", "linear/top1")
    assert change.mean == pytest.approx(0.02) and change.beyond_chance
    assert not found.change("c", "linear/top1").beyond_chance
    text = studies.markdown(found)
    assert "(+2.0, +1.8 to +2.2 *) |" in text and "| b | 3 | 60.0 ± 10.0 |" in text


def test_a_cell_with_fewer_seeds_than_its_row_says_how_many(tmp_path):
    results = lines_of(tmp_path / "results.jsonl", {"b": [0.5, 0.6, 0.7], "a": [0.6, 0.7, 0.8]})
    for seed, value in ((0, 0.4), (1, 0.5)):
        results.write("knn/top1", value, ablation="temperature", variant="b", seed=seed)
    results.write("knn/top1", 0.45, ablation="temperature", variant="a", seed=0)
    text = studies.markdown(studies.read(results)["temperature"])
    assert "| b | 3 | 45.0 ± 7.1, 2 seeds | 60.0 ± 10.0 |" in text
    assert "| a | 3 | 45.0, 1 seed (+5.0) | 70.0 ± 10.0 (+10.0" in text


def test_a_difference_over_fewer_seeds_than_its_row_says_how_many(tmp_path):
    values = {"MoCo v2, 0.1": [0.5, 0.61], "LeOCLR, 0.1": [0.6, 0.7, 0.8]}
    results = lines_of(tmp_path / "results.jsonl", values, methods=("moco_v2", "leoclr"))
    results.write("knn/top1", 0.4, ablation="temperature", variant="MoCo v2, 0.1", seed=0)
    results.write("knn/top1", 0.5, ablation="temperature", variant="LeOCLR, 0.1", seed=0)
    found = studies.read(results)["temperature"]
    assert "| LeOCLR, 0.1 | 3 | 50.0, 1 seed (+10.0) | 70.0 ± 10.0 (+9.5, +3.1 to +15.9 *, 2 seeds) |" in (
        studies.markdown(found)
    )
    row = studies.table_of_leads(studies.leads(found)).splitlines()[-1]
    assert row.split("  ")[-2:] == ["+10.0, 1 seed", "+9.5, +3.1 to +15.9 *"] and " 2 " in row


def test_a_table_without_the_first_variant_says_what_differences_are_from(tmp_path):
    path, note = tmp_path / "results.jsonl", "Differences are from LeOCLR, in the first row"
    results = lines_of(path, {"MoCo v2": [], "LeOCLR": [0.6, 0.61], "weak": [0.55, 0.57]})
    for text in (studies.text, studies.markdown):
        table, _, said = text(studies.read(results)["temperature"]).partition("\n\n")
        assert said == f"{note}: the first variant of the study has no results here." and "(-4.5" in table
    assert "first row" not in studies.text(
        studies.read(lines_of(path, {"MoCo v2": [0.5, 0.6]}))["temperature"]
    )
    other = lines_of(tmp_path / "other.jsonl", {"LeOCLR": [0.6], "weak": [0.5]})
    lines_of(tmp_path / "other.jsonl", {"LeOCLR, 2 epochs": [0.7]})
    assert studies.text(studies.read(other)["temperature"]).endswith(f"{note}.")


def test_results_of_other_settings_of_a_variant_are_not_averaged_with_the_newest(tmp_path):
    path, variants = tmp_path / "results.jsonl", {"0.2": 0.3, "0.1": 0.4, studies.RANDOM: 0.1}
    for epochs, seeds in ((1, (0, 1)), (50, (1, 2))):
        for place, (variant, value) in enumerate(variants.items()):
            for seed in seeds:
                about = {"ablation": "temperature", "variant": variant, "seed": seed}
                run = {"run": f"{0 if variant == studies.RANDOM else place}-{seed}-{epochs}"}
                Results(path).write("linear/top1", value + epochs / 100 + seed / 1000, **about, **run)
                if variant != studies.RANDOM:
                    settings = {"place": place, "recipe": {"epochs": epochs, "seed": seed}}
                    Results(path).write("study/run", 1.0, **about, **run, **settings, environment={})
    about = {"ablation": "temperature", "variant": "0.2", "seed": 2, "run": "a process that was killed"}
    Results(path).write("linear/top1", 0.99, **about)
    found = studies.read(Results(path))["temperature"]
    measured = {variant: values["linear/top1"] for variant, values in found.values.items()}
    assert measured["0.2"] == pytest.approx({0: 0.31, 1: 0.801, 2: 0.802})
    assert measured[studies.RANDOM] == pytest.approx({0: 0.11, 1: 0.601, 2: 0.602})
    assert list(measured) == ["0.2", "0.1", studies.RANDOM]
    said = [f"The seeds of {v} were trained with different settings: epochs 1 and 50." for v in measured]
    assert studies.text(found).splitlines()[-4:-2] == said[:2]


def test_a_variant_that_was_trained_anew_is_told_from_those_that_were_not(tmp_path):
    for epochs, values in ((1, {"0.2": [0.3, 0.4], "0.1": [0.5, 0.6]}), (50, {"0.2": [0.8, 0.9]})):
        (tmp_path / "part.jsonl").unlink(missing_ok=True)
        for line in lines_of(tmp_path / "part.jsonl", values).read():
            changes = {} if "recipe" not in line else {"recipe": line["recipe"] | {"epochs": epochs}}
            changes |= {"run": f"{line['variant']}-{line['seed']}-{epochs}"}
            Results(tmp_path / "results.jsonl").write(**line | changes)
    said = studies.text(studies.read(Results(tmp_path / "results.jsonl"))["temperature"]).splitlines()[-1]
    assert said == "0.2 was trained anew with epochs 50, but 0.1 with epochs 1."


def test_shares_of_the_pictures_that_a_limit_makes_equal_are_told(tmp_path):
    results = lines_of(tmp_path / "results.jsonl", {"all images": [0.5], "first 10 % of the images": [0.5]})
    for most in (0, 320):
        found = studies.read(results)["temperature"]
        for line in found.runs:
            share = "[:10%]" if "10 %" in line["variant"] else ""
            line["recipe"] |= {"max_images": most, "train_split": f"train{share}"}
        assert ("`max_images` takes at most 320 pictures of each share" in studies.text(found)) == bool(most)


def test_other_numbers_of_test_images_are_told(tmp_path):
    results = lines_of(tmp_path / "results.jsonl", {"0.2": [0.5], "0.1": [0.6]})
    for variant, count in (("0.2", 1000), ("0.1", 900), ("0.1", 1000)):  # The last one of a seed counts.
        about = {"ablation": "temperature", "variant": variant, "seed": 0, "test_images": count}
        for name in ("knn/top1", "linear/top1"):
            results.write(name, 0.5, **about)
        said = "The numbers of test images differ in kNN, linear: 1,000 in 0.2, 900 in 0.1."
        assert (said in studies.text(studies.read(results)["temperature"])) == (count == 900)


def test_what_was_not_measured_or_is_equal_in_all_seeds_is_not_beyond_chance(tmp_path):
    assert not studies.spread([0.1, 0.1]).beyond_chance and studies.spread([0.1, 0.11]).beyond_chance
    found = studies.read(lines_of(tmp_path / "results.jsonl", {"a": [0.5, 0.6]}))["temperature"]
    found.values = {"a": {"quality/rankme": {0: 5.0}}}  # no measure of the table
    assert "| a | 0 |" in studies.markdown(found) and ET.fromstring(studies.picture(found)) is not None
    found.values = {}
    assert ET.fromstring(studies.picture(found)) is not None


def test_leads_are_of_recipes_of_two_versions_too(tmp_path):
    values = {"LeOCLR, 0.1": [0.6, 0.7], "MoCo v2, 0.1": [0.5, 0.61]}
    path = tmp_path / "results.jsonl"
    found = studies.read(lines_of(path, values, methods=("leoclr", "moco_v2")))["temperature"]
    for line in found.runs:
        if line["recipe"]["method"] == "moco_v2":
            del line["recipe"]["channels"]  # a setting that is younger than this run
    assert [lead.base for lead in studies.leads(found)] == ["MoCo v2, 0.1"]


def test_pictures_are_svg_that_name_their_values(tmp_path):
    found = studies.read(lines_of(tmp_path / "results.jsonl", {"a<b": [0.5, 0.6], "c": [0.7]}))["temperature"]
    for text in (studies.picture(found), studies.curves(found)):
        root = ET.fromstring(text)
        assert root.tag.endswith("svg") and "a<b" in "".join(root.itertext())
    assert "a<b, seed 1: 60.0 %" in "".join(ET.fromstring(studies.picture(found)).itertext())


# === The page ===


@pytest.fixture
def page(monkeypatch):
    """docs/results_page, as docs/results.py imports it."""
    monkeypatch.syspath_prepend(ROOT / "docs")
    return importlib.import_module("results_page.comparison")


@pytest.fixture
def script(page):
    spec = importlib.util.spec_from_file_location("docs_results", ROOT / "docs" / "results.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_results_is_what_the_results_say(script):
    for path, text in script.page().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} differs: run `make results`"


def test_tables_in_documents_are_replaced_and_the_rest_stays(script):
    text = "before\n<!-- table: leads -->\nold\n<!-- end of table -->\nafter\n"
    new = script.TABLE.sub(lambda m: f"{m[1]}{m[2]}\n{m[3]}", text)
    assert new == "before\n<!-- table: leads -->\nleads\n<!-- end of table -->\nafter\n"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert {match[2] for match in script.TABLE.finditer(readme)} == {"photographs"}


def test_the_leads_that_were_expected_are_compared_with_those_measured(tmp_path, monkeypatch, page):
    values = {"LeOCLR, 0.1": [0.60, 0.70], "MoCo v2, 0.1": [0.56, 0.66]}
    path = tmp_path / "results.jsonl"
    lines_of(path, values, methods=("leoclr", "moco_v2"))
    found = studies.read(Results(path))["temperature"]
    monkeypatch.setattr(page, "EXPECTED", (("a", "linear", 4.0, "x"), ("a", "linear", 4.1, "y")))
    text = "\n".join(page.expected([("a", found), ("b", found)]))
    assert [line.split("|")[-2].strip() for line in text.splitlines() if line.startswith("| a")] == [
        "yes",
        "no",
    ]
    assert "| b |" not in text and "+4.0, x" in text


def test_methods_are_compared_where_all_else_is_equal(tmp_path, page):
    values = {"LeOCLR, 0.1": [0.6, 0.7], "MoCo v2, 0.1": [0.5, 0.61], "alone": [0.1, 0.1]}
    path = tmp_path / "results.jsonl"
    lines_of(path, values, methods=("leoclr", "moco_v2", "end_to_end"))
    found = studies.read(Results(path))["temperature"]
    (lead,) = studies.leads(found)
    assert lead[:5] == ("0.1", "0.1", "equal epochs", "MoCo v2, 0.1", "LeOCLR, 0.1")
    assert lead.changes["linear"].mean == pytest.approx(0.095) and lead.changes["knn"] is None
    text = "\n".join(page.comparison([("folder", found)], "leoclr"))
    assert "| folder | 0.1 | 2 |" in text and "+9.5" in text
    twice = "\n".join(page.comparison([("folder", found), ("again", found)], "leoclr"))
    assert twice == text  # the same runs count once
    assert page.comparison([("folder", found)], "crop_to_original") == []


def test_leads_are_drawn_by_cell_and_series(tmp_path):
    values = {
        "MoCo v2, a": [0.5, 0.61],
        "LeOCLR, a": [0.6, 0.7],
        "crop to original, a": [0.4, 0.5],
        "LeOCLR at equal compute, a": [0.5, 0.63],
    }
    path, methods = tmp_path / "results.jsonl", ("moco_v2", "leoclr", "crop_to_original", "leoclr")
    lines_of(path, values, methods=methods)
    found = studies.read(Results(path))["temperature"]
    assert not [lead for lead in studies.leads(found) if lead.budget == "equal compute"]
    for line in found.runs:
        if "equal compute" in line["variant"]:
            line["recipe"]["epochs"] = line["recipe"]["epochs"] * 4 // 5
    found.name = "scenes"  # in which the number of epochs may differ
    rows = studies.by_cell(found)
    assert {cell: {s: lead.label for s, lead in row.items()} for cell, row in rows.items()} == {
        "a": {
            "equal epochs": "LeOCLR, a",
            "equal compute": "LeOCLR at equal compute, a",
            "crop to original": "crop to original, a",
        }
    }
    words = "".join(ET.fromstring(studies.leads_picture("scenes", rows)).itertext())
    assert "a, equal epochs: +9.5" in words and "a, crop to original: -10.5" in words
    assert "a, equal compute: +1.0" in words and "linear: minus MoCo v2, points" in words
    text = studies.table_of_leads(studies.leads(found))
    assert "at equal compute, a" in text and "+1.0" in text and "kNN" not in text
    assert studies.leads_picture("scenes", {}) is None


def test_methods_are_not_compared_where_neither_epochs_nor_compute_are_equal(tmp_path):
    path, runs = tmp_path / "results.jsonl", {}
    for epochs, less in ((10, 8), (40, 32)):  # two studies of the method in one folder
        runs |= {f"MoCo v2, {epochs} epochs": epochs, f"LeOCLR, {epochs} epochs": epochs}
        runs |= {f"LeOCLR, equal compute, {less} epochs": less}
    methods = ["leoclr" if label.startswith("LeOCLR") else "moco_v2" for label in runs]
    lines_of(path, {label: [0.5] for label in runs}, methods)
    found = studies.read(Results(path))["temperature"]
    found.name = "method"
    for line in found.runs:
        line["recipe"]["epochs"] = runs[line["variant"]]
    assert [(lead.base, lead.label, lead.budget) for lead in studies.leads(found)] == [
        ("MoCo v2, 10 epochs", "LeOCLR, 10 epochs", "equal epochs"),
        ("MoCo v2, 10 epochs", "LeOCLR, equal compute, 8 epochs", "equal compute"),
        ("MoCo v2, 40 epochs", "LeOCLR, 40 epochs", "equal epochs"),
        ("MoCo v2, 40 epochs", "LeOCLR, equal compute, 32 epochs", "equal compute"),
    ]


def test_what_follows_is_counted(page):
    def advice(ours, theirs):
        return page._advice("LeOCLR", {"kNN": ([], ["x"] * ours, ["y"] * theirs)}, page.CENTRED)

    assert "LeOCLR and MoCo v2 are not told apart" in advice(0, 0)
    assert "LeOCLR is the better choice. The exceptions are listed above." in advice(3, 1)
    assert "MoCo v2 is the better choice. In no setting is LeOCLR ahead." in advice(0, 1)
    assert "neither is ahead throughout" in advice(2, 1)


def test_results_in_the_repository_are_small_and_name_no_place():
    for path in ROOT.glob("docs/results/*/results.jsonl"):
        assert path.stat().st_size < 500_000
        assert "/home/" not in path.read_text() and "/root/" not in path.read_text()
        assert all(json.loads(line)["ablation"] in ablations.ABLATIONS for line in path.open())
