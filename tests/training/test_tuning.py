"""`tune`: its candidates, its plan, its parts of the pictures, what it chooses, and what it refuses."""

import dataclasses
import json
import math
import re
import threading
import types

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

import keras_leoclr as kl
from keras_leoclr import cli
from keras_leoclr.data.source import Source
from keras_leoclr.recipes import Recipe, fashion_mnist
from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.runs.results import Results
from keras_leoclr.training import studies, study_process, tuning, tuning_parts
from keras_leoclr.training.session import RunInProgressError
from keras_leoclr.training.study_checks import alone_in
from keras_leoclr.training.tuned import Candidate, Tuned, rank_correlation
from keras_leoclr.training.tuning_parts import can_be_judged_by_labels, parts_of
from keras_leoclr.training.tuning_plan import Plan, Timing, candidates, extended, planned, short

pytestmark = pytest.mark.backend_free
RECIPE = dataclasses.replace(fashion_mnist.RECIPE, max_images=400)


def words(text, kind=ValueError):
    return pytest.raises(kind, match=re.escape(text))


# === Candidates and plan ===


def test_the_recipe_comes_first_and_single_changes_before_double_ones():
    recipe = Recipe(learning_rate=0.03, crop_scale=(0.2, 1.0))
    pairs = [(c["learning_rate"], c["crop_scale"]) for c in candidates(recipe).values()]
    assert pairs[0] == (0.03, (0.2, 1.0)) and len(set(pairs)) == 9
    assert pairs[1:5] == [(0.01, (0.2, 1.0)), (0.03, (0.08, 1.0)), (0.03, (0.5, 1.0)), (0.09, (0.2, 1.0))]
    # 0.2 is close to 0.3, so that it is left out, and no crop is larger than the largest
    near = candidates(Recipe(crop_scale=(0.3, 0.4)))
    assert {c["crop_scale"] for c in near.values()} == {(0.3, 0.4), (0.08, 0.4)}
    own = candidates(recipe, (1.0,), (0.5,))
    assert list(own) == ["learning rate 0.03, crops from 20 %", "learning rate 1, crops from 50 %"]
    with words("`learning_rates` must be numbers > 0. Received: -1"):
        candidates(recipe, (0.1, -1))
    with words("`least_areas` must be shares of the area of a picture"):
        candidates(recipe, (), (1.5,))


def test_what_fits_is_planned():
    timing = Timing(epoch=10.0, besides=20.0)
    # 9 runs of 20 + 10 E seconds in 0.9 x 900 seconds: 90 each
    assert planned(timing, 900, steps=50, most=9, epochs=100) == Plan(9, 7, 9 * 90.0)
    assert planned(timing, 900, steps=50, most=9, epochs=3).epochs == 3  # never more than the recipe
    # 100 steps are the least: with 5 steps an epoch 20 epochs, 220 seconds a run
    assert planned(timing, 900, steps=5, most=9, epochs=100).count == 3
    # two runs at a time take twice as long each, but for what they do besides
    assert planned(timing, 900, 50, 9, 100, jobs=2) == Plan(9, 7, 5 * 160.0)
    with words("`minutes` must be enough for two candidates of 20 epochs, about 9 minutes"):
        planned(timing, 400, steps=5, most=9, epochs=100)


def test_short_runs_have_no_stale_keys():
    recipe = Recipe(queue_size=65536, momentum=0.999, epochs=200, warmup_epochs=10.0, batch_size=256)
    made = short(recipe, 20, 4000)
    assert (made.queue_size, made.momentum, made.epochs, made.warmup_epochs) == (1024, 0.99, 20, 1.0)
    assert not (made.knn_every or made.evaluate or made.online_probe or made.map_images)


# === Pictures ===


def folder_of(tmp_path, labels, **names):
    """A .npz file in which the first pixel of a picture is its number."""
    images = np.zeros((len(labels), 4, 4, 3), np.uint8)
    images[:, 0, 0, 0] = np.arange(len(labels))
    np.savez(tmp_path / "set.npz", image=images, **({} if labels[0] is None else {"label": labels}), **names)
    return Recipe(dataset=str(tmp_path / "set.npz"), image_size=4, batch_size=4)


def numbers(source):
    return {int(element["image"][0, 0, 0]) for element in source.as_numpy_iterator()}


