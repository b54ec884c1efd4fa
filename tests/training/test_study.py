"""Ablations: their variants, and how they are run and collected."""

import dataclasses
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import types
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from keras_leoclr import cli
from keras_leoclr.commands import ablate
from keras_leoclr.evaluation.suite_options import SuiteOptions
from keras_leoclr.recipes import Recipe, fashion_mnist
from keras_leoclr.report import studies
from keras_leoclr.runs.results import Results
from keras_leoclr.training import ablations, study_checks, study_process
from keras_leoclr.training import studies as study
from keras_leoclr.training.fields import setting
from keras_leoclr.training.run_data import RunData
from keras_leoclr.training.session import RunSession
from keras_leoclr.training.sources import open_split
from tests.report.study_lines import lines_of

pytestmark = pytest.mark.backend_free

ROOT = pathlib.Path(__file__).parents[2]
RECIPE = dataclasses.replace(fashion_mnist.RECIPE, epochs=10)


def run(*arguments):
    return cli.main(["leoclr", *map(str, arguments)])


# === Variants ===


@pytest.mark.parametrize("recipe", [RECIPE, Recipe(dataset="tfds:imagenet2012")], ids=["small", "imagenet"])
@pytest.mark.parametrize("name", ablations.ABLATIONS)
def test_every_variant_is_a_recipe_of_its_own(name, recipe):
    runs = study.runs_of(recipe, ablations.of(name, recipe), [3])
    assert len(runs) >= 2
    assert len({r.key for r in runs}) == len({r.folder for r in runs}) == len(runs)
    assert [r.place for r in runs] == list(range(len(runs)))
    assert all(r.recipe.seed == 3 and not r.recipe.evaluate for r in runs)
    if not any("method" in changes for changes in ablations.of(name, recipe).values()):
        assert runs[0].recipe == dataclasses.replace(
            recipe, seed=3, evaluate=False, map_images=0, precision="float32"
        )


def test_equal_compute_counts_forward_passes():
    # a query forward and backward costs three forward passes, each key view one
    labels = list(ablations.of("method", RECIPE))
    assert labels[:3] == ["MoCo v2, 10 epochs", "LeOCLR, 10 epochs", "LeOCLR, equal compute, 8 epochs"]
    more = dataclasses.replace(RECIPE, num_crops=5)
    assert list(ablations.of("method", more).values())[2]["epochs"] == 5


def test_variants_with_each_method():
    variants = ablations.of("momentum", RECIPE, ("leoclr", "moco_v2"))
    assert list(variants)[:2] == ["LeOCLR, 0.99", "MoCo v2, 0.99"]
    assert variants["MoCo v2, 0.999"] == {"method": "moco_v2", "momentum": 0.999}
    with pytest.raises(ValueError, match="`methods` must be left out: framework chooses them"):
        ablations.of("framework", RECIPE, ("leoclr",))


def test_factors_are_changed_one_at_a_time_and_of_both_methods():
    variants = ablations.of("factors", RECIPE)
    both = [label.partition(", ")[2] for label, c in variants.items() if c["method"] == "moco_v2"]
    assert all(f"LeOCLR, {label}" in variants for label in both) and len(both) == 10
    assert variants["MoCo v2, a quarter of the queue"]["queue_size"] == RECIPE.queue_size // 4
    images = variants["LeOCLR, first quarter of the images, as many steps"]
    assert images["epochs"] == 4 * RECIPE.epochs and images["train_split"] == "train[:25%]"
    assert images["probe_split"] == "train"  # classifiers are fitted to all images
    # what the recipe has anyway is no change
    slow = ablations.of("factors", dataclasses.replace(RECIPE, momentum=0.999))
    assert "LeOCLR, momentum 0.9" in slow and "LeOCLR, momentum 0.999" not in slow
    part = dataclasses.replace(RECIPE, train_split="train[:50%]")
    with pytest.raises(ValueError, match=r"`train_split` must be a whole split.*train\[:50%\]"):
        ablations.of("data_size", part)


