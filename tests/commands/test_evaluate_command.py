"""`leoclr evaluate`: what it writes, prints and refuses."""

import json
import types

import numpy as np
import pytest

from keras_leoclr import cli
from keras_leoclr.commands import evaluate
from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.runs.results import Results
from tests.evaluation.examples import pictures
from tests.evaluation.test_features import backbone_with


def run(*arguments):
    return cli.main(["leoclr", *map(str, arguments)])


@pytest.fixture
def files(tmp_path):
    """Flags of `evaluate` for a backbone and a data set in files; four images are in both splits."""
    data = {}
    for split, seed in (("train", 0), ("test", 1)):
        batch = next(iter(pictures(seed=seed).batch(36).as_numpy_iterator()))
        data |= {f"{split}_{kind}": array for kind, array in batch.items()}
    data["test_image"] = np.concatenate([data["train_image"][:4], data["test_image"][4:]])
    np.savez(tmp_path / "data.npz", **data)
    backbone_with().save(tmp_path / "mine.keras")
    flags = ["--workdir", tmp_path / "run", "--dataset", tmp_path / "data.npz", "--noverbose", "--k", "3"]
    return [*flags, "--backbone", tmp_path / "mine.keras"]


@pytest.mark.backend_free
def test_commands_that_need_images_write_their_lines(tmp_path, files):
    quick = ["--fraction", "0.5", "--seeds", "0", "--epochs", "1", "--crop_scales", "0.5"]
    quick += ["--map_images", "10"]
    for what in ("finetune", "retrieval", "transfer", "embedding"):
        assert run("evaluate", what, *files, *quick, "--targets", tmp_path / "data.npz") == 0
    lines = {line["name"]: line for line in Results(tmp_path / "run" / "results.jsonl").read()}
    names = {"finetune/top1", "retrieval/recall@1", "transfer/data.npz"}
    assert names <= set(lines) and lines["finetune/top1"]["test_images"] == 36
    embedding = lines["embedding/explained"]
    assert embedding["images"] == 10 and 0 < embedding["value"] <= 1
    found = {
        kind: np.load(tmp_path / "run" / embedding[f"{kind}_file"], allow_pickle=False)
        for kind in ("coordinates", "rows", "near", "examples", "neighbours", "labels", "predicted")
    }
    assert found["coordinates"].shape == (10, 2) and found["near"].shape == (10, 5)
    assert len(set(found["rows"])) == 10 and set(found["examples"]) <= set(range(10))
    assert found["neighbours"].max() < 36 and (tmp_path / "run" / embedding["pictures_file"]).is_file()


def test_files_may_begin_with_the_home_folder(tmp_path, monkeypatch, files):
    monkeypatch.setenv("HOME", str(tmp_path))
    at_home = [str(flag).replace(str(tmp_path), "~") for flag in files]
    with pytest.warns(UserWarning, match="4 of 36 test images are in the training set too"):
        assert run("evaluate", "knn", *at_home) == 0
    lines = Results(tmp_path / "run" / "results.jsonl").read()
    assert {line["subject"] for line in lines} == {"mine"}


def test_evaluate_and_compare_from_the_command_line(tmp_path, capsys, files):
    with pytest.warns(UserWarning, match="4 of 36 test images are in the training set too"):
        assert run("evaluate", "knn", *files, "--json") == 0
    lines = Results(tmp_path / "run" / "results.jsonl").read()
    printed = capsys.readouterr().out.splitlines()
    assert [json.loads(line) for line in printed if line.startswith("{")] == lines
    assert [line["name"] for line in lines] == ["knn/top1", "knn/top5"]
    protocol = {
        "subject",
        "dataset",
        "train_split",
        "test_split",
        "test_content",
        "k",
        "temperature",
        "epoch",
    }
    assert protocol <= set(lines[0]) and lines[0]["shared_images"] == 4 and lines[0]["subject"] == "mine"
    assert run("compare", tmp_path / "run") == 0
    assert "knn/top1, k 3" in capsys.readouterr().out


@pytest.mark.backend_free
def test_evaluate_says_what_is_missing(tmp_path, capsys):
    for arguments, words in [
        (["evaluate"], "`evaluate` takes one of knn, linear"),
        (
            ["evaluate", "magic", "--workdir", tmp_path],
            "unknown evaluation 'magic'. Known: all, embedding, few",
        ),
        (["evaluate", "knn"], "`--workdir` must name a folder"),
        (["evaluate", "knn", "--workdir", tmp_path], "`--backbone` must be a .keras file"),
        (
            ["evaluate", "knn", "--workdir", tmp_path, "--backbone", "random"],
            "`--architecture`, one of resnet18",
        ),
    ]:
        assert run(*arguments) == 2
        assert words in capsys.readouterr().err
    assert run("evaluate", "--help") == 0
    text = capsys.readouterr().out
    for flag in ("--fraction", "--crop_scales", "--[no]leave_one_out", "linear_paper", "transfer"):
        assert flag in text


@pytest.mark.backend_free
def test_several_evaluations_are_named_at_once(tmp_path, monkeypatch):
    from keras_leoclr.evaluation import run_evaluation
    from keras_leoclr.evaluation.suite_options import ALL

    written = []
    noted = types.SimpleNamespace(run=written.extend, results=Results(tmp_path / "results.jsonl"))

    class Noted:
        def __init__(self, workdir, **given):
            assert workdir == str(tmp_path)

        def suite(self, options, images, **given):
            assert images and options.k == (1, 20, 200)
            return noted

    monkeypatch.setattr(run_evaluation, "RunEvaluation", Noted)
    assert run("evaluate", "finetune,all", "--workdir", tmp_path) == 0
    assert written == ["finetune", *ALL]
    assert run("evaluate", "knn,bogus", "--workdir", tmp_path) == 2


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("flags", "judges", "same"),
    [
        ({}, True, True),
        ({"test_split": "test"}, True, True),
        ({"test_split": "train"}, True, False),
        ({"test_split": "train"}, False, True),
        ({"test_split": "validation"}, False, False),
        ({"backbone": "random"}, True, False),
        ({"dataset": "other"}, True, False),
        ({"train_split": "train"}, True, False),
        ({"max_images": 8}, True, False),
        ({"value_range": (0, 9)}, True, False),
    ],
)
def test_what_failed_is_repeated_by_the_same_evaluation_only(tmp_path, flags, judges, same):
    folder = RunFolder(tmp_path)
    folder.write_recipe({"train_split": "train", "test_split": "test", "evaluate": judges})
    names = ("backbone", "dataset", "train_split", "test_split", "value_range")
    given = dict.fromkeys(names) | {"max_images": 0} | flags
    assert evaluate._as_the_run(given, folder) == same