def test_the_parts_share_no_picture_and_held_out_pictures_have_a_label(tmp_path):
    labels = np.where(np.arange(100) % 2, -1, np.arange(100) // 2 % 2)
    parts = parts_of(folder_of(tmp_path, labels))
    train, held = (numbers(parts.load(split)) for split in ("train", "held_out"))
    assert train | held == set(range(100)) and not train & held
    assert len(held) == 10 and all(number % 2 == 0 for number in held)  # a fifth of the 50 with a label
    assert can_be_judged_by_labels(parts)
    again = parts_of(folder_of(tmp_path, labels))
    assert numbers(again.load("held_out")) == held


def test_pictures_without_labels_are_held_out_too(tmp_path):
    parts = parts_of(folder_of(tmp_path, [None] * 50))
    assert {int(element["label"]) for element in parts.load("held_out").as_numpy_iterator()} == {-1}
    assert not parts.load("train").labelled and not can_be_judged_by_labels(parts)
    with words("`dataset` must hold 20 pictures or more, and their number must be known"):
        parts_of(folder_of(tmp_path, [None] * 19))


def test_labels_of_another_split_are_divided_there(tmp_path):
    images = {
        f"{split}_image": np.full((40, 4, 4, 3), n, np.uint8) for n, split in enumerate(("train", "extra"))
    }
    np.savez(tmp_path / "set.npz", **images, train_label=np.arange(40) % 2)
    recipe = Recipe(dataset=str(tmp_path / "set.npz"), train_split="extra", probe_split="train")
    parts = parts_of(recipe)
    counts = {split: parts.load(split).count for split in parts.splits}
    assert counts == {"train": 40, "labelled": 32, "held_out": 8} and can_be_judged_by_labels(parts)


@pytest.mark.parametrize("mixed", [True, False])
def test_a_stream_is_divided_in_order_only_if_its_order_is_random(monkeypatch, mixed):
    labels = np.repeat(np.arange(5), 200)
    images = np.zeros((1000, 2, 2, 3), np.uint8)
    stream = tf.data.Dataset.from_tensor_slices({"image": images, "label": labels})
    monkeypatch.setattr(tuning_parts, "open_split", lambda *_: Source(dataset=stream, mixed=mixed))
    parts = parts_of(Recipe(max_images=500))
    held, train = (np.bincount(parts.load(s).read_labels(), minlength=5) for s in ("held_out", "train"))
    assert held.sum() == 100 and train.sum() == 400
    assert (held > 0).all() == (train > 0).all() == can_be_judged_by_labels(parts) == (not mixed)


# === Choice ===


def result(values, judge="knn", **about):
    """`{(rate, area): (kNN, RankMe, sum)}`; None for a run that failed."""

    def measured(numbers):
        if numbers is None:
            return {}
        knn, rank, total = numbers
        found = {"quality/rankme": rank, "quality/alignment": 0.5, "quality/uniformity": total - 0.5}
        return found if knn is None else {"knn/top1": knn, "linear/top1": 1 - knn, **found}

    made = [
        Candidate(f"{rate} {area}", {"learning_rate": rate, "crop_scale": (area, 1.0)}, measured(numbers))
        for (rate, area), numbers in values.items()
    ]
    about = {"own": "0.1 0.2", **about}
    return Tuned(tuple(made), {}, judge, held_out=100, epochs=3, pictures=400, **about)


VALUES = {(0.1, 0.2): (0.50, 8.0, -1.0), (0.3, 0.2): (0.56, 9.0, -2.0), (0.1, 0.08): (0.40, 7.0, -3.0)}


def test_each_judge_chooses_its_best_and_says_how_sure_it_is():
    found = result(VALUES)
    assert found.fields == {"learning_rate": 0.3, "crop_scale": (0.2, 1.0)}
    assert found.flags == "--learning_rate 0.3 --crop_scale 0.2,1"
    margin = 1.96 * math.sqrt((0.5 * 0.5 + 0.56 * 0.44) / 100)
    why = found.why()
    assert "by kNN on 100 held-out training pictures: 56.0 %, with the settings of the recipe 50.0 %" in why
    assert f"a difference that is within chance (± {100 * margin:.1f})." in why
    without = (
        "RankMe -1.00 with linear and +1.00 with kNN, alignment + uniformity +0.50 with linear and -0.50"
    )
    assert without in found.agreement()
    assert result(VALUES, "linear").fields["crop_scale"] == (0.08, 1.0)
    assert result(VALUES, "rankme").fields["learning_rate"] == 0.3
    assert result(VALUES, "uniformity").fields["crop_scale"] == (0.08, 1.0)
    sure = result({(0.1, 0.2): (0.2, 8.0, -1.0), (0.3, 0.2): (0.6, 9.0, -2.0)})
    assert "beyond chance" in sure.why() and sure.agreement() == ""
    same = result({(0.1, 0.2): (0.6, 8.0, -1.0), (0.3, 0.2): (0.6, 9.0, -2.0)})
    assert "the settings of the recipe: no other candidate is better by kNN on 100 held-out" in same.why()


def test_a_correlation_with_equal_values_is_called_undefined():
    told = result({pair: (1.0, rank, total) for pair, (_, rank, total) in VALUES.items()}).agreement()
    assert "RankMe undefined with linear and undefined with kNN" in told and "nan" not in told
    assert told.endswith("It is undefined where all candidates have equal values.")


def test_a_run_that_failed_is_shown_and_not_chosen():
    found = result({(0.1, 0.2): None, **{k: v for k, v in VALUES.items() if k != (0.1, 0.2)}}, left=("x",))
    assert "the run with the settings of the recipe failed" in found.why()
    text = found.text()
    assert "Failed, and not compared: 0.1 0.2." in text and "There was no time for: x." in text
    assert text.endswith("\n\n--learning_rate 0.3 --crop_scale 0.2,1")
    json.dumps(found.as_json())


def test_that_the_settings_of_the_recipe_were_not_measured_is_said():
    found = result({k: v for k, v in VALUES.items() if k != (0.1, 0.2)}, left=("0.1 0.2",))
    assert found.best is found.candidates[0]
    assert found.why().endswith("56.0 %; the settings of the recipe were not measured.")


def test_ranks_are_spearmans():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 5, 12), rng.normal(size=12)
    expected = scipy.stats.spearmanr(first, second).statistic
    np.testing.assert_allclose(rank_correlation(first, second), expected, rtol=1e-9)
    assert math.isnan(rank_correlation([1, 1], [1, 2]))


