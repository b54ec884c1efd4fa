"""The page of a report: its sections, its pictures, what is escaped, several runs."""

import base64
import io
import itertools
import json
import re

import numpy as np
import pytest
from PIL import Image

from keras_leoclr import cli, report
from keras_leoclr.report import explanations
from keras_leoclr.report.page import SECTIONS
from keras_leoclr.report.reading import read_run
from keras_leoclr.report.sections.classes import classes as average_precisions
from keras_leoclr.report.sections.embedding import EXPLAINED, maps, neighbours
from keras_leoclr.report.sections.method import _of_all, _of_one
from keras_leoclr.report.verdict import chance_level, verdict
from keras_leoclr.runs.results import Results
from keras_leoclr.training import fields
from keras_leoclr.training.recipe import Recipe
from tests.report.elements import Elements, page_of
from tests.report.report_run import write_run

pytestmark = pytest.mark.backend_free


def test_page_has_all_sections_in_order_with_a_table_of_contents(run):
    elements = Elements(page_of(run))
    sections = [s["id"] for s in elements.named("section")]
    assert sections == [
        *("summary", "method", "training", "views", "map", "neighbours", "retrieval"),
        *("robustness", "confusion", "recipe", "environment"),
    ]
    links = [a["href"] for a in elements.named("a")]
    assert links == ["#main", *(f"#{name}" for name in sections)]
    ids = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    heads = [int(tag[1]) for tag, _ in elements.found if re.fullmatch("h[1-6]", tag)]
    assert heads[0] == 1 and heads.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(heads))
    assert "try a <smaller> queue" in elements.text


def test_what_the_crops_miss_and_what_was_gained_is_said(run):
    text = " ".join(Elements(page_of(run)).text.split())
    assert "What is learned from a picture" in text
    assert re.search(
        r"Crop 1 shows \d+ % of the area and crop 2 \d+ %; (they share nothing|\d+ % is in both)\.", text
    )
    assert (
        "LeOCLR compares each crop with the original, the whole picture, which holds everything that a crop"
        in text
    )
    assert (
        "without labels, has gained: the accuracy of a linear classifier is 80.0 %, against 60.0 % with"
        in text
    )
    assert "60.0 % with random weights (+20.0 points) and 70.0 % with raw pixels (+10.0 points)." in text


def changed_results(folder, change):
    """Replaces the results of a run by `change` of each line."""
    lines = [change(line) for line in Results(folder / "results.jsonl").read()]
    Results(folder / "results.jsonl").replace(lines)


def test_what_was_gained_is_said_of_the_same_test_images_alone(copy):
    content = {"random": "others", "raw pixels": "these", "pretrained": "these"}
    changed_results(copy, lambda line: line | {"test_content": content.get(line.get("subject"))})
    text = " ".join(Elements(page_of(copy)).text.split())
    assert "is 80.0 %, against 70.0 % with raw pixels (+10.0 points)." in text


def test_results_of_other_numbers_of_neighbours_are_not_compared_and_say_so(copy):
    def changed(line):
        other = line["name"] == "knn/top1" and line.get("subject") == "pretrained"
        return line | {"k": 5} if other else line | {"k": 20} if line["name"] == "knn/top1" else line

    lines = [changed(line) for line in Results(copy / "results.jsonl").read()]
    Results(copy / "results.jsonl").replace([line for line in lines if not line["name"].startswith("linear")])
    text = " ".join(Elements(page_of(copy)).text.split())
    assert "80.0 (k = 5)" in text and "70.0 (k = 20)" not in text and "has gained" not in text
    assert not any("than that of" in point.text for point in verdict(read_run(copy)).points)
    assert "80.0 (k = 5)" in report.table(lines)


def test_what_a_training_that_began_with_weights_has_gained_is_what_it_added_to_them(copy):
    recipe = json.loads((copy / "recipe.json").read_text())
    (copy / "recipe.json").write_text(json.dumps(recipe | {"initial_weights": "imagenet.weights.h5"}))
    assert "has gained" not in Elements(page_of(copy)).text  # Random weights say nothing about it.

    def begun(line):
        return line | {"subject": "before"} if line.get("subject") == "raw pixels" else line

    changed_results(copy, begun)
    text = " ".join(Elements(page_of(copy)).text.split())
    assert "is 80.0 %, against 70.0 % with the weights that it began with (+10.0 points)." in text


def test_classes_of_several_runs_are_matched_by_name(tmp_path):
    for name, classes in (("a", ["cat", "dog"]), ("b", ["bird", "cat"]), ("c", [])):
        folder = tmp_path / name
        folder.mkdir()
        results = Results(folder / "results.jsonl")
        if classes:
            results.write(EXPLAINED, 0.5, subject="pretrained", class_names=classes)
        for number in (1, 0):
            value = 0.1 * number + 0.01 * (name == "b") + 0.02 * (name == "c")
            about = {"class": number, "subject": "pretrained", "images": 10 + number}
            results.write("quality/average_precision", value, **about)
    table = average_precisions([read_run(tmp_path / name) for name in "abc"])["table"]
    assert table.head == ["class", "images that have it", "a: pretrained", "b: pretrained", "c: pretrained"]
    assert {name: [cell.text for cell in cells] for name, cells in table.body} == {
        "cat": ["10", "0.0", "11.0", "2.0"],  # a run without names has those of the first
        "dog": ["11", "10.0", "–", "12.0"],
        "bird": ["–", "–", "1.0", "–"],
    }