def test_a_change_that_the_recipe_has_anyway_is_no_variant():
    sharp = dataclasses.replace(RECIPE, blur_probability=0.0, antialias_original=True)
    grey = dataclasses.replace(sharp, grayscale_probability=0.2)
    labels = ["all", "no colour jitter", "no greyscale", "crop and flip only"]
    assert list(ablations.of("augmentation", grey)) == labels
    assert list(ablations.of("augmentation", sharp)) == labels[:2]
    assert "LeOCLR, no blur" not in ablations.of("augmentation", sharp, ("leoclr", "moco_v2"))
    factors = ablations.of("factors", sharp)
    assert "LeOCLR, antialiased original" not in factors and "LeOCLR, clean original" in factors


def test_the_main_cells_of_the_map_have_crop_to_original_as_well():
    variants = ablations.of("scenes", dataclasses.replace(RECIPE, dataset="fashion_scenes"))
    turned = [label for label, changes in variants.items() if changes["method"] == "crop_to_original"]
    assert turned == [f"crop to original, {cell}" for cell in ablations.MAIN_SCENES]
    assert len(variants) == 3 * len(ablations.SCENES) + len(turned)


def test_the_place_of_the_data_does_not_tell_runs_apart():
    here, there, other = (
        study.StudyRun("a", dataclasses.replace(RECIPE, dataset=dataset, data_dir=data_dir), 0).key
        for dataset, data_dir in (("/here/set", None), ("/there/set", "/data"), ("/here/other", None))
    )
    assert here == there != other


def test_settings_of_later_versions_count_only_where_they_differ_from_their_default(monkeypatch):
    @dataclasses.dataclass(frozen=True)
    class Later(Recipe):
        taught: str = setting("no", "a setting that a later version brings", group="model", since="9.0.0")

    before = study.StudyRun("a", RECIPE, 0).key
    monkeypatch.setattr(study, "Recipe", Later)
    same, other = (Later(**dataclasses.asdict(RECIPE), taught=taught) for taught in ("no", "yes"))
    assert study.StudyRun("a", same, 0).key == before != study.StudyRun("a", other, 0).key


# === Running ===


def pretend(monkeypatch, code):
    """Runs are processes with this code instead; `folder` and `SUITE` are theirs."""

    def start(run, workdir, jobs, suite, options):
        folder = workdir / run.folder
        folder.mkdir(exist_ok=True)
        about = f"""import pathlib, sys
from keras_leoclr.runs.results import Results
folder, seed, SUITE = pathlib.Path({str(folder)!r}), {run.recipe.seed}, {list(suite)}
"""
        with (folder / study.LOG).open("a") as log:
            return subprocess.Popen([sys.executable, "-c", about + code], stdout=log, stderr=log)

    monkeypatch.setattr(study, "_start", start)


WRITES = """
results = Results(folder / "results.jsonl")
results.write("knn/top1", (5 + seed) / 10, subject="pretrained", k=20)
results.write("finetune/top1", 0.4, subject="pretrained", fraction=0.01, crop_scale=[0.08, 1.0])
for scale in (0.2, 0.6):
    results.write("retrieval/recall@1", scale / 2, subject="pretrained", crop_scale=scale)
for change, value in (("contrast", 0.3), ("jpeg", 0.4)):
    results.write("robustness/linear/mean", value, subject="pretrained", change=change)
results.write("study/evaluated", 1.0, subject="pretrained", suite=SUITE)
(folder / "history.csv").write_text("epoch,knn_top1,loss_to_chance" + chr(10) + "0,0.4,0.9" + chr(10))
(folder / "run.json").write_text('{"environment": {"backend": "tensorflow"}}')
"""
VARIANTS = {"one": {}, "two": {"temperature": 0.1}}


def test_runs_that_are_collected_are_not_run_again(tmp_path, monkeypatch):
    pretend(monkeypatch, WRITES)
    results = study.study("temperature", RECIPE, VARIANTS, tmp_path, (0, 1), jobs=2, command="leoclr x")
    first = results.read()
    assert {(line["variant"], line["seed"]) for line in first} == {(v, s) for v in VARIANTS for s in (0, 1)}
    assert {line["command"] for line in first if line["name"] == "study/run"} == {"leoclr x"}
    curve = next(line for line in first if line["name"] == "curve/knn_top1")
    assert (curve["epochs"], curve["value"]) == ([[1, 0.4]], 0.4)
    pretend(monkeypatch, "sys.exit('must not be started')")
    assert study.study("temperature", RECIPE, VARIANTS, tmp_path, (0, 1)).read() == first
    pretend(monkeypatch, WRITES)
    more = study.study("temperature", RECIPE, VARIANTS, tmp_path, (0, 1, 2)).read()
    assert more[: len(first)] == first and {line["seed"] for line in more[len(first) :]} == {2}