# === A search ===


@pytest.fixture
def pretended(monkeypatch):
    """Runs that end at once; kNN is the learning rate, or they never end, or they fail, by their variant."""
    said = types.SimpleNamespace(started=[], failing=(), endless=(), now=0.0)

    class Process:
        def __init__(self, code):
            self.returncode = code

        def poll(self):
            return self.returncode

        wait = terminate = poll

    def start(run, workdir, jobs, suite, options):
        said.started.append(run.variant)
        assert run.held_out
        path = workdir / run.folder
        path.mkdir(exist_ok=True)
        (path / studies.LOG).write_text("the loss is not finite")
        results = Results(path / "results.jsonl")
        quality = {"quality/rankme": 5.0, "quality/alignment": 0.2, "quality/uniformity": -1.0}
        labelled = dict.fromkeys(("knn/top1", "linear/top1"), run.recipe.learning_rate)
        for name, value in {**labelled, **quality}.items():
            results.write(name, value, subject="pretrained", k=20)
        results.write(studies.EPOCH_SECONDS, 0.5)
        results.write("study/evaluated", 1.0, subject="pretrained", suite=list(suite))
        (path / "history.csv").write_text("epoch,loss_to_chance\n0,0.9\n")
        (path / "run.json").write_text("{}")
        return Process(None if run.variant in said.endless else int(run.variant in said.failing))

    def sleep(seconds):
        said.now += seconds

    clock = types.SimpleNamespace(monotonic=lambda: said.now, sleep=sleep)
    monkeypatch.setattr(studies, "time", clock)
    monkeypatch.setattr(tuning, "time", clock)
    monkeypatch.setattr(studies, "_start", start)
    return said


HOW = {"learning_rates": (0.1, 0.24, 0.5), "least_areas": (0.3,), "verbose": False}


