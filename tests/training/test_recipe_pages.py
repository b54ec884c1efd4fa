"""Recipes by data set: what their pages say, that each of them runs, and what is chosen for a folder."""

import csv
import dataclasses
import importlib
import json
import pathlib
import re
import shutil
import socket

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

import keras_leoclr as kl
from keras_leoclr import cli, distribution
from keras_leoclr.commands.flags import read
from keras_leoclr.commands.pretrain import recipe_flags, requested
from keras_leoclr.commands.recipes import DOWNSTREAM, recipe_files, recipe_names
from keras_leoclr.data.readers import folder_splits
from keras_leoclr.data.readers.folder import FolderImages
from keras_leoclr.data.source import Source
from keras_leoclr.recipes import Recipe, image_folder
from keras_leoclr.runs.results import Results
from keras_leoclr.training.build import make_model, make_optimizer, make_views, peak_learning_rate
from tests.case import random_images

ROOT = pathlib.Path(__file__).parents[2]
NAMES = recipe_names()
RECIPES = {name: importlib.import_module(f"keras_leoclr.recipes.{name}") for name in NAMES}
ON_TFDS = [name for name, module in RECIPES.items() if module.RECIPE.dataset.startswith("tfds:")]
FROM_FOLDERS = ["tiny_imagenet", "imagenet_100"]
BRIEF = ("--max_images", 64, "--epochs", 1, "--map_images", 0, "--verbose", 0, "--tensorboard", "off")
TINY = ("--image_size", 16, "--widths", "8,16", "--knn_bank", 40, "--knn_queries", 20, "--noevaluate")
TINY += ("--blur_probability", 0)  # half of what there is to trace


def run(*arguments):
    return cli.main(["leoclr", *map(str, arguments)])


