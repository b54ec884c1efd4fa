"""Runs whose views are made within the step: where they are made, and that they go on as they began."""

import dataclasses
import shutil

import keras
import numpy as np
import pytest

from keras_leoclr import cli, distribution
from keras_leoclr.recipes import fashion_mnist, pretrain
from keras_leoclr.runs import checkpoint_paths
from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.training.placing import place_of_views
from keras_leoclr.training.recipe import Recipe
from tests.test_packaging import snippets

backend_free = pytest.mark.backend_free


def tiny(**changes):
    fewer = {"max_images": 64, "map_images": 0, "evaluate": False, "knn_every": 0, "widths": (8, 16)}
    return dataclasses.replace(fashion_mnist.RECIPE.smoke(), **{**fewer, "image_size": 16, **changes})


@backend_free
def test_auto_takes_the_device_where_there_is_a_gpu_and_says_why(monkeypatch):
    monkeypatch.setattr(distribution, "gpus", lambda: ())
    assert place_of_views(Recipe()) == ("host", "there is no GPU")
    monkeypatch.setattr(distribution, "gpus", lambda: ("cuda:0",))
    assert place_of_views(Recipe()) == ("device", "there is a GPU (cuda:0)")
    assert place_of_views(Recipe(views_on="host")) == ("host", "`views_on` is host")


@backend_free
def test_a_run_that_goes_on_keeps_the_place_of_its_views(tmp_path, monkeypatch):
    monkeypatch.setattr(distribution, "gpus", lambda: ("cuda:0",))
    run = RunFolder(tmp_path)
    assert place_of_views(Recipe(), run)[0] == "device"  # nothing was trained yet
    run.backbone_file.write_bytes(b"")
    for noted, place in [({}, "host"), ({"views_on": "device"}, "device"), ({"views_on": "host"}, "host")]:
        run.write_about(noted)  # the first as version 0.1.0 did
        assert place_of_views(Recipe(), run) == (place, "the run began so")


@backend_free
@pytest.mark.parametrize("canvas", [(8,), (8, 0), (1, 2, 3)])
def test_a_canvas_has_a_height_and_a_width(canvas):
    with pytest.raises(ValueError, match="`canvas` must be empty or two whole numbers.*Received: canvas="):
        Recipe(canvas=canvas)


def test_a_run_with_views_on_the_device_ends_the_same_after_a_crash(tmp_path, capsys):
    recipe = tiny(views_on="device", bn_groups=2, canvas=(24, 28))
    options = {"tensorboard": "off", "deterministic": True, "keep": 20}
    options |= {"checkpoint_budget": 1, "checkpoint_minutes": 0}
    whole, crashed = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "crashed")
    pretrain(recipe, whole.path, verbose=2, **options)
    out = capsys.readouterr().out
    assert "Views are made on the device: `views_on` is device. A batch has " in out
    assert "times less than its views." in out
    shutil.copytree(whole.path, crashed.path)
    for path in checkpoint_paths.paths(crashed.checkpoints):
        if path > checkpoint_paths.path_of(crashed.checkpoints, 3):
            path.unlink()
    crashed.write_about(crashed.about() | {"finished": False})
    pretrain(recipe, crashed.path, verbose=0, **options)
    about = crashed.about()
    assert about["resumed"] == [[1, 1]] and about["views_on"] == "device" and about["finished"]
    models = [keras.saving.load_model(run.model_file) for run in (whole, crashed)]
    for one, other in zip(*(model.weights for model in models), strict=True):
        np.testing.assert_array_equal(*(keras.ops.convert_to_numpy(weight) for weight in (one, other)))
    assert models[0].views.settings.keys.image_size == 16
    page = (whole.path / "report.html").read_text()
    assert whole.views_file.is_file() and "made on the device" in page and "views made on the" in page


@pytest.mark.slow
@pytest.mark.parametrize("method", ["moco_v2", "crop_to_original", "end_to_end"])
def test_every_method_trains_with_views_on_the_device(method, tmp_path):
    recipe = tiny(views_on="device", method=method, epochs=1, max_images=32)
    pretrain(recipe, tmp_path, verbose=0, tensorboard="off")
    assert RunFolder(tmp_path).about()["finished"]


@backend_free
def test_the_command_draws_the_views_of_the_device(tmp_path):
    page = tmp_path / "views.html"
    assert (
        cli.main(
            [
                "leoclr",
                "views",
                "fashion_mnist",
                "--images",
                "2",
                "--output",
                str(page),
                "--views_on",
                "device",
            ]
        )
        == 0
    )
    text = page.read_text()
    assert text.count("<img") == 2 and "views_on device" in text


@pytest.mark.slow
def test_snippets_of_the_page_run(tmp_path, monkeypatch):
    """With a smaller network and smaller batches."""
    monkeypatch.chdir(tmp_path)
    smaller = {
        'resnet18((32, 32, 3), stem="cifar")': "resnet_small((32, 32, 3), widths=(8, 16))",
        "batch_size=256": "batch_size=16",
        "queue_size=4096": "queue_size=64",
        "(512, 32, 32, 3)": "(32, 32, 32, 3)",
    }
    text = "".join(snippets("docs/device_views.md"))
    for written, run in smaller.items():
        assert written in text
        text = text.replace(written, run)
    scope = {}
    exec(compile(text, "docs/device_views.md", "exec"), scope)
    assert int(scope["model"].optimizer.iterations) == 4 + 4
    assert checkpoint_paths.paths(tmp_path / "run" / "checkpoints")