def test_a_search_chooses_and_goes_on_and_knows_its_settings(tmp_path, pretended):
    found = tuning.tune(RECIPE, tmp_path, 5, **HOW)
    assert pretended.started[0] == "timing" and len(pretended.started) == 4
    assert (found.fields["learning_rate"], found.judge, found.held_out, found.pictures) == (
        0.5,
        "linear",
        80,
        320,
    )
    again = tuning.tune(RECIPE, tmp_path, 5, judge="rankme", **HOW)
    assert len(pretended.started) == 4 and again.judge == "rankme"
    assert again.candidates == found.candidates
    with words("`workdir` holds a search that began with other settings") as error:
        tuning.tune(dataclasses.replace(RECIPE, temperature=0.5), tmp_path, 5, **HOW)
    assert "temperature=0.5, was 0.2" in str(error.value)
    with words("candidates"):
        tuning.tune(RECIPE, tmp_path, 5, **{**HOW, "learning_rates": (0.1,)})
    with words("max_images=300, was 400"):
        tuning.tune(dataclasses.replace(RECIPE, max_images=300), tmp_path, 5, **HOW)


def test_more_time_extends_the_plan(tmp_path, pretended):
    assert len(tuning.tune(RECIPE, tmp_path, 5, **HOW).candidates) == 3
    plan = json.loads((tmp_path / "plan.json").read_text())
    (tmp_path / "plan.json").write_text(
        json.dumps({**plan, "count": 2, "timing": {"epoch": 1, "besides": 1}})
    )
    lines = Results(tmp_path / "results.jsonl")
    lines.replace([line for line in lines.read() if "rate 0.5" not in line.get("variant", "")])
    seconds = (plan["epochs"] + 1) / 0.9
    assert len(tuning.tune(RECIPE, tmp_path, (seconds - 1) / 60, **HOW).candidates) == 2
    found = tuning.tune(RECIPE, tmp_path, (seconds + 1) / 60, **HOW)
    assert len(found.candidates) == 3 and not found.left
    assert extended(Timing(1.0, 1.0), 100, count=4, complete=2, most=9, epochs=8, jobs=2) == 9
    assert extended(Timing(1.0, 1.0), 38, count=4, complete=2, most=9, epochs=8, jobs=2) == 6


def test_candidates_in_another_order_are_those_of_the_same_search(tmp_path, pretended):
    first = tuning.tune(RECIPE, tmp_path, 5, **HOW)
    plan = json.loads((tmp_path / "plan.json").read_text())
    (tmp_path / "plan.json").write_text(json.dumps({**plan, "count": 2}))
    started = len(pretended.started)
    lines = Results(tmp_path / "results.jsonl")
    lines.replace([line for line in lines.read() if "rate 0.5" not in line.get("variant", "")])
    again = tuning.tune(RECIPE, tmp_path, 0.001, **{**HOW, "learning_rates": (0.5, 0.1, 0.24)})
    assert again.candidates == first.candidates[:2] and len(pretended.started) == started
    assert again.left == (first.candidates[2].label,)


def test_a_search_that_was_stopped_before_it_had_a_plan_goes_on(tmp_path, pretended):
    first = tuning.tune(RECIPE, tmp_path, 5, **HOW)
    (tmp_path / "plan.json").unlink()
    assert tuning.tune(RECIPE, tmp_path, 5, **HOW).candidates == first.candidates
    assert pretended.started.count("timing") == 2


def test_candidates_of_an_earlier_search_are_not_those_of_a_new_plan(tmp_path, pretended):
    first = tuning.tune(RECIPE, tmp_path, 5, **HOW)
    plan = json.loads((tmp_path / "plan.json").read_text())
    (tmp_path / "plan.json").write_text(json.dumps({**plan, "epochs": plan["epochs"] - 1}))
    pretended.failing = (first.candidates[0].label,)
    found = tuning.tune(RECIPE, tmp_path, 5, **HOW)
    assert len(pretended.started) == 1 + 3 + 3 and found.epochs == first.epochs - 1
    assert [bool(each.values) for each in found.candidates] == [False, True, True]


@pytest.mark.parametrize("text", ["", "[1]", '{"recipe": 1}', '{"steps": ["buy milk"]}'])
def test_a_plan_that_is_damaged_or_something_else_is_named(tmp_path, pretended, text):
    (tmp_path / "plan.json").write_text(text)
    with words("`workdir` must hold the plan.json of a search, or none: without the file") as error:
        tuning.tune(RECIPE, tmp_path, 5, **HOW)
    assert f"Received: {tmp_path / 'plan.json'}, which is damaged" in str(error.value)


