"""What the report says, from runs that are whole, in progress, or damaged."""

import base64
import html.parser
import io
import itertools
import json
import re

import numpy as np
import pytest
from PIL import Image

from keras_leoclr import cli, report
from keras_leoclr.evaluation.embedding import contact_sheet, project, spread
from keras_leoclr.report.charts import Line, chart
from keras_leoclr.report.reading import read_run
from keras_leoclr.report.verdict import difference, verdict
from tests.report_run import EPOCHS, write_history, write_run

pytestmark = pytest.mark.backend_free


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "run", resumed=[(2, 5)])


@pytest.fixture
def copy(run, tmp_path):
    import shutil

    return shutil.copytree(run, tmp_path / "copy")


def page_of(*folders, output=None):
    return report.write_report(list(folders), output).read_text(encoding="utf-8")


class Elements(html.parser.HTMLParser):
    """All elements with their attributes, and the text outside of scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.found, self.text, self._inside = [], "", ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside not in ("script", "style"):
            self.text += data

    def named(self, tag):
        return [attributes for name, attributes in self.found if name == tag]


# === Page ===


def test_page_has_all_sections_in_order_with_a_table_of_contents(run):
    elements = Elements(page_of(run))
    sections = [s["id"] for s in elements.named("section")]
    assert sections == [
        *("summary", "training", "views", "map", "neighbours", "retrieval"),
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


# === Missing and damaged ===


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
    assert "what it is worth has not been measured" in text


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
    first = re.search(r'aria-label="Loss, as a share.*?</svg>', page, re.S)[0]
    assert first.count("<polyline") == 2 and first.count('class="mark"') == 1
    assert "the run was resumed there" in page and "resumed in epoch" in page


# === Several runs ===


def test_several_runs_are_laid_on_top_of_each_other_and_compared(run, tmp_path, capsys):
    other = write_run(tmp_path / "other", better=0.5, learning_rate=0.5)
    assert cli.main(["leoclr", "report", str(run), str(other), "--output", str(tmp_path / "both.html")]) == 0
    assert str(tmp_path / "both.html") in capsys.readouterr().out
    page = (tmp_path / "both.html").read_text()
    elements = Elements(page)
    assert "differences" in [s["id"] for s in elements.named("section")]
    loss = re.search(r'aria-label="Loss, as a share.*?</figure>', page, re.S)[0]
    assert loss.count("<polyline") == 4  # two curves, two keys of the legend
    assert "learning_rate (differs)" in elements.text and "-30.0" in elements.text
    data = json.loads(re.search(r'id="map-data">(.*?)</script>', page, re.S)[1])
    assert [one["title"] for one in data] == ["run: pretrained", "other: pretrained"]


def test_several_runs_need_an_output_and_a_folder_a_run(tmp_path, run, capsys):
    assert cli.main(["leoclr", "report", str(run), str(run)]) == 2
    assert "`--output` must name a file" in capsys.readouterr().err
    with pytest.raises(ValueError, match="`output` must name a file for the report of several runs"):
        report.write_report([run, run])
    with pytest.raises(FileNotFoundError, match="`workdir` must hold a run"):
        report.write_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


# === Verdict ===


@pytest.mark.parametrize(
    ("better", "mark", "words"),
    [
        (0.9, "yes", "better than a random backbone and than raw pixels"),
        (0.7, "yes", "not clearly better than raw pixels"),
        (0.65, "yes", "Raw pixels are still ahead"),
        (0.6, "no", "not better than a random one"),
        (0.5, "no", "worse than a random one"),
    ],
)
def test_the_verdict_follows_the_intervals(copy, better, mark, words):
    lines = read_run(copy).results
    hits = np.arange(200) < better * 200
    for line in lines:
        if line.get("subject") == "pretrained" and "hits_file" in line:
            np.save(copy / line["hits_file"], np.packbits(hits))
            line |= {"value": better, "low": better - 0.05, "high": better + 0.05}
    (copy / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = verdict(read_run(copy))
    assert found.mark == mark and words in found.headline


@pytest.mark.parametrize(
    ("loss", "spread_of", "words"), [(1.0, 0.08, "not being solved"), (0.7, 0.0, "have collapsed")]
)
def test_a_run_that_solves_nothing_or_collapses_is_not_learning(tmp_path, loss, spread_of, words):
    (tmp_path / "recipe.json").write_text('{"projection_dim": 128}')
    (tmp_path / "history.csv").write_text(
        f"epoch,loss_to_chance,feature_std\n0,1.0,0.08\n1,{loss},{spread_of}\n"
    )
    found = verdict(read_run(tmp_path))
    assert found.mark == "no" and found.headline == "It is not learning."
    assert any(words in point.text for point in found.points)


def test_chance_is_the_most_frequent_class(copy):
    for file in copy.glob("evaluation/*confusion*"):
        np.save(file, np.array([[80, 10], [5, 5]]))
    assert any("against 90.0% of always" in point.text for point in verdict(read_run(copy)).points)
    assert any(point.mark == "no" and "90.0%" in point.text for point in verdict(read_run(copy)).points)


def test_differences_without_hits_take_both_intervals(run):
    record = read_run(run)
    one = {"value": 0.8, "low": 0.77, "high": 0.83, "images": 1}
    other = {"value": 0.6, "low": 0.56, "high": 0.64, "images": 2}
    change, low, high = difference(record, one, other)
    assert (change, low, high) == pytest.approx((0.2, 0.15, 0.25))
    assert difference(record, {"value": 0.8}, other) is None


# === Parts ===


def test_a_chart_of_equal_values_or_a_single_point_has_an_axis():
    for points in ([(1, 0.5)], [(1, 0.0), (2, 0.0)], [(1, -3e-9), (2, 4e9)]):
        made = "".join(map(str, chart("t", [Line("a", points)], "epoch")))
        assert "nan" not in made and "inf" not in made and "<polyline" in made


def test_principal_components_keep_distances_and_their_share():
    rng = np.random.default_rng(0)
    flat = rng.standard_normal((50, 2)) @ np.linalg.qr(rng.standard_normal((9, 2)))[0].T
    points, explained = project(flat + 0.0)
    unit = flat / np.linalg.norm(flat, axis=1, keepdims=True)
    assert explained == pytest.approx(1)
    distances = np.linalg.norm(unit[:, None] - unit, axis=-1)
    np.testing.assert_allclose(np.linalg.norm(points[:, None] - points, axis=-1), distances, atol=1e-5)
    np.testing.assert_allclose(project(flat)[0], points)
    assert project(np.ones((4, 3)))[0].shape == (4, 2)


def test_umap_is_named_when_it_is_missing(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(ImportError, match=r"needs the package umap-learn: .*\[report\]"):
        project(np.ones((4, 3)), "umap")


def test_examples_are_taken_from_the_classes_in_turn():
    labels = np.array([2, 2, 2, 0, 0, 1])
    assert labels[spread(labels, 5)].tolist() == [0, 1, 2, 0, 2]
    assert spread(np.zeros(3, int), 9).tolist() == [0, 1, 2]


def test_a_contact_sheet_is_filled_row_by_row():
    tiles = np.arange(5, dtype="uint8")[:, None, None, None] * np.ones((5, 2, 2, 3), "uint8")
    sheet = contact_sheet(tiles, 3)
    assert sheet.shape == (4, 6, 3)
    assert sheet[::2, ::2, 0].tolist() == [[0, 1, 2], [3, 4, 0]]


def test_history_counts_epochs_from_one(run):
    assert [x for x, _ in read_run(run).history["loss_to_chance"]] == list(range(1, EPOCHS + 1))
    assert [x for x, _ in read_run(run).history["knn_top1"]] == [1, 3, 5]
