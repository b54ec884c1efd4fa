"""Recipes from the command line, in this process, and what a run leaves behind."""

import csv
import dataclasses
import json
import re
import subprocess
import sys

import keras
import pytest
from PIL import Image

from keras_leoclr import callbacks, cli, data, report
from keras_leoclr.recipes import Recipe, fashion_mnist, pretrain
from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.runs.results import Results
from keras_leoclr.runs.status import read_status
from keras_leoclr.training.monitors import monitors
from keras_leoclr.training.sources import RunSources
from keras_leoclr.views.preprocessing import Preprocessing
from tests.case import random_images

FAST = [
    "--preset",
    "smoke",
    "--max_images",
    "96",
    "--knn_bank",
    "60",
    "--knn_queries",
    "30",
    "--verbose",
    "0",
    "--tensorboard",
    "off",
]


def run(*arguments):
    return cli.main(["leoclr", *map(str, arguments)])


@pytest.mark.slow
@pytest.mark.parametrize(
    "method",
    [
        "leoclr",
        pytest.param("moco_v2", marks=pytest.mark.backend_free),
        pytest.param("end_to_end", marks=pytest.mark.backend_free),
    ],
)
def test_every_method_runs_from_the_command_line(tmp_path, method):
    workdir = tmp_path / "run"
    arguments = ["--workdir", workdir, "--method", method, *FAST, "--noevaluate", "--map_images", 0]
    assert run("pretrain", "fashion_mnist", *arguments) == 0
    assert json.loads((workdir / "recipe.json").read_text())["method"] == method
    with (workdir / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2
    assert {"loss", "loss_to_chance", "positive_similarity", "knn_top1", "online_linear_top1"} <= set(rows[0])
    checkpoint = keras.saving.load_model(workdir / "checkpoints" / "model.keras")
    assert (checkpoint.key_queue is None) == (method == "end_to_end")
    measured = [r["name"] for r in Results(workdir / "results.jsonl").read() if "monitor" in r["name"]]
    assert measured == ["monitor/knn_top1"] * 2


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("changes", "knn", "replicas", "expected"),
    [
        ({}, (60, 30), 1, ["Health", "KNNMonitor", "OnlineLinearProbe", "HistoryFile"]),
        ({"online_probe": False}, (60, 30), 1, ["Health", "KNNMonitor", "HistoryFile"]),
        ({}, (60, 30), 2, ["Health", "KNNMonitor", "HistoryFile"]),
        ({}, None, 1, ["Health", "HistoryFile"]),
    ],
)
def test_a_classifier_is_trained_alongside_where_knn_is_measured_on_one_device(
    tmp_path, changes, knn, replicas, expected
):
    recipe = dataclasses.replace(fashion_mnist.RECIPE, **changes)
    labelled = data.load(recipe.dataset, "train[:90]")
    sources = RunSources(labelled, labelled, None, knn)
    chosen = monitors(recipe, sources, Preprocessing(28), RunFolder(tmp_path), callbacks.Health(), replicas)
    assert [type(each).__name__ for each in chosen] == expected
    assert ("online_linear_top1" in chosen[-1].columns) == ("OnlineLinearProbe" in expected)
    for probe in chosen[2:-1]:
        assert probe.queries is chosen[1] and sum(len(labels) for _, labels in probe.images) == 60