def test_a_folder_is_searched_by_one_process_at_a_time(tmp_path, pretended):
    with alone_in(RunFolder(tmp_path)):
        with words("`workdir` is in use by process", RunInProgressError) as error:
            tuning.tune(RECIPE, tmp_path, 5, **HOW)
        assert "for another study or search" in str(error.value) and not pretended.started


def test_a_search_that_is_refused_leaves_the_pictures_of_the_one_that_runs(tmp_path, pretended, monkeypatch):
    """The first one has no plan yet: it is between its arrays and its first run, which is measured."""

    def arrays(count):
        return {"image": np.full((count, 16, 16, 3), count, np.uint8), "label": np.arange(count) % 2}

    def parts(recipe):
        monkeypatch.setattr(tuning, "parts_of", parts_of)
        second = threading.Thread(target=refused)  # It stands for another process.
        second.start()
        second.join()
        return parts_of(recipe)

    def refused():
        with words("`workdir` is in use by process", RunInProgressError):
            kl.tune(arrays(60), tmp_path, 5, verbose=False)
        ended.append(True)

    ended = []
    monkeypatch.setattr(tuning, "parts_of", parts)
    found = kl.tune(arrays(40), tmp_path, 5, verbose=False)
    assert ended and found.pictures == 32
    with np.load(tmp_path / "pictures.npz") as written:
        assert len(written["image"]) == 40


def test_a_learning_rate_that_is_too_large_is_left_out(tmp_path, pretended):
    pretended.failing = ("learning rate 0.5, crops from 30 %",)
    found = tuning.tune(RECIPE, tmp_path, 5, **HOW)
    assert found.fields["learning_rate"] == 0.24
    assert "Failed, and not compared: learning rate 0.5" in found.text()
    pretended.failing = tuple(each.label for each in found.candidates)
    with words("3 of 3 runs failed", studies.FailedRunsError):
        (tmp_path / "results.jsonl").unlink()
        tuning.tune(RECIPE, tmp_path, 5, **HOW)


def test_the_time_ends_a_search(tmp_path, pretended):
    pretended.endless = ("learning rate 0.5, crops from 30 %",)
    found = tuning.tune(RECIPE, tmp_path, 5, **HOW)
    assert found.left == pretended.endless and len(found.candidates) == 2
    pretended.endless = ("timing",)
    with words("`minutes` are over before the first run, of 2 epochs, was complete", TimeoutError):
        tuning.tune(RECIPE, tmp_path / "b", 5, **HOW)
    pretended.endless = ("learning rate 0.24, crops from 30 %", "learning rate 0.1, crops from 30 %")
    with words("`minutes` are over before two candidates could be compared", TimeoutError):
        tuning.tune(RECIPE, tmp_path / "c", 5, **HOW)


def test_without_labels_alignment_and_uniformity_judge(tmp_path, pretended):
    unlabelled = folder_of(tmp_path, [None] * 50)
    found = tuning.tune(
        unlabelled, tmp_path / "a", 5, learning_rates=(0.1,), least_areas=(0.2,), verbose=False
    )
    assert found.judge == "uniformity" and pretended.started[0] == "timing"