def test_things_that_crops_miss_are_named():
    fates = {"crop 1": ["shown", "missed", "missed"], "crop 2": ["missed", "cut", "missed"]}
    views = [{"name": name, "crop": True, "area": 0.3, "fates": its} for name, its in fates.items()]
    picture = {"things": ["Bag", "Ankle boot", "Bag"], "views": views, "shared": 0.1}
    assert _of_one(picture) == (
        "This picture holds 2 × bag and an ankle boot. Crop 1 shows the bag and misses the ankle boot and "
        "the bag. Crop 2 cuts off a part of the ankle boot and misses 2 × bag."
    )
    assert _of_all([picture]) == [
        "In 1 pictures, a crop misses 67% of the things on average, and in 1 of them the crops have no thing "
        "in common that all of them show."
    ]


def test_sections_and_curves_say_what_their_words_mean(run):
    text = Elements(page_of(run)).text
    shown = {section.name for section in SECTIONS} & set(explanations.SECTIONS)
    assert shown == set(explanations.SECTIONS)
    shown -= {"further"}  # which this run has no results for
    assert all(explanations.SECTIONS[name] in text for name in shown)
    for column in read_run(run).history:
        title, about = explanations.CURVES[column]
        assert title in text and about in text


def test_settings_are_folded_up_and_the_map_and_the_legend_name_what_is_there(run, tmp_path):
    text = page_of(run)
    assert re.search(r"<details class=\"all\"><summary>Show all \d+ settings</summary>", text)
    assert f"{read_run(run).recipe['learning_rate']} per 256 images" in text
    assert "and shape tell the class" in text and "Tap a mark" in text
    shapes = re.search(r"SHAPES = \[(.*?)\];", text, re.S)[1].split(",\n")
    assert len({*filter(str.strip, shapes)}) == 8 and "COLOURS = 8" in text
    assert all(words in Elements(text).text for words in explanations.BASELINES.values())
    write_run(tmp_path / "alone", evaluate=False)
    path = tmp_path / "alone" / "results.jsonl"
    kept = [line for line in path.read_text().splitlines() if '"random"' not in line and "pixels" not in line]
    path.write_text("\n".join(kept) + "\n")
    text = Elements(page_of(tmp_path / "alone")).text
    assert not any(words in text for words in explanations.BASELINES.values())
    assert "not used, as evaluate is False" in text


def test_every_picture_has_a_text_and_nothing_comes_from_outside(run):
    elements = Elements(page_of(run))
    assert elements.named("img") and all(image["alt"].strip() for image in elements.named("img"))
    charts = [svg for svg in elements.named("svg") if svg.get("role") == "img"]
    assert charts and all(svg["aria-label"].strip() for svg in charts)
    for _, attributes in elements.found:
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith(("data:", "#")), attributes
        assert "style" not in attributes  # the policy would not let it through
        assert not any(name.startswith("on") for name in attributes)
    (policy,) = (m["content"] for m in elements.named("meta") if "http-equiv" in m)
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "http" not in policy


def test_text_from_the_data_is_escaped(run):
    page = page_of(run)
    assert "<b>wolf" not in page and "<script>alert" not in page and "<i>data" not in page
    assert page.count("</script>") == 2
    elements = Elements(page)
    assert "dog & <b>wolf</b>" in elements.text and "</script><script>alert(1)</script>" in elements.text
    data = json.loads(re.search(r'id="map-data">(.*?)</script>', page, re.S)[1])
    assert data[0]["names"][2] == "</script><script>alert(1)</script>"


def test_the_map_holds_every_picture_its_label_and_its_neighbours(run):
    data = json.loads(re.search(r'id="map-data">(.*?)</script>', page_of(run), re.S)[1])
    assert [one["title"] for one in data] == ["pretrained", "random"]
    one = data[0]
    assert {len(one[name]) for name in ("x", "y", "labels", "predicted", "near")} == {40}
    assert min(one["x"]) == 0 and max(one["x"]) == 1
    assert np.shape(one["near"]) == (40, 5) and all(i not in row for i, row in enumerate(one["near"]))
    sheet = Image.open(io.BytesIO(base64.b64decode(one["sheet"].split(",")[1])))
    assert sheet.width == one["columns"] * one["tile"] and one["tile"] == 8


def test_neighbours_are_marked_by_signs_and_words_not_by_colour_alone(run):
    elements = Elements(page_of(run))
    looks = [f.get("class") for f in elements.named("figure")]
    right, wrong = looks.count("right"), looks.count("wrong")
    assert right and wrong and right + wrong == 2 * 6 * 6
    spoken = [image["alt"] for image in elements.named("img")]
    assert sum(text.startswith("right: ") for text in spoken) == right
    assert sum(text.startswith("wrong: ") for text in spoken) == wrong
    assert elements.text.count("✗") >= wrong