@pytest.mark.slow
def test_a_run_ends_with_a_table_a_backbone_and_a_page(tmp_path, capsys):
    workdir = tmp_path / "run"
    assert (
        run("pretrain", "fashion_mnist", "--workdir", workdir, *FAST, "--verbose", 2, "--tensorboard", "on")
        == 0
    )
    printed = capsys.readouterr().out
    assert [line[:8] for line in printed.splitlines() if line.startswith("Epoch")] == ["Epoch 1/", "Epoch 2/"]
    status = read_status(workdir)
    assert status["state"] == "finished" and (status["epoch"], status["step"]) == (2, 3)
    assert status["knn_top1"] > 0 and status["waiting"] <= 1 and status["images_per_second"] > 0
    assert list((workdir / "logs" / "train").glob("*tfevents*"))
    assert len((workdir / "logs" / "features.tsv").read_text().splitlines()) == 96
    assert "(loss_to_chance 1)" in printed and str(workdir) in printed
    results = Results(workdir / "results.jsonl").read()
    for name in ("knn/top1", "linear/top1", "linear_few/top1"):
        subjects = [r["subject"] for r in results if r["name"] == name]
        assert subjects == ["raw pixels", "random", "pretrained"]
    assert report.table(results) in printed and printed.count("±") == 3
    assert all(r["dataset"] == "fashion_mnist" and r["test_images"] == 96 for r in results if "subject" in r)
    backbone = keras.saving.load_model(workdir / "backbone.keras")
    assert backbone.output_shape == (None, 128)
    page = (workdir / "report.html").read_text()
    assert "data:image/png;base64," in page and "default-src 'none'" in page
    for section in ("summary", "training", "views", "map", "neighbours", "confusion", "environment"):
        assert f'<section id="{section}"' in page
    assert "T-shirt/top" in page and "is missing" not in page
    shown = [r["subject"] for r in results if r["name"] == "embedding/explained"]
    assert shown == ["random", "pretrained"]
    about = json.loads((workdir / "run.json").read_text())
    assert about["environment"]["backend"] == keras.backend.backend()
    assert about["data"]["train"]["count"] == 96 and len(about["data"]["test"]["content"]) == 32
    with (workdir / "history.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[0]["learning_rate"]) > float(rows[1]["learning_rate"]) >= 0
    assert all(float(row["images_per_second"]) > 0 and 0 <= float(row["waiting"]) <= 1 for row in rows)


@pytest.mark.backend_free
@pytest.mark.slow
def test_recipe_runs_as_a_script(tmp_path):
    command = [
        sys.executable,
        "recipes/fashion_mnist.py",
        "--workdir",
        tmp_path / "run",
        *FAST,
        "--noevaluate",
        "--map_images=0",
        "--epochs=1",
        "--knn_every=0",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "run" / "backbone.keras").is_file()


def tiny(**changes):
    fewer = {"max_images": 64, "map_images": 0, "evaluate": False, "knn_every": 0, "epochs": 1}
    return dataclasses.replace(fashion_mnist.RECIPE.smoke(), **fewer, **changes)


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory):
    """The folder of a run whose keys are permuted among groups of a batch."""
    workdir = tmp_path_factory.mktemp("tiny") / "run"
    pretrain(tiny(bn_groups=4), workdir, verbose=0, tensorboard="off")
    return workdir


@pytest.mark.slow
def test_the_same_seed_gives_the_same_backbone_also_with_permuted_keys(tiny_run, tmp_path):
    pretrain(tiny(bn_groups=4), tmp_path / "again", verbose=0, tensorboard="off")
    weights = [
        keras.saving.load_model(workdir / "backbone.keras").get_weights()
        for workdir in (tiny_run, tmp_path / "again")
    ]
    assert all((a == b).all() for a, b in zip(*weights, strict=True))


@pytest.mark.backend_free
@pytest.mark.slow
def test_a_run_is_not_overwritten_unasked(tiny_run, capsys):
    before = (tiny_run / "backbone.keras").read_bytes()
    assert run("pretrain", "fashion_mnist", "--workdir", tiny_run, *FAST) == 2
    assert "`--workdir` holds a run with other settings" in capsys.readouterr().err
    assert (tiny_run / "backbone.keras").read_bytes() == before