def test_a_study_without_evaluations_trains_its_runs(tmp_path, monkeypatch):
    pretend(monkeypatch, WRITES)
    results = study.study("temperature", RECIPE, VARIANTS, tmp_path, (0,), suite=())
    assert {run["variant"] for run in studies.read(results)["temperature"].runs} == {*VARIANTS}
    pretend(monkeypatch, "sys.exit('must not be started')")
    study.study("temperature", RECIPE, VARIANTS, tmp_path, (0,), suite=())


def test_a_part_of_the_variants_is_run_and_keeps_its_place(tmp_path, monkeypatch):
    pretend(monkeypatch, WRITES)
    results = study.study("temperature", RECIPE, VARIANTS, tmp_path, (0,), only="tw")
    assert [(r["variant"], r["place"]) for r in results.read() if r["name"] == "study/run"] == [("two", 1)]


def test_variants_that_differ_in_more_than_they_change_are_told(tmp_path, monkeypatch):
    pretend(monkeypatch, WRITES)
    variants = {"one": {}, "two": {"temperature": 0.1}, "three": {"temperature": 0.5, "num_crops": 1}}
    for epochs, only in ((10, "one"), (20, "t"), (10, "")):
        recipe = dataclasses.replace(RECIPE, epochs=epochs)
        results = study.study("temperature", recipe, variants, tmp_path, (0,), only=only)
        said = studies.text(studies.read(results)["temperature"]).splitlines()[-1]
        besides = "Besides what they change, the variants were trained with different settings: "
        told = {"t": f"{besides}epochs 10 in one, 20 in two and three."}
        assert said == told.get(only, said) and (besides in said) == (only == "t")


def test_a_run_that_was_collected_in_part_is_collected_again(tmp_path, monkeypatch):
    pretend(monkeypatch, WRITES)
    results = study.study("temperature", RECIPE, VARIANTS, tmp_path, (0,))
    whole = results.path.read_text().splitlines(keepends=True)
    last = json.loads(whole[-1])["variant"]
    results.path.write_text("".join(whole[:-1]))  # killed before the last line of the last run
    study.study("temperature", RECIPE, VARIANTS, tmp_path, (0,))
    runs = [line["variant"] for line in results.read() if line["name"] == "study/run"]
    assert sorted(runs) == ["one", "two"] and runs[-1] == last
    found = studies.read(results)["temperature"]
    assert found.curves[last]["knn_top1"][0] == {1: 0.4}


def test_more_evaluations_are_added_to_runs_that_are_there(tmp_path, monkeypatch):
    pretend(monkeypatch, WRITES)
    results = study.study("temperature", RECIPE, VARIANTS, tmp_path, (0,), suite=("knn",), command="leoclr x")
    assert studies.read(results)["temperature"].runs[0]["suite"] == ["knn"]
    first = results.read()
    added = """
results = Results(folder / "results.jsonl")
results.write("linear/top1", 0.6, subject="pretrained")
results.write("study/evaluated", 1.0, subject="pretrained", suite=["linear"])
"""
    pretend(monkeypatch, added)
    study.study("temperature", RECIPE, VARIANTS, tmp_path, (0,), suite=("knn", "linear"), command="leoclr y")
    more = results.read()[len(first) :]
    assert {line["name"] for line in more} == {"linear/top1", "study/run"}  # nothing stands there twice
    found = studies.read(results)["temperature"]
    assert found.values["one"]["knn/top1"] == {0: 0.5} and found.values["one"]["linear/top1"] == {0: 0.6}
    assert [line["suite"] for line in found.runs] == [["knn", "linear"]] * 2
    assert found.commands == ["leoclr x", "leoclr y"]
    pretend(monkeypatch, "sys.exit('must not be started')")
    study.study("temperature", RECIPE, VARIANTS, tmp_path, (0,), suite=("linear",))