def test_what_cannot_be_searched_is_refused(tmp_path, pretended, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    unlabelled = folder_of(tmp_path, [None] * 50)
    with words("`judge` knn needs pictures of two classes or more with labels"):
        tuning.tune(unlabelled, "a", 5, judge="knn", verbose=False)
    with words("`judge` must be auto or one of linear, knn, rankme, uniformity. Received: judge='loss'"):
        tuning.tune(RECIPE, "a", 5, judge="loss")
    with words("`minutes` must be a finite number > 0. Received: minutes=0"):
        tuning.tune(RECIPE, "a", 0)
    with words("`data` of `tune` must be a name, a path, a list of paths or a dictionary of arrays"):
        kl.tune(kl.data.load("fashion_mnist", "train[:50]"), "a", 5)
    with words("`learning_rat` is not a field of `Recipe`, nor an argument of `tune`"):
        kl.tune("fashion_mnist", "a", 5, learning_rat=1)
    with words("`preset` must be one of full, smoke"):
        kl.tune("fashion_mnist", "a", 5, recipe="fashion_mnist", preset="tiny")
    arrays = {"image": np.zeros((40, 16, 16, 3), np.uint8), "label": np.arange(40) % 2}
    for wrong in ({"preset": "tiny"}, {"minutes": 0}, {"judge": "loss"}, {"epochs": -1}):
        with pytest.raises(ValueError, match=f"`{next(iter(wrong))}` must be"):
            kl.tune(arrays, tmp_path / "a", **{"minutes": 5, **wrong})
    for arguments, told in (
        ([], "`tune` needs a recipe. Known: "),
        (["fashion"], "Did you mean fashion_mnist?"),
        (["fashion_mnist", "--workdir", "a"], "`--minutes` must name a number > 0"),
        (["fashion_mnist", "--workdir", "a", "--minutes", "1", "--judge", "loss"], "should be one of"),
        (["fashion_mnist", "--workdir", "a", "--minutes", "-1"], "`--minutes` must be a finite number > 0"),
        (["fashion_mnist", "--workdir", "a", "--minutes", "inf"], "number > 0. Received: minutes=inf"),
    ):
        assert cli.main(["leoclr", "tune", *arguments]) == 2
        assert told in capsys.readouterr().err
    assert not (tmp_path / "a").exists() and not pretended.started


def test_arrays_are_searched_from_python_and_a_folder_from_the_command_line(tmp_path, pretended, capsys):
    images = np.random.default_rng(0).integers(0, 256, (60, 16, 16, 3), dtype=np.uint8)
    found = kl.tune({"image": images, "label": np.arange(60) % 3}, tmp_path / "a", 5, verbose=False)
    assert found.fields["learning_rate"] == 0.09 and (tmp_path / "a" / "pictures.npz").is_file()
    before = (tmp_path / "a" / "pictures.npz").read_bytes()
    (tmp_path / "c").mkdir()  # Pictures without a plan are of a search that was refused.
    np.savez(tmp_path / "c" / "pictures.npz", image=images[:1])
    assert kl.tune({"image": images, "label": np.arange(60) % 3}, tmp_path / "c", 5, verbose=False)
    with words("`workdir` holds a search with other arrays; another folder starts a new one"):
        kl.tune({"image": images[:50], "label": np.arange(50) % 3}, tmp_path / "a", 5, verbose=False)
    assert (tmp_path / "a" / "pictures.npz").read_bytes() == before
    capsys.readouterr()
    command = [
        "tune",
        "image_folder",
        "--dataset",
        tmp_path / "a" / "pictures.npz",
        "--workdir",
        tmp_path / "b",
    ]
    assert cli.main(["leoclr", *map(str, command), "--minutes", "5"]) == 0
    printed = capsys.readouterr().out
    assert "Planned: 9 of 9 candidates" in printed and printed.rstrip().endswith("--crop_scale 0.2,1")
    assert (tmp_path / "b" / "table.md").read_text().startswith("| learning rate | crops from | kNN |")
    assert cli.main(["leoclr", *map(str, command), "--minutes", "5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["fields"] == {"learning_rate": 0.09, "crop_scale": [0.2, 1.0]}


def test_a_run_is_trained_and_judged_on_its_parts(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "set.npz", image=images)
    small = Recipe(
        dataset=str(tmp_path / "set.npz"),
        image_size=8,
        backbone="resnet_small",
        widths=(8, 16),
        batch_size=16,
        queue_size=32,
        compile_views=False,
        precision="float32",
        epochs=2,
    )
    work, suite = str(tmp_path / "run"), tuning.SUITES[False]
    task = studies.StudyTask(short(small, 2, 32), work, suite, tuning.OPTIONS, False, held_out=True)
    study_process.perform(studies.StudyTask.from_json(json.dumps(dataclasses.asdict(task))))
    lines = {line["name"]: line for line in RunFolder(work).results.read()}
    rank = lines["quality/rankme"]
    assert (rank["train_split"], rank["test_split"], rank["images"]) == ("labelled", "held_out", 8)
    assert lines[studies.EPOCH_SECONDS]["value"] > 0


@pytest.mark.slow
def test_a_search_with_real_processes(tmp_path, capsys):
    small = ["--preset", "smoke", "--max_images", 100, "--widths", "8,16", "--learning_rates", "0.1,0.24"]
    command = ["tune", "fashion_mnist", "--workdir", tmp_path, "--minutes", 5, "--least_areas", "0.3", *small]
    assert cli.main(["leoclr", *map(str, command)]) == 0
    printed = capsys.readouterr().out
    assert "a linear classifier on 20 held-out training pictures" in printed and "random weights" in printed