@pytest.mark.slow
def test_non_finite_loss_ends_the_command_with_an_error(tmp_path, capsys):
    code = run(
        "pretrain", "fashion_mnist", "--workdir", tmp_path, *FAST, "--learning_rate", 1e30, "--noevaluate"
    )
    assert code == 1
    error = capsys.readouterr().err
    assert "NonFiniteLossError" in error and "at step" in error


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["pretrian"], "unknown command 'pretrian'. Did you mean pretrain?"),
        (["pretrain"], "`pretrain` needs a recipe. Known: cifar10"),
        (["pretrain", "fashion_mnits"], "unknown recipe 'fashion_mnits'. Did you mean fashion_mnist?"),
        (["pretrain", "fashion_mnist"], "`--workdir` must name a folder"),
        (["pretrain", "fashion_mnist", "--workdir", "x", "--method", "simclr"], "`--method` must be one of"),
        (["pretrain", "fashion_mnist", "--workdir", "x", "--backbone", "vgg"], "`--backbone` must be one of"),
        (["pretrain", "fashion_mnist", "--workdir", "x", "--bogus", "1"], "bogus"),
        (["pretrain", "fashion_mnist", "--workdir", "x", "--epochs", "many"], "--epochs"),
        (["pretrain", "fashion_mnist", "--workdir", "x", "--epochs", "0"], "`--epochs` must be >= 1"),
        (["pretrain", "fashion_mnist", "--workdir", "x", "--crop_scale", "a,b"], "comma-separated numbers"),
        (
            ["pretrain", "fashion_mnist", "--workdir", "x", "--crop_scale", "0.5,1.2"],
            "`--crop_scale` must be two numbers with 0 < low <= high <= 1",
        ),
        (
            ["pretrain", "fashion_mnist", "--workdir", "x", "--temperature", "0"],
            "`--temperature` must be > 0",
        ),
        (
            ["pretrain", "fashion_mnist", "--workdir", "x", "--seed", "-1"],
            "`--seed` must lie in [0, 4294967295]",
        ),
        (["pretrain", "fashion_mnist", "--workdir", "x", "extra"], "takes flags after the recipe"),
        (["report"], "`report` takes the folders of one or more runs"),
        (["report", "a", "b"], "`--output` must name a file"),
        (["views", "fashion_mnist", "--output", "views.gif"], "`--output` must end in .png or .html"),
        (["views", "image_folder"], "`--dataset` must name a data set"),
        (
            ["views", "fashion_mnist", "--output", "no/views.png"],
            "must lie in a folder that exists. Received: ",
        ),
        (["views", "fashion_mnist", "--keep", "2"], "Unknown command line flag 'keep'"),
        (["views", "fashion_mnist", "--tensorboard", "on"], "Unknown command line flag 'tensorboard'"),
        (["report", "a", "--output", "a.jsonl"], "`--output` must end in .html. Received: output=a.jsonl"),
        (["report", "a", "--output", "no/a.html"], "`--output` must lie in a folder that exists"),
        (["search", "a.png", "--index", "i", "--page", "i"], "`--page` must end in .html. Received: page=i"),
        (
            ["index", "a", "--backbone", "b", "--output", "."],
            "`--output` must be a file. Received: output=., a folder",
        ),
        (["export", "a", "--output", __file__], "`--output` must be a folder for the files"),
        (["data", "a", "--statistics", "--verify"], "`--verify` must be left out with --statistics"),
        (["data", "a", "--statistics", "--duplicates"], "`--duplicates` must be left out with --statistics"),
        (
            ["pretrain", "fashion_mnist", "--workdir", "x", "--checkpoint_budget", "0"],
            "`--checkpoint_budget` must be > 0. Received: checkpoint_budget=0.0",
        ),
        (["recipes", "x"], "`recipes` takes no arguments"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_why(arguments, words, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 2
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--batch_size", "97"], "`--batch_size` must not be larger than the dataset"),
        (["--dataset", ""], "`--dataset` must name a data set, a folder or a file"),
        (["--dataset", "nothing"], "`--dataset` must be one of"),
    ],
)
def test_a_run_that_cannot_start_leaves_nothing(arguments, words, capsys, tmp_path):
    workdir = tmp_path / "run"
    assert run("pretrain", "fashion_mnist", "--workdir", workdir, *FAST, *arguments) == 1
    assert words in capsys.readouterr().err
    assert not workdir.exists()