def test_another_share_of_the_labels_is_another_measure(tmp_path, monkeypatch):
    pretend(monkeypatch, WRITES.replace("suite=SUITE", 'suite=["finetune"]'))
    study.study("temperature", RECIPE, VARIANTS, tmp_path, (0,), suite=("finetune",))
    added = """
results = Results(folder / "results.jsonl")
results.write("finetune/top1", 0.7, subject="pretrained", fraction=0.1, crop_scale=[0.08, 1.0])
results.write("study/evaluated", 1.0, subject="pretrained", suite=["finetune fraction 0.1"])
"""
    pretend(monkeypatch, added)
    options = SuiteOptions(fraction=0.1)
    results = study.study(
        "temperature", RECIPE, VARIANTS, tmp_path, (0,), suite=("finetune",), options=options
    )
    found = studies.read(results)["temperature"]
    assert found.values["one"]["finetune/top1"] == {0: 0.4}
    assert found.values["one"]["finetune/top1 fraction 0.1"] == {0: 0.7}
    assert "| fine-tuned, few labels | fine-tuned, 10 % of the labels |" in studies.markdown(found)
    assert "fine-tuned, 10 % of the labels, %" in studies.picture(found, ["finetune/top1 fraction 0.1"])
    pretend(monkeypatch, "sys.exit('must not be started')")
    study.study("temperature", RECIPE, VARIANTS, tmp_path, (0,), suite=("finetune",), options=options)
    study.study("temperature", RECIPE, VARIANTS, tmp_path, (0,), suite=("finetune",))


def test_a_process_evaluates_only_the_shares_of_the_labels_that_are_missing(tmp_path, monkeypatch):
    judged = []

    class Judged:
        def __init__(self, *_, **__):
            pass

        def suite(self, options, **_):
            return types.SimpleNamespace(run=lambda names: judged.append((options.fraction, names)))

    for name, fake in (("pretrain", lambda *_, **__: None), ("RunEvaluation", Judged)):
        monkeypatch.setattr(study_process, name, fake)
    monkeypatch.setattr(study_process.model_card, "write", lambda *_: None)
    for fraction in (0.01, 0.1, 0.1):
        options = SuiteOptions(fraction=fraction)
        study_process.perform(study.StudyTask(RECIPE, str(tmp_path), ("knn", "finetune"), options, False))
    assert judged == [(0.01, ["knn", "finetune"]), (0.1, ["finetune"])]


def test_what_was_measured_by_hand_in_the_folder_of_a_run_is_no_result_of_its_study(tmp_path, monkeypatch):
    pretend(monkeypatch, WRITES)
    results = study.study("temperature", RECIPE, {"one": {}}, tmp_path, (0,), suite=("knn", "finetune"))
    by_hand = Results(tmp_path / "one-seed0" / "results.jsonl")
    by_hand.write("knn/top1", 0.91, subject="pretrained", k=20, dataset="others", test_split="test")
    by_hand.write("knn/top1", 0.92, subject="raw pixels", k=20)
    by_hand.write("finetune/top1", 0.93, subject="pretrained", fraction=0.05)
    added = """
results = Results(folder / "results.jsonl")
for fraction in (0.01, 0.1):
    results.write("finetune/top1", 0.4 + fraction, subject="pretrained", fraction=fraction)
results.write("linear_sgd/top1", 0.6, subject="pretrained")
passed = ["linear_paper", "finetune fraction 0.1"]
results.write("study/evaluated", 1.0, subject="pretrained", suite=passed)
"""
    pretend(monkeypatch, added)
    more, options = ("linear_paper", "finetune"), SuiteOptions(fraction=0.1)
    study.study("temperature", RECIPE, {"one": {}}, tmp_path, (0,), suite=more, options=options)
    found = studies.read(results)["temperature"]
    assert found.values == {
        "one": {
            "knn/top1": {0: 0.5},
            "finetune/top1": {0: 0.4},
            "finetune/top1 fraction 0.1": {0: 0.5},
            "linear_sgd/top1": {0: 0.6},
        }
    }
    assert "| linear, SGD on crops |" in studies.markdown(found)


