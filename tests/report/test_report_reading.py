"""Runs that are whole, in progress, or damaged: what cannot be read is named, the rest is shown."""

import json
import re

import numpy as np
import pytest

from keras_leoclr.report.reading import read_run
from keras_leoclr.report.sections import curves
from tests.report.elements import Elements, page_of
from tests.report.report_run import EPOCHS, write_history

pytestmark = pytest.mark.backend_free


def say_missing(folder):
    elements = Elements(page_of(folder))
    return elements.text


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: (f / "history.csv").write_text(""), "history.csv is empty"),
        (lambda f: (f / "history.csv").unlink(), "history.csv is missing"),
        (lambda f: write_history(f, loss=lambda e: "nan" if e == 2 else 0.5), "1 values are no finite"),
        (lambda f: (f / "history.csv").write_bytes(b"epoch,loss\n0,1.5\n1,\0\xff"), "no finite numbers"),
        (lambda f: (f / "results.jsonl").write_text(""), "nothing was evaluated yet"),
        (lambda f: (f / "results.jsonl").open("a").write('{"name": "knn/t'), "damaged lines were left out"),
        (lambda f: (f / "results.jsonl").open("a").write("[1]\n{}\n"), "damaged lines were left out"),
        (
            lambda f: (f / "results.jsonl").open("a").write('{"name": "knn/top1", "value": NaN}\n'),
            "1 values are not finite",
        ),
        (lambda f: (f / "recipe.json").write_text('{"method": '), "recipe.json is damaged"),
        (lambda f: (f / "views.png").write_bytes(b"\x89PNG"), "views.png is missing or damaged"),
        (lambda f: (f / "run.json").write_text('{"finished": false}'), "The run is not finished"),
        (lambda f: [p.write_bytes(b"x") for p in f.glob("evaluation/*pictures*")], "cannot be read"),
        (lambda f: [p.unlink() for p in f.glob("evaluation/*coordinates*")], "cannot be read"),
        (lambda f: [p.write_bytes(b"") for p in f.glob("evaluation/*hits*")], "differences are not paired"),
    ],
)
def test_what_is_missing_or_damaged_is_named_and_the_rest_is_shown(copy, damage, words):
    damage(copy)
    text = say_missing(copy)
    assert words in text and "What is missing" in text
    assert "Summary" in text


def test_a_folder_with_a_history_alone_is_a_run_in_progress(tmp_path):
    write_history(tmp_path, range(2))
    text = say_missing(tmp_path)
    assert "Training" in text and "recipe.json is missing" in text
    assert "how good the features are has not been measured" in text


def test_results_cannot_name_files_outside_of_the_folder(copy):
    secret = copy.parent / "secret.npy"
    np.save(secret, np.zeros((40, 2)))
    line = {"name": "embedding/explained", "value": 0.5, "subject": "pretrained"}
    line["coordinates_file"] = f"../../{secret.name}"
    with (copy / "results.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")
    assert read_run(copy).array(line, "coordinates") is None


def test_a_gap_and_a_resume_are_shown(copy):
    write_history(copy, [0, 1, 4, 5])
    page = page_of(copy)
    first = re.search(r'aria-label="Loss divided by.*?</svg>', page, re.S)[0]
    assert first.count("<polyline") == 2 and first.count('class="mark"') == 1
    assert "shows where the run was resumed" in page and "resumed in epoch" in page


@pytest.mark.parametrize("epochs", [20, 100])  # with marks and without
def test_a_curve_that_is_measured_seldom_is_connected_beside_one_that_is_measured_often(tmp_path, epochs):
    periods = {"often": [1] * epochs, "seldom": [5] * epochs, "changed": [5] * 10 + [1] * (epochs - 10)}
    for name, every in periods.items():
        (tmp_path / name).mkdir()
        rows = [f"{e},{0.5 if (e + 1) % period == 0 else 'NA'}" for e, period in enumerate(every)]
        (tmp_path / name / "history.csv").write_text("\n".join(["epoch,knn_top1", *rows, ""]))
    (made,) = curves.training([read_run(tmp_path / name) for name in periods])["charts"]
    pieces = re.findall(r'<polyline[^>]* points="([^"]*)"', made.drawing)
    assert [len(piece.split()) for piece in pieces] == [epochs, epochs // 5, 2 + epochs - 10]


def test_a_value_that_is_not_finite_interrupts_its_curve_and_a_point_between_two_stands_alone(tmp_path):
    values = ["nan" if epoch in (30, 32) else "0.5" for epoch in range(80)]
    lines = [f"{epoch},{value},0.1" for epoch, value in enumerate(values)]
    (tmp_path / "history.csv").write_text("\n".join(["epoch,loss_to_chance,feature_std", *lines, ""]))
    loss, spread = curves.training([read_run(tmp_path)])["charts"]
    assert loss.drawing.count("<polyline") == 3 and loss.drawing.count("at 32</title>") == 1
    assert loss.drawing.count('class="dot') == 1  # a curve of so many points has no other marks
    assert spread.drawing.count("<polyline") == 1


def test_history_counts_epochs_from_one(run):
    assert [x for x, _ in read_run(run).history["loss_to_chance"]] == list(range(1, EPOCHS + 1))
    assert [x for x, _ in read_run(run).history["knn_top1"]] == [1, 3, 5]