@pytest.mark.backend_free
def test_help_lists_every_field_with_its_default(capsys):
    assert run("--help") == 0
    assert "leoclr pretrain RECIPE" in capsys.readouterr().out
    assert run("pretrain", "fashion_mnist", "--help") == 0
    text = capsys.readouterr().out
    for field in dataclasses.fields(Recipe):
        assert re.search(rf"^  --(\[no\])?{field.name}( |$)", text, re.M)
        default = getattr(fashion_mnist.RECIPE, field.name)
        if isinstance(default, int | float) and not isinstance(default, bool):
            assert f"(default {default})" in " ".join(text.split())
    assert run("recipes") == 0
    assert "fashion_mnist" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.backend_free  # ViTs and precisions have tests on every backend
def test_the_recipe_of_folders_trains_a_vit_in_mixed_precision_and_lists_what_it_skipped(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number, image in enumerate(random_images(120, 20, 24)):
        Image.fromarray(image).save(pictures / f"{number}.png")
    (pictures / "broken.jpg").write_bytes(b"no picture")
    workdir = tmp_path / "run"
    vit = ["--backbone", "vit_tiny", "--patch_size", "8", "--image_size", "16", "--optimizer", "lars"]
    how = ["--precision", "mixed_bfloat16", "--momentum_schedule", "cosine", "--nodecay_all", *vit]
    source = ["--dataset", pictures, "--on_error", "skip"]
    assert run("pretrain", "image_folder", "--workdir", workdir, *FAST, *source, *how, "--epochs", 1) == 0
    assert "broken.jpg\t" in (workdir / "skipped.txt").read_text()
    with (workdir / "history.csv").open(newline="") as file:
        assert float(next(csv.DictReader(file))["momentum"]) > 0.99
    page = (workdir / "report.html").read_text()  # without labels, and without an evaluation
    assert (
        '<section id="map"' in page
        and '<section id="neighbours"' in page
        and "✗ another" not in page  # no neighbour can be called wrong
    )
    backbone = keras.saving.load_model(workdir / "backbone.keras")
    assert "bfloat16" in {layer.compute_dtype for layer in backbone._flatten_layers()}


@pytest.mark.backend_free
def test_a_picture_that_breaks_in_the_middle_of_a_run_is_named_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number, image in enumerate(random_images(40, 32, 32)):
        Image.fromarray(image).save(pictures / f"{number}.jpg")
    whole = (pictures / "7.jpg").read_bytes()
    (pictures / "7.jpg").write_bytes(whole[:-100])
    small = ["--image_size", 16, "--backbone", "resnet_small", "--stem", "patch", "--knn_every", 0]
    assert (
        run("pretrain", "image_folder", "--workdir", tmp_path / "run", *FAST, *small, "--dataset", pictures)
        == 1
    )
    error = capsys.readouterr().err
    assert "7.jpg: damaged" in error and "Repair or remove it" in error
    assert "Traceback" not in error and "assertion" not in error


@pytest.mark.backend_free
def test_report_needs_a_run(tmp_path, capsys):
    assert run("report", tmp_path) == 1
    assert "`workdir` must hold a run" in capsys.readouterr().err


@pytest.mark.backend_free
def test_table_shows_each_subject_once():
    lines = [
        {"name": "linear/top1", "value": 0.8123, "subject": "random"},
        {"name": "linear_few/top1", "value": 0.6, "subject": "random", "top1_std": 0.021},
        {"name": "linear/top1", "value": 0.9, "subject": "pretrained"},
    ]
    text = report.table(lines).splitlines()
    assert text[1].split() == ["random", "-", "81.2", "60.0", "±", "2.1"]
    assert text[2].split() == ["pretrained", "-", "90.0", "-"]