def test_a_run_without_labels_has_a_map_and_neighbours_without_signs(tmp_path):
    page = page_of(write_run(tmp_path / "run", labelled=False))
    data = json.loads(re.search(r'id="map-data">(.*?)</script>', page, re.S)[1])
    assert len(data[0]["x"]) == 40 and "labels" not in data[0] and data[0]["names"] == []
    elements = Elements(page)
    assert "neighbours" in [s["id"] for s in elements.named("section")]
    assert any(i["alt"].startswith("neighbour 1, cosine 0.") for i in elements.named("img"))
    assert "confusion" not in [s["id"] for s in elements.named("section")]


def test_several_runs_are_laid_on_top_of_each_other_and_compared(run, tmp_path, capsys):
    other = write_run(tmp_path / "other", better=0.5, learning_rate=0.5)
    assert cli.main(["leoclr", "report", str(run), str(other), "--output", str(tmp_path / "both.html")]) == 0
    assert str(tmp_path / "both.html") in capsys.readouterr().out
    page = (tmp_path / "both.html").read_text()
    elements = Elements(page)
    assert "differences" == elements.named("section")[0]["id"]
    assert "run is ahead of other, by 30.0 points in the accuracy of a linear classifier" in elements.text
    assert elements.text.count("raw pixels") - elements.text.count("than raw pixels") >= 2
    loss = re.search(r'aria-label="Loss divided by.*?</figure>', page, re.S)[0]
    assert loss.count("<polyline") == 4  # two curves, two keys of the legend
    assert "learning_rate (differs)" in elements.text and "-30.0" in elements.text
    explained = fields.meanings(Recipe)
    assert explained["temperature"] == "Temperature of the loss: cosines are divided by it."
    assert all(elements.text.count(meaning) == 1 for meaning in explained.values())  # of every setting, once
    data = json.loads(re.search(r'id="map-data">(.*?)</script>', page, re.S)[1])
    assert [one["title"] for one in data] == ["run: pretrained", "other: pretrained"]


def test_several_runs_need_an_output_and_a_folder_a_run(tmp_path, run, capsys):
    assert cli.main(["leoclr", "report", str(run), str(run)]) == 2
    assert "`--output` must name a file" in capsys.readouterr().err
    with pytest.raises(ValueError, match="`output` must name a file for the report of several runs"):
        report.write_report([run, run])
    results = (run / "results.jsonl").read_bytes()
    with pytest.raises(ValueError, match=r"`output` must end in .html. Received: output=.*results.jsonl"):
        report.write_report(run, run / "results.jsonl")
    assert (run / "results.jsonl").read_bytes() == results
    with pytest.raises(FileNotFoundError, match="`workdir` must hold a run"):
        report.write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_pictures_without_a_label_are_shown_without_signs(tmp_path):
    folder = write_run(tmp_path / "partly")
    line = [line for line in Results(folder / "results.jsonl").read() if line["name"] == EXPLAINED][-1]
    for kind in ("labels", "neighbour_labels"):
        array = np.load(folder / line[f"{kind}_file"])
        array.reshape(-1)[::2] = -1
        np.save(folder / line[f"{kind}_file"], array)
    labels, theirs, examples = (
        np.load(folder / line[f"{kind}_file"]) for kind in ("labels", "neighbour_labels", "examples")
    )
    record = read_run(folder)
    (drawn, *_) = maps([record])
    assert drawn["labels"].count([]) == 20 and len(drawn["names"]) == 3
    (found, *_) = neighbours([record])
    for row, example in enumerate(found["examples"]):
        known = labels[examples[row]] >= 0
        assert (example.name == "no label") == (not known)
        for place, neighbour in enumerate(example.neighbours):
            assert bool(neighbour.sign) == (known and theirs[row, place] >= 0)
            assert (neighbour.name == "no label") == (theirs[row, place] < 0)
    assert "of the 20 pictures rightly. 20 pictures on the map have no label." in found["words"]
    for line in Results(folder / "results.jsonl").read():
        if "confusion_file" in line:
            (folder / line["confusion_file"]).unlink()
    assert 0 < chance_level(read_run(folder))[0] < 1  # of the labels of the map
    assert cli.main(["leoclr", "report", str(folder)]) == 0


def test_results_of_an_evaluator_of_ones_own_are_in_a_table_of_further_results(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    results = Results(folder / "results.jsonl")
    results.write("nearest_mean/top1", 0.123, subject="random")
    results.write("nearest_mean/top1", 0.456, subject="pretrained", low=0.4, high=0.5)
    results.write("finetune/top1", 0.789, subject="pretrained", fraction=0.01)
    results.write("monitor/knn_top1", 0.7, epoch=1)
    text = " ".join(Elements(page_of(folder)).text.split())
    assert re.search(r"nearest_mean/top1\s*45.6 \(40.0 to 50.0\)\s*12.3", text)
    assert re.search(r"finetune/top1, fraction 0.01\s*78.9\s*–", text)
    assert "monitor/" not in text