def test_the_mean_over_the_changes_of_the_images_is_shown(tmp_path, monkeypatch):
    pretend(monkeypatch, WRITES)
    suite = ("knn", "robustness", "finetune", "retrieval")
    results = study.study("temperature", RECIPE, VARIANTS, tmp_path, (0, 1), suite=suite)
    found = studies.read(results)["temperature"]
    assert found.changed["one"] == {"contrast": {0: 0.3, 1: 0.3}, "jpeg": {0: 0.4, 1: 0.4}}
    assert found.values["one"][studies.CHANGED] == {0: pytest.approx(0.35), 1: pytest.approx(0.35)}
    assert "linear, changed images" in studies.markdown(found) and "35.0" in studies.markdown(found)
    assert found.values["one"]["finetune/top1"] == {0: 0.4, 1: 0.4}
    assert found.values["one"]["retrieval/recall@1"] == {0: 0.3, 1: 0.3}  # of one scale of the crops


def test_studies_that_share_a_folder_do_not_take_each_others_runs(tmp_path, monkeypatch):
    pretend(monkeypatch, WRITES)
    study.study("temperature", RECIPE, {"0.2": {}}, tmp_path, (0,))
    results = study.study("momentum", RECIPE, {"0.99": {}}, tmp_path, (0,))
    found = studies.read(results)
    assert list(found["temperature"].values) == ["0.2"] and list(found["momentum"].values) == ["0.99"]


def test_one_failed_run_does_not_stop_the_others(tmp_path, monkeypatch, capsys):
    pretend(monkeypatch, WRITES + "sys.exit('out of luck') if 'two' in folder.name else None")
    with pytest.raises(
        ChildProcessError, match="(?s)1 of 2 runs failed; the same command tries again.*out of luck"
    ):
        study.study("temperature", RECIPE, VARIANTS, tmp_path, (0,))
    assert {line["variant"] for line in Results(tmp_path / "results.jsonl").read()} == {"one"}
    assert "two, seed 0: failed with status 1" in capsys.readouterr().out


def test_sigterm_ends_the_processes_of_the_runs_as_well(tmp_path, monkeypatch):
    pretend(monkeypatch, "import time; (folder / 'begun').touch(); time.sleep(60)")
    started, start = [], study._start
    monkeypatch.setattr(study, "_start", lambda *arguments: started.append(start(*arguments)) or started[-1])

    def update(self, folders):
        if all((folder / "begun").exists() for folder in folders):
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(study.StudyProgress, "update", update)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        study.study("temperature", RECIPE, VARIANTS, tmp_path, (0,), jobs=2)
    assert ended.value.code == 128 + signal.SIGTERM and signal.getsignal(signal.SIGTERM) is before
    assert [process.returncode for process in started] == [-signal.SIGTERM] * 2


@pytest.mark.slow
def test_a_study_from_the_command_line(tmp_path, capsys):
    small = ["--preset", "smoke", "--max_images", 64, "--knn_bank", 40, "--knn_queries", 20, "--epochs", 1]
    command = [
        "ablate",
        "enqueue",
        "--workdir",
        tmp_path,
        "--seeds",
        0,
        "--jobs",
        2,
        "--suite",
        "knn",
        *small,
    ]
    assert run(*command) == 0
    printed = capsys.readouterr().out
    assert "2/2" in printed and "kNN among training images" in printed
    found = studies.read(Results(tmp_path / "results.jsonl"))["enqueue"]
    assert list(found.values) == ["both", "first", studies.RANDOM]
    assert set(found.curves["first"]) == {"knn_top1", "loss_to_chance"}
    assert found.runs[0]["command"].startswith("leoclr ablate enqueue --workdir")
    assert "--jobs" not in found.runs[0]["command"]
    assert (tmp_path / "table.md").read_text().startswith("| variant | seeds |")
    ET.parse(tmp_path / "table.svg")
    assert run("ablate", "enqueue", "--workdir", tmp_path, "--show") == 0
    assert not (tmp_path / "leads.svg").exists()  # There is nothing of MoCo v2 in it.


def test_a_range_that_is_asked_for_is_measured_once_for_all_runs(tmp_path, monkeypatch, capsys):
    values = np.linspace(-3, 5, 40 * 16 * 16 * 3, dtype="float32").reshape(40, 16, 16, 3)
    arrays = {
        f"{split}_{name}": array
        for split in ("train", "test")
        for name, array in (("image", values), ("label", np.arange(40) % 2))
    }
    np.savez(tmp_path / "set.npz", **arrays)
    pretend(monkeypatch, WRITES)
    place = ["--dataset", tmp_path / "set.npz", "--workdir", tmp_path / "study", "--value_range", "auto"]
    assert run("ablate", "enqueue", *place, "--seeds", 0, "--image_size", 16) == 0
    assert "value_range -3,5: the least and the greatest value" in capsys.readouterr().out
    runs = studies.read(Results(tmp_path / "study" / "results.jsonl"))["enqueue"].runs
    assert [line["recipe"]["value_range"] for line in runs] == [[-3, 5]] * 2