def smoke(name, workdir, *arguments):
    return run("pretrain", name, "--workdir", workdir, "--preset", "smoke", *BRIEF, *arguments)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def eager():
    """Two steps of a small network are sooner done than traced; other tests trace steps."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """train/{a,b} with 40 pictures of 20 x 24 each, val/{a,b} with 10."""
    root = tmp_path_factory.mktemp("pictures")
    for number, image in enumerate(random_images(100, 20, 24)):
        folder = root / ("train" if number < 80 else "val") / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / f"{number}.png")
    return root


# === What the pages say ===


@pytest.mark.backend_free
@pytest.mark.parametrize("name", recipe_files())
def test_a_recipe_says_what_it_claims_costs_and_gives_and_how_it_is_run(name):
    text = importlib.import_module(f"keras_leoclr.recipes.{name}").__doc__
    parts = ["Claim", "Data", "Cost", "Expected"] if name in NAMES else ["Claim", "Cost", "Expected"]
    assert re.findall(r"^(\w+): ", text, re.M) == parts
    assert re.search(rf"^    leoclr {DOWNSTREAM.get(name, f'pretrain {name}')}\b", text, re.M)


@pytest.mark.backend_free
@pytest.mark.parametrize("name", [*ON_TFDS, *FROM_FOLDERS])
def test_the_hours_of_a_recipe_are_images_times_epochs_by_speed(name):
    (cost,) = re.findall(r"^Cost: (.*?)\n(?:\w+:)", RECIPES[name].__doc__, re.M | re.S)
    cost = " ".join(cost.split())
    numbers = re.search(
        r"([\d.,]+) V100 hours.*estimated: ([\d,]+) images x (\d+) epochs / "
        r"([\d,]+)(?: and ([\d,]+))? images/s",
        cost,
    )
    hours, images, epochs, speed, of_cores = (float(n.replace(",", "")) if n else 0 for n in numbers.groups())
    assert epochs == RECIPES[name].RECIPE.epochs
    assert hours == pytest.approx(images * epochs / speed / 3600, rel=0.02)
    if of_cores:
        (cores,) = re.findall(r"([\d,]+) hours on two CPU cores", cost)
        assert float(cores.replace(",", "")) == pytest.approx(images * epochs / of_cores / 3600, rel=0.02)


@pytest.mark.backend_free
def test_the_page_of_recipes_lists_them_as_they_are():
    text = (ROOT / "docs" / "recipes.md").read_text()
    rows = re.findall(r"^\| \[?`(\w+)`\]?\S* \| .*? \| `(\w+)`, (\d+) px \| ([\d, ]+) \|$", text, re.M)
    expected = []
    for name, module in RECIPES.items():
        if name != "image_folder":
            presets = [preset.epochs for preset in getattr(module, "PRESETS", {}).values()]
            epochs = ", ".join(map(str, sorted([module.RECIPE.epochs, *presets])))
            expected.append((name, module.RECIPE.backbone, str(module.RECIPE.image_size), epochs))
    assert sorted(rows) == sorted(expected)
    assert "| [`image_folder`]" in text


@pytest.mark.backend_free
def test_the_quickstart_quotes_the_figures_of_the_readme():
    (row,) = re.findall(r"^\| pretrained with MoCo v2 \| (.*) \|$", (ROOT / "README.md").read_text(), re.M)
    knn, linear, few = row.split(" | ")
    quoted = f"MoCo v2: kNN {knn}, linear {linear}, few labels {few} %"
    assert quoted in (ROOT / "Makefile").read_text()
    assert f"with MoCo v2 {knn} % and\n{linear} %" in RECIPES["fashion_scenes"].__doc__


@pytest.mark.backend_free
def test_presets_of_a_recipe_are_chosen_by_name(capsys):
    module = RECIPES["imagenet"]
    given = read(recipe_flags(module), ["--preset", "100_epochs", "--dataset", "d"])
    recipe, settle = requested(module, given)
    assert settle is None
    assert recipe == dataclasses.replace(module.RECIPE, epochs=100, dataset="d")
    assert run("pretrain", "imagenet", "--preset", "90_epochs") == 2
    assert "<full|smoke|200_epochs|100_epochs>" in capsys.readouterr().err


# === Each of them runs ===


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [n if n == "cifar10" else pytest.param(n, marks=pytest.mark.backend_free) for n in ON_TFDS]
)
def test_the_recipe_of_a_data_set_runs(name, tmp_path, monkeypatch, eager):
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [])  # there is a network, or so it seems
    with tfds.testing.mock_data(num_examples=64):
        assert smoke(name, tmp_path / "run", *TINY) == 0
    assert_trained(tmp_path / "run", RECIPES[name].RECIPE)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [FROM_FOLDERS[0], *(pytest.param(n, marks=pytest.mark.backend_free) for n in FROM_FOLDERS[1:])]
)
def test_the_recipe_of_a_folder_with_splits_runs(name, folders, tmp_path, eager):
    assert smoke(name, tmp_path / "run", *TINY, "--dataset", folders) == 0
    assert_trained(tmp_path / "run", RECIPES[name].RECIPE)


def assert_trained(workdir, recipe):
    with (workdir / "history.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert np.isfinite(float(row["loss"])) and float(row["knn_top1"]) >= 0
    settings = json.loads((workdir / "recipe.json").read_text())
    for field in ("method", "test_split", "probe_split", "stem", "temperature", "weight_decay"):
        assert settings[field] == getattr(recipe, field)
    assert keras.saving.load_model(workdir / "backbone.keras").output_shape == (None, 16)


@pytest.mark.parametrize("name", NAMES)
def test_a_recipe_gives_views_a_model_and_an_optimizer(name):
    recipe = RECIPES[name].RECIPE.smoke()
    assert recipe.image_size <= 64 and recipe.backbone == "resnet_small" and recipe.batch_size <= 32
    views = make_views(recipe)
    batch = views(random_images(2, 20, 20), np.array([0, 1], np.int32))
    model = make_model(recipe, 10)
    assert model.backbone.compute_output_shape(batch["query"].shape) == (2, (recipe.widths or (128,))[-1])
    assert model.key_queue.size <= 256 and model.bn_groups <= 2
    rate = make_optimizer(recipe, 10).learning_rate
    assert float(keras.ops.convert_to_numpy(rate)) > 0 or recipe.warmup_epochs


@pytest.mark.backend_free
def test_gradients_of_more_batches_than_there_are_cannot_be_accumulated():
    recipe = dataclasses.replace(RECIPES["fashion_mnist"].RECIPE.smoke(), gradient_accumulation_steps=8)
    assert make_optimizer(recipe, 4).gradient_accumulation_steps == 8  # two epochs of four batches
    words = (
        "`gradient_accumulation_steps` must be at most the number of batches of the whole training.*"
        "Received: gradient_accumulation_steps=8, 6 batches, epochs=2 of 3"
    )
    cosine = dataclasses.replace(recipe, momentum_schedule="cosine")
    for make in (lambda: make_optimizer(recipe, 3), lambda: make_model(cosine, 3)):
        with pytest.raises(ValueError, match=words):
            make()


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("share", "steps", "rates"),
    [(0.9, 4, [0, 1 / 3, 2 / 3, 1, 0]), (0.5, 4, [0, 0.5, 1, 0.5, 0]), (0.9, 1, [1, 0])],
)
def test_a_warm_up_of_nearly_all_steps_leaves_one(share, steps, rates):
    recipe = dataclasses.replace(RECIPES["fashion_mnist"].RECIPE, epochs=1, warmup_epochs=share)
    schedule = make_optimizer(recipe, steps)._learning_rate
    found = [float(keras.ops.convert_to_numpy(schedule(step))) for step in range(steps + 1)]
    np.testing.assert_allclose(found, peak_learning_rate(recipe) * np.array(rates), atol=1e-7)


# === Splits with labels of their own ===


@pytest.mark.slow
@pytest.mark.backend_free
def test_probes_and_knn_take_the_labels_of_another_split(tmp_path, eager):
    arrays = {f"{split}_image": random_images(48, 12, 12, seed=n) for n, split in enumerate(("more", "few"))}
    arrays |= {"more_label": np.full(48, -1), "few_label": np.arange(48) % 2}
    arrays |= {"test_image": random_images(20, 12, 12, seed=3), "test_label": np.arange(20) % 2}
    np.savez(tmp_path / "own.npz", **arrays)
    splits = ("--dataset", tmp_path / "own.npz", "--train_split", "more", "--probe_split", "few")
    small = ("--image_size", 12, "--widths", "8,16", "--knn_bank", 30, "--knn_queries", 18)
    workdir = tmp_path / "run"
    assert smoke("stl10", workdir, *splits, *small, "--blur_probability", 0) == 0
    assert set(json.loads((workdir / "run.json").read_text())["data"]) == {"more", "few", "test"}
    lines = Results(workdir / "results.jsonl").read()
    (monitor,) = (line for line in lines if line["name"] == "monitor/knn_top1")
    assert (monitor["bank"], monitor["queries"]) == (30, 18)
    probes = [line for line in lines if line["name"] == "linear/top1"]
    assert [line["subject"] for line in probes] == ["raw pixels", "random", "pretrained"]
    assert {(line["train_split"], line["train_images"], line["test_images"]) for line in probes} == {
        ("few", 48, 20)
    }
    assert run("evaluate", "knn", "--workdir", workdir, "--noverbose", "--nocache", "--k", "1,5") == 0
    assert Results(workdir / "results.jsonl").read()[-1]["train_split"] == "few"


@pytest.mark.backend_free
def test_an_evaluation_without_labels_is_refused_before_anything_is_written(tmp_path, capsys):
    np.savez(tmp_path / "own.npz", image=random_images(48, 12, 12), label=np.full(48, -1))
    assert smoke("stl10", tmp_path / "run", "--dataset", tmp_path / "own.npz", "--train_split", "train") == 1
    assert "`--probe_split` must name a split with labels, or" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


# === Chosen for a folder ===


def found(count, side=300, classes=10):
    """A source as `load` gives it, of so many pictures and no files."""
    images = object.__new__(FolderImages)
    images.root, images.count = b"/nowhere", count
    images._numbers = np.tile([0, 1, side, 2 * side], (count, 1))
    images.labels = np.arange(count) % classes if classes else None
    images.labelled, images.class_names = bool(classes), tuple(f"{number}" for number in range(classes))
    images.image_shape = (None, None, 3)
    return Source(images)


def chosen(monkeypatch, source, gpu=False, **given):
    monkeypatch.setattr(distribution, "gpus", lambda: ("gpu:0",) if gpu else ())
    monkeypatch.setattr(folder_splits, "split_folder", lambda path, split: path)
    recipe = dataclasses.replace(image_folder.RECIPE, dataset="/nowhere", **given)
    return image_folder.choose(recipe, given, source)


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("source", "gpu", "expected"),
    [
        # a handful, of any size; everything at its smallest
        (
            found(16, side=10, classes=0),
            False,
            {
                "image_size": 16,
                "stem": "cifar",
                "batch_size": 8,
                "queue_size": 16,
                "epochs": 800,
                "knn_every": 0,
            },
        ),
        # Fashion-MNIST's size: the settings that were measured
        (
            found(10_000, side=28),
            False,
            {"image_size": 28, "batch_size": 128, "queue_size": 4096, "momentum": 0.99, "epochs": 100}
            | {"knn_bank": 8000, "knn_queries": 2000, "backbone": "resnet18"},
        ),
        (found(50_000, side=100), True, {"image_size": 96, "backbone": "resnet18", "epochs": 400}),
        # ImageNet-1K's
        (
            found(1_281_167, side=375),
            True,
            {"image_size": 224, "backbone": "resnet50", "batch_size": 256, "queue_size": 65536}
            | {"momentum": 0.999, "epochs": 100, "knn_bank": 10_000, "stem": "imagenet"},
        ),
        (found(1_281_167, side=375), False, {"image_size": 96, "method": "leoclr", "epochs": 20}),
        (found(500, classes=1), False, {"knn_every": 0, "evaluate": False, "method": "leoclr"}),
    ],
)
def test_settings_follow_the_pictures_and_each_has_a_reason(source, gpu, expected, monkeypatch):
    recipe, lines = chosen(monkeypatch, source, gpu)
    assert {name: getattr(recipe, name) for name in expected} == expected
    told = dict(re.fullmatch(r"(\w+) (\S+): .{8,}", line).groups() for line in lines)
    assert set(told) <= set(image_folder.CHOSEN)
    assert all(str(getattr(recipe, name)) == value for name, value in told.items())
    assert set(expected) <= set(told)
    # no warning of a stale queue: less than the keys of an epoch
    assert recipe.queue_size <= 2 * recipe.batch_size * (source.images.count // recipe.batch_size)


@pytest.mark.backend_free
def test_what_is_given_stays_and_the_rest_goes_by_it(monkeypatch):
    given = {"batch_size": 500, "image_size": 32, "knn_queries": 7}
    recipe, lines = chosen(monkeypatch, found(1000), **given)
    assert {name: getattr(recipe, name) for name in given} == given
    assert recipe.queue_size == 1000 and recipe.stem == "cifar" and recipe.knn_bank == 800
    assert not {line.split()[0] for line in lines} & set(given)


@pytest.mark.backend_free
def test_the_epochs_say_how_long_they_take_on_two_cores_and_how_to_take_less(monkeypatch):
    def told(**given):
        return next(x for x in chosen(monkeypatch, found(1250), **given)[1] if x.startswith("epochs"))

    # 1,000,000 pictures at 58 a second
    assert told(image_size=96).endswith("about 5 hours on two CPU cores, and less with `epochs=20`")
    assert "about 32 minutes" in told(image_size=32, backbone="resnet18", stem="imagenet")
    # 1,000,000 pictures at the 1,058 a second that were measured take 15.8 minutes.
    assert "about 16 minutes" in told(image_size=32, backbone="resnet_small", stem="cifar")
    assert "CPU cores" not in told(backbone="applications:MobileNetV2")


@pytest.mark.backend_free
def test_leoclr_is_the_method_and_the_choice_says_when_another_may_be_better(monkeypatch):
    (line,) = (line for line in chosen(monkeypatch, found(300))[1] if line.startswith("method leoclr"))
    assert "one centred thing on a plain ground, `--method moco_v2` may be better" in line
    assert "`leoclr views`" in line
    recipe, lines = chosen(monkeypatch, found(300), method="moco_v2")
    assert recipe.method == "moco_v2" and not any(line.startswith("method") for line in lines)


@pytest.mark.backend_free
@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_is_leoclr(name):
    assert RECIPES[name].RECIPE.method == "leoclr"


@pytest.mark.backend_free
def test_too_few_pictures_are_refused(tmp_path, capsys):
    (tmp_path / "few").mkdir()
    for number, image in enumerate(random_images(5, 20, 20)):
        Image.fromarray(image).save(tmp_path / "few" / f"{number}.png")
    assert run("pretrain", "image_folder", "--dataset", tmp_path / "few", "--workdir", tmp_path / "run") == 1
    assert "`--dataset` must hold 16 pictures or more to train on. Received: 5 in" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.backend_free
def test_a_test_split_is_judged_on_only_if_its_classes_are_trained_on(folders, tmp_path):
    root = tmp_path / "pictures"
    shutil.copytree(folders, root)

    def decided():
        source = kl.data.load(root, "train")
        recipe, lines = image_folder.choose(Recipe(dataset=str(root), evaluate=False), {}, source)
        (line,) = (line for line in lines if line.startswith("evaluate"))
        return recipe.evaluate, recipe.test_split, line

    assert decided() == (True, "validation", "evaluate True: val holds 20 pictures of the same classes")
    shutil.copytree(root / "val" / "a", root / "val" / "c")
    assert decided()[0] is False and decided()[2].endswith("val has classes that are not trained on: c")
    shutil.rmtree(root / "val" / "c")
    shutil.rmtree(root / "val" / "a")  # The others can be judged.
    assert decided()[0] is True
    for name in ("a", "b"):  # Without a folder `train`, what lies beside `val` is trained on.
        shutil.move(root / "train" / name, root / name)
    shutil.rmtree(root / "train")
    assert decided()[:2] == (True, "validation")
    (root / "train").mkdir()
    for name in ("a", "b"):
        shutil.move(root / name, root / "train" / name)
    shutil.rmtree(root / "val")
    assert decided()[0] is False and "no sub-folder `test`" in decided()[2]


@pytest.mark.backend_free
def test_a_folder_without_splits_is_divided_by_slices(folders, tmp_path):
    root = tmp_path / "pictures"
    shutil.copytree(folders / "train", root)

    def decided(**given):
        asked = Recipe(dataset=str(root), evaluate=False, **given)
        recipe, lines = image_folder.choose(asked, given, kl.data.load(root, asked.train_split))
        (line,) = (line for line in lines if line.startswith("evaluate"))
        return recipe.evaluate, line

    evaluated, line = decided()
    assert not evaluated
    assert line.endswith(
        'so that all pictures are trained on; `train_split="train[:90%]", test_split="train[90%:]"` keeps '
        "a tenth to measure the features with"
    )
    evaluated, line = decided(train_split="train[:80%]", test_split="train[80%:]")
    assert evaluated and line.endswith("pictures of the same classes") and "train[80%:] holds " in line
    with pytest.raises(ValueError, match="must hold no picture that is trained on.*pictures in common"):
        decided(test_split="train[80%:]")


@pytest.mark.slow
@pytest.mark.backend_free
def test_a_folder_is_trained_on_judged_and_resumed_as_it_was_begun(
    folders, tmp_path, monkeypatch, capsys, eager
):
    workdir = tmp_path / "run"
    command = ("image_folder", workdir, "--dataset", folders, "--widths", "8,16", "--blur_probability", 0)
    command += ("--verbose", 2)
    assert smoke(*command) == 0
    printed = capsys.readouterr().out
    assert "image_size 20: the median of the shorter sides is 20 pixels" in printed
    assert "knn_bank 51: four fifths of the 64" in printed and "The preset smoke makes less" in printed
    before = json.loads((workdir / "recipe.json").read_text())
    assert (before["image_size"], before["stem"], before["test_split"]) == (20, "cifar", "validation")
    judged = [line for line in Results(workdir / "results.jsonl").read() if line["name"] == "linear/top1"]
    assert [line["test_images"] for line in judged] == [20, 20, 20]
    # another computer and another picture: the run is still the same
    monkeypatch.setattr(distribution, "gpus", lambda: ("gpu:0",))
    assert smoke(*command) == 0
    printed = capsys.readouterr().out
    assert (
        f"As the run in {workdir} began: method leoclr, image_size 20" in printed and "is finished" in printed
    )
    assert json.loads((workdir / "recipe.json").read_text()) == before
    assert smoke(*command, "--momentum", 0.9) == 2
    assert re.search(r"momentum +0.99 +0.9$", capsys.readouterr().err, re.M)


@pytest.mark.backend_free
def test_views_are_drawn_as_chosen(folders, tmp_path, capsys):
    arguments = ("--dataset", folders, "--output", tmp_path / "views.html", "--images", 1)
    assert run("views", "image_folder", *arguments) == 0
    assert "image_size 20" in (tmp_path / "views.html").read_text()
