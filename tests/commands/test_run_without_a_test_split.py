"""Commands on a run of pictures without labels, which has no test split and no accuracies."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from PIL import Image

import keras_leoclr as kl
from keras_leoclr import cli, wording
from keras_leoclr.evaluation import RunEvaluation
from keras_leoclr.recipes import image_folder
from keras_leoclr.report.unmeasured import unmeasured
from keras_leoclr.runs.folder import RunFolder
from tests.evaluation.test_features import backbone_with

pytestmark = pytest.mark.backend_free


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder as `pretrain` leaves it, of 12 pictures."""
    root = tmp_path_factory.mktemp("unlabelled")
    rng = np.random.default_rng(0)
    (root / "pictures").mkdir()
    for number in range(12):
        Image.fromarray(rng.integers(0, 256, (10, 12, 3), "uint8")).save(root / "pictures" / f"{number}.png")
    recipe = dataclasses.replace(
        image_folder.RECIPE, dataset=str(root / "pictures"), image_size=8, evaluate=False
    )
    run = RunFolder(root / "run")
    run.path.mkdir()
    run.write_recipe(dataclasses.asdict(recipe))
    run.write_about({"finished": True})
    backbone = kl.backbones.with_normalization(backbone_with(), recipe.mean, recipe.std)
    backbone.save(run.backbone_file)
    return run


def run(*arguments):
    return cli.main(["leoclr", *map(str, arguments)])


def test_the_backbone_is_exported_and_compared_on_training_pictures(folder, tmp_path, capsys):
    assert run("export", folder.path, "--output", tmp_path / "out", "--images", 4) == 0
    said = capsys.readouterr()
    assert "backbone.keras" in said.out and "split" not in said.err
    again = ("--overwrite", "--dataset", folder.recipe()["dataset"])
    assert run("export", folder.path, "--output", tmp_path / "out", "--images", 4, *again) == 0


def test_a_damaged_test_split_is_not_taken_for_a_missing_one(folder, tmp_path, capsys):
    for split in ("train", "test"):
        shutil.copytree(folder.recipe()["dataset"], tmp_path / "data" / split)
    (tmp_path / "data" / "test" / "0.png").write_bytes(b"bad")
    damaged = RunFolder(tmp_path / "run")
    shutil.copytree(folder.path, damaged.path)
    damaged.write_recipe(folder.recipe() | {"dataset": str(tmp_path / "data")})
    with pytest.raises(ValueError, match="1 file of 12 cannot be read as pictures: .*0.png"):
        RunEvaluation(damaged.path).suite(cache=False)
    missing = shutil.move(tmp_path / "data" / "test", tmp_path / "test")
    assert RunEvaluation(damaged.path).suite(cache=False).test is None
    shutil.move(missing, tmp_path / "data" / "test")
    # data of no recipe
    alone = shutil.copy(folder.backbone_file, tmp_path / "backbone.keras")
    flags = ("--dataset", tmp_path / "data", "--output", tmp_path / "out", "--images", 4)
    capsys.readouterr()
    assert run("export", alone, *flags) == 1
    assert "1 file of 12 cannot be read as pictures" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "data" / "test")
    assert run("export", alone, *flags) == 0


def test_a_map_is_made_and_what_needs_a_test_split_says_so(folder, capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    flags = ("--workdir", folder.path, "--map_images", 5, "--noverbose")
    assert run("evaluate", "embedding", *flags) == 0
    (line,) = folder.results.read()
    assert (line["images"], line["test_split"], line["name"]) == (5, "train", "embedding/explained")
    capsys.readouterr()
    assert run("evaluate", "retrieval", *flags) == 1
    said = capsys.readouterr().err
    assert (
        "`--test_split` must name images to judge on; without it only" in said
        and "Received: none, for retrieval" in said
        and '`--train_split "train[:90%]" --test_split "train[90%:]"` judges on a tenth' in said
    )
    assert run("compare", folder.path) == 1
    assert "`workdirs` must hold results of an evaluation" in capsys.readouterr().err
    assert json.loads(folder.recipe_file.read_text())["evaluate"] is False


def test_the_table_says_that_nothing_was_measured_and_what_measures_it(folder, tmp_path):
    text = kl.Run(folder.path).table()
    assert "has not been measured: no pictures were kept for it" in text and "%   " not in text
    assert 'A new run with `train_split="train[:90%]", test_split="train[90%:]"` keeps a tenth' in text
    assert f'`kl.evaluate("{folder.path}", train_split="train[:90%]", test_split=' in text
    with wording.of_a_command(["workdir"]):
        text = unmeasured(folder.path)
        assert f"`leoclr evaluate knn,linear,few --workdir {folder.path} --train_split " in text
    shutil.copytree(folder.path, tmp_path / "run")
    other = RunFolder(tmp_path / "run")
    other.write_about({"labelled": False})
    assert "the pictures have no labels. `kl.evaluate(" in unmeasured(other.path)
    other.write_recipe(folder.recipe() | {"evaluate": True})
    assert "does it once the training is finished" in kl.Run(other.path).table()


def test_data_without_a_test_split_are_told_how_to_be_divided(folder, tmp_path):
    dataset = folder.recipe()["dataset"]
    with pytest.raises(ValueError, match="must name pictures to judge on, such as .*where there is a single"):
        RunEvaluation(tmp_path, folder.backbone_file, dataset=dataset).suite(cache=False)


def test_messages_name_flags_within_a_command_and_arguments_outside():
    told = "`overwrite` runs it again; `leoclr views` and `train` stay"
    with pytest.raises(ValueError) as raised, wording.of_a_command(["overwrite", "epochs"]):
        assert wording.named(told) == told.replace("`overwrite`", "`--overwrite`")
        assert wording.settings(epochs=20, test_split="a[:1]") == '`--epochs 20 --test_split "a[:1]"`'
        raise ValueError("`epochs` must be >= 1")
    assert wording.of_error(raised.value) == "`--epochs` must be >= 1"
    assert wording.named(told) == told and wording.settings(epochs=20) == "`epochs=20`"


def test_knn_of_20_neighbours_stands_for_all_in_results(folder, tmp_path):
    from keras_leoclr.evaluation.scores import Score, write_scores

    shutil.copytree(folder.path, tmp_path / "run")
    results = RunFolder(tmp_path / "run").results
    scores = [Score("knn/top1", k / 1000, k=k) for k in (1, 20, 200)]
    assert write_scores(scores, results, subject="pretrained") == {"knn/top1": 0.02}
    assert write_scores(scores[::2], results, subject="random") == {"knn/top1": 0.2}
    found = kl.Run(tmp_path / "run").results
    assert found["pretrained/knn/top1"] == 0.02 and found["random/knn/top1"] == 0.2