def test_the_table_is_written_although_a_run_has_failed(tmp_path, monkeypatch, capsys):
    pretend(monkeypatch, WRITES + "sys.exit('out of luck') if 'first' in folder.name else None")
    monkeypatch.setattr(study, "check_data", lambda *_: None)
    assert run("ablate", "enqueue", "--workdir", tmp_path, "--seeds", 0) == 1
    printed = capsys.readouterr()
    assert "both" in printed.out.splitlines()[-1] and "1 of 2 runs failed" in printed.err
    assert (tmp_path / "table.md").read_text().splitlines()[-1].startswith("| both | 1 | 50.0 |")
    pretend(monkeypatch, "sys.exit('out of luck')")
    assert run("ablate", "momentum", "--workdir", tmp_path, "--seeds", 0) == 1
    assert "4 of 4 runs failed" in capsys.readouterr().err


def test_what_a_study_cannot_judge_is_refused_before_it_trains(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(study, "_start", None)  # A training would fail.
    arrays = {"train_image": np.zeros((40, 16, 16, 3), np.uint8), "train_label": np.arange(40) % 2}
    np.savez(tmp_path / "no_test.npz", **arrays)
    np.savez(tmp_path / "no_label.npz", image=arrays["train_image"])
    halves = ["--train_split", "train[:50%]", "--test_split", "train[50%:]"]
    for data, more, told in (
        ("no_test", [], "`--test_split` must name pictures that the runs are judged by"),
        ("no_label", halves, "`--dataset` must have labels, which knn, linear, few of `--suite` need"),
    ):
        place = ["--dataset", tmp_path / f"{data}.npz", "--workdir", tmp_path / "study", "--image_size", 16]
        assert run("ablate", "enqueue", *place, *more) != 0
        assert told in capsys.readouterr().err
    recipe = dataclasses.replace(RECIPE, dataset=str(tmp_path / "no_label.npz"), test_split="train")
    assert study_checks.check_data([recipe], ["embedding", "retrieval"]) is None


def test_pictures_that_have_changed_since_a_run_of_the_study_are_refused(tmp_path, monkeypatch, capsys):
    def pictures(path, count):
        arrays = {"train_image": np.zeros((count, 16, 16, 3), np.uint8), "train_label": np.arange(count) % 2}
        arrays |= {name.replace("train", "test"): array for name, array in arrays.items()}
        path.parent.mkdir(exist_ok=True)
        np.savez(path, **arrays)
        return str(path)

    recipe = dataclasses.replace(RECIPE, dataset=pictures(tmp_path / "a" / "set.npz", 40), image_size=16)
    pretend(monkeypatch, WRITES)
    study.study("temperature", recipe, {"one": {}}, tmp_path / "w", (0,))
    noted = RunData({"train": open_split(recipe, "train")}, recipe.dataset).record
    (tmp_path / "w" / "one-seed0" / "run.json").write_text(json.dumps({"data": noted.about}))
    study.study("temperature", recipe, VARIANTS, tmp_path / "w", (0,))
    other = dataclasses.replace(recipe, dataset=pictures(tmp_path / "b" / "set.npz", 42))
    monkeypatch.setattr(study, "_start", None)  # A training would fail.
    for seeds in (0,), (0, 1):
        with pytest.raises(ValueError, match="(?s)`dataset` must hold the pictures that the runs in") as told:
            study.study("temperature", other, VARIANTS, tmp_path / "w", seeds)
        assert "Received: dataset=" in str(told.value) and "one-seed0 was trained" in str(told.value)
        assert str(told.value).endswith("train: other pixels or labels; 40 images before, 42 now")
    gone = dataclasses.replace(recipe, dataset=str(tmp_path / "c" / "set.npz"))
    assert study.study("temperature", gone, VARIANTS, tmp_path / "w", (0,)).read()


def test_trained_runs_with_other_settings_are_refused_before_any_other_runs(tmp_path, monkeypatch):
    pretend(monkeypatch, WRITES)
    (run,) = study.runs_of(RECIPE, {"one": {}}, (0,))
    (tmp_path / run.folder).mkdir()
    settings = dataclasses.asdict(run.recipe) | {"dataset": "/moved", "mean": (0.5,) * 3}
    (tmp_path / run.folder / "recipe.json").write_text(json.dumps(settings))
    longer = dataclasses.replace(RECIPE, epochs=12, mean="auto")
    study.study("temperature", longer, {"one": {}}, tmp_path, (0,))  # Nothing was trained there yet.
    (tmp_path / run.folder / "run.json").write_text('{"finished": true}')
    study.study("temperature", longer, {"one": {}}, tmp_path, (0,))  # It is complete.
    monkeypatch.setattr(study, "_start", None)  # A training would fail.
    longest = dataclasses.replace(longer, epochs=14)
    with pytest.raises(ValueError, match="`workdir` must not hold trained runs of the same names") as told:
        study.study("temperature", longest, VARIANTS, tmp_path, (0, 1))
    assert str(told.value).endswith("with one-seed0 (epochs 10, now 14)")


@pytest.mark.parametrize("labels", [("Größe 8", "Gräße 8"), ("学习", "训练"), ("shift +1", "shift -1")])
def test_labels_that_name_the_same_folder_are_refused(tmp_path, labels):
    words = f"must have labels that differ in the letters a to z, .*Received: {labels[0]!r} and {labels[1]!r}"
    with pytest.raises(ValueError, match=words.replace("+", r"\+")):
        study.study("sizes", RECIPE, {label: {} for label in labels}, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_names_of_data_are_told_apart_and_places_are_not():
    def key(dataset):
        return study.StudyRun("a", dataclasses.replace(RECIPE, dataset=dataset), 0).key

    assert key("/here/set.npz") == key("set.npz") and key("/a/x,/b/y") == key("/c/x,y")
    for one, other in (
        ("tfds:mnist/3.0.1", "tfds:fashion_mnist/3.0.1"),
        ("tfds:voc/2007", "tfds:coco/2007"),
        ("/data/a,/data/b", "/data/c,/data/b"),
        ("a/*/*.jpg", "b/*/*.jpg"),
    ):
        assert key(one) != key(other)


def test_epochs_without_a_measurement_are_left_out_of_the_curve(tmp_path, monkeypatch):
    pretend(monkeypatch, WRITES.replace('"0,0.4,0.9"', '"0,0.4,0.9" + chr(10) + "1,NA,0.8"'))
    (line,) = (
        line
        for line in study.study("temperature", RECIPE, {"one": {}}, tmp_path, (0, 0), jobs=2).read()
        if line["name"] == "curve/knn_top1"
    )
    assert line["epochs"] == [[1, 0.4]]


def test_a_damaged_line_is_left_out_and_harms_no_other(tmp_path, monkeypatch, capsys):
    pretend(monkeypatch, WRITES)
    results = study.study("temperature", RECIPE, {"one": {}}, tmp_path, (0,))
    whole = results.read()
    results.path.write_text(results.path.read_text() + '{"name": "linear/top1", "val')  # a full disk
    results.write("linear/top1", 0.5)
    with pytest.raises(ValueError, match=f"results.jsonl, line {len(whole) + 1}, is not a result"):
        results.read()
    assert len(results.read(damaged := [])) == len(whole) + 1 and damaged == [len(whole) + 1]
    study.study("temperature", RECIPE, {"one": {}}, tmp_path, (0,))
    assert "cannot be read and are left out" in capsys.readouterr().out
    assert studies.read(results)["temperature"].runs


def test_a_process_of_a_study_does_not_get_the_ctrl_c_of_the_terminal(monkeypatch):
    order, task = [], study.StudyTask(RECIPE, "w", ("knn",), study.SuiteOptions(), False)
    monkeypatch.setattr(study_process.os, "setpgrp", lambda: order.append("a group of its own"))
    monkeypatch.setattr(study_process, "perform", order.append)
    study_process.main(json.dumps(dataclasses.asdict(task)))
    assert order == ["a group of its own", task]


def test_a_study_and_a_run_do_not_share_a_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "_start", None)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "recipe.json").write_text("{}")
    with pytest.raises(ValueError, match="`workdir` must not be the folder of a run: .*Received: workdir="):
        study.study("temperature", RECIPE, VARIANTS, tmp_path / "run", (0,))
    lines_of(tmp_path / "results.jsonl", {"a": [0.5]})
    with pytest.raises(ValueError, match="`workdir` must not be the folder of a study, .*Received: workdir="):
        RunSession(tmp_path, RECIPE)


@pytest.mark.parametrize("measure", ["linear_few/top1", "retrieval/recall@1"])
def test_leads_by_measures_that_are_not_drawn_have_no_picture(tmp_path, capsys, measure):
    values = {f"{method}, {rate}": [0.5, 0.6] for rate in ("0.1", "0.2") for method in ("LeOCLR", "MoCo v2")}
    lines = lines_of(tmp_path / "of_linear.jsonl", values, methods=("leoclr", "moco_v2") * 2).read()
    for line in lines:
        names = {"linear/top1": measure}
        scale = {"crop_scale": 0.6} if line["name"] in names else {}
        Results(tmp_path / "results.jsonl").write(
            **line | {"name": names.get(line["name"], line["name"])} | scale
        )
    assert run("ablate", "temperature", "--workdir", tmp_path, "--show") == 0
    assert ("LeOCLR minus MoCo v2, points" in capsys.readouterr().out) == ("few" in measure)
    assert not (tmp_path / "leads.svg").exists()


def test_a_study_of_several_settings_ends_with_the_lead_in_each(tmp_path, capsys):
    folder = ROOT / "docs" / "results" / "scenes_map"
    shutil.copy(folder / "results.jsonl", tmp_path)
    assert run("ablate", "scenes", "--workdir", tmp_path, "--show") == 0
    table, _, printed = capsys.readouterr().out.partition("LeOCLR minus MoCo v2, points")
    assert "random weights, pictures and network of the first row" in table
    assert "1 of 8 px" in printed and "2 of 12 px" in printed
    assert (tmp_path / "leads.svg").read_text(encoding="utf-8") == (folder / "leads.svg").read_text("utf-8")


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["metho"], "Did you mean method?"),
        ([], "takes one of method"),
        (["method"], "--workdir"),
        (["method", "--recipe", "fashion"], "Did you mean fashion_mnist?"),
        (["momentum", "--workdir", "W", "--seeds", "a"], "`--seeds` must be comma-separated whole numbers"),
        (["momentum", "--workdir", "W", "--methods", "moco"], "unknown method 'moco'"),
        (["momentum", "--workdir", "W", "--seeds="], "`--seeds` must be one or more whole numbers"),
        (["momentum", "--workdir", "W", "--seeds=0,-1"], "numbers in [0, 2**32). Received: 0,-1"),
        (["momentum", "--workdir", "W", "--suite", "kn"], "unknown evaluation 'kn'"),
        (["momentum", "--workdir", "W", "--suite="], "`--suite` must name an evaluation or several."),
        (
            ["momentum", "--workdir", "W", "--fraction", "0"],
            "fraction` must be in (0, 1]. Received: fraction=0",
        ),
        (["momentum", "--workdir", "W", "--fraction", "1.5"], "not a number in the range [0"),
        (["framework", "--workdir", "W", "--methods", "leoclr"], "methods` must be left out"),
        (["momentum", "--workdir", "W", "--only", "0.5"], "those of momentum are 0.99; 0.9; 0.996; 0.999"),
        (["momentum", "--workdir", "W", "--epochs", "0"], "epochs` must be >= 1"),
        (["momentum", "--workdir", "W", "--show"], "must hold results of momentum"),
    ],
)
def test_wrong_use_is_told(tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert run("ablate", *arguments) == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_help_lists_the_ablations_and_the_settings(capsys):
    assert run("ablate", "--help") == 0
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in ablations.ABLATIONS)
    assert "--temperature" in text and "--jobs" in text


def test_the_command_leaves_out_what_does_not_matter_to_others():
    text = ablate._command(["method", "--jobs", "2", "--recipe=x", "--verbose=0", "--seeds", "0,1"])
    assert text == "leoclr ablate method --recipe=x --seeds 0,1"
