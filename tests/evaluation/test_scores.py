"""Scores: what is written down and read back."""

import json

import numpy as np
import pytest
from PIL import Image

from keras_leoclr import evaluation
from keras_leoclr.evaluation import scores
from keras_leoclr.evaluation.scores import Score
from keras_leoclr.runs.results import Results

pytestmark = pytest.mark.backend_free


def test_a_score_is_a_pair_that_knows_how_it_was_measured():
    score = Score("knn/top1", np.float32(0.5), (0.4, 0.6), k=20, labels="all")
    name, value = score
    assert (name, value) == ("knn/top1", 0.5) and score.protocol == {"k": 20, "labels": "all"}


def written(folder, subject, hits, **protocol):
    results = Results(folder / "results.jsonl")
    folder.mkdir(exist_ok=True)
    ranked = np.where(hits, 1, 0)[:, None]
    found = scores.accuracy_scores("knn", ranked, np.ones(len(hits), int), (1,), k=20)
    protocol = {"subject": subject, "dataset": "d", "test_split": "test", "epoch": 3, **protocol}
    scores.write_scores(found, results, **protocol)
    return results


def test_hits_are_packed_beside_the_results_and_read_back(tmp_path):
    hits = np.random.default_rng(0).random(21) < 0.5
    results = written(tmp_path / "run", "pretrained", hits)
    written(tmp_path / "run", "pretrained", ~hits)  # does not overwrite the first
    first, second = results.read()
    assert first["low"] < first["value"] < first["high"] and first["confidence"] == 0.95
    assert (tmp_path / "run" / first["hits_file"]).stat().st_size < 200
    np.testing.assert_array_equal(scores.read_hits(first, tmp_path / "run"), hits)
    np.testing.assert_array_equal(scores.read_hits(second, tmp_path / "run"), ~hits)
    np.save(tmp_path / "run" / first["hits_file"], np.zeros(7))
    with pytest.raises(ValueError, match="must hold the packed hits of 21 images"):
        scores.read_hits(first, tmp_path / "run")


def test_the_name_of_a_data_set_may_be_longer_than_that_of_a_file(tmp_path):
    folders = ",".join(f"/data/a-collection-of-photographs-from-the-archive-{number}ä" for number in range(9))
    results = written(tmp_path / "run", "pretrained", np.ones(8, bool), dataset=folders)
    written(tmp_path / "run", "pretrained", np.zeros(8, bool), dataset=folders)
    lines = results.read()
    assert [scores.read_hits(line, tmp_path / "run").all() for line in lines] == [True, False]
    names = [line["hits_file"].rpartition("/")[2] for line in lines]
    assert all(name.startswith("knn-top1-pretrained-data-") and len(name) < 140 for name in names)
    assert names[0].endswith("-3-hits.npy") and all(line["dataset"] == folders for line in lines)


def test_hits_of_another_folder_are_not_read(tmp_path):
    results = written(tmp_path / "run", "pretrained", np.ones(8, bool))
    (line,) = results.read()
    line["hits_file"] = "../../" + line["hits_file"]
    assert scores.read_hits(line, tmp_path / "run").all()


def test_every_line_of_results_is_json_alone(tmp_path):
    results = written(tmp_path / "run", "random", np.ones(3, bool), data_dir=None, crop=(0.2, 1.0))
    (line,) = map(json.loads, results.path.read_text().splitlines())
    assert line["crop"] == [0.2, 1.0] and line["k"] == 20


def test_pictures_of_noise_are_kept_too(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (224, 256, 3), dtype=np.uint8)
    results = Results(tmp_path / "results.jsonl")
    evaluation.write_scores([Score("a/b", 1, None, None, {"pictures": noise})], results)
    (line,) = results.read()
    with Image.open(tmp_path / "evaluation" / line["pictures_file"].rsplit("/")[-1]) as image:
        assert image.size == (256, 224) and np.corrcoef(noise.ravel(), np.asarray(image).ravel())[0, 1] > 0.9


def test_pictures_are_kept_to_the_pixel_if_grey_and_small_if_not(tmp_path):
    from PIL import Image

    results = Results(tmp_path / "results.jsonl")
    rng = np.random.default_rng(0)
    grey = np.repeat(rng.integers(0, 256, (8, 8, 1)), 3, axis=-1).astype("uint8")
    for pictures in (grey, 255 - grey, grey * np.array([1, 0, 1], "uint8")):
        evaluation.write_scores([Score("a/b", 1, None, None, {"pictures": pictures})], results)
    files = [line["pictures_file"] for line in results.read()]
    assert [file.rsplit(".")[-1] for file in files] == ["png", "png", "jpg"] and len(set(files)) == 3
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / files[0])), grey[..., 0])
    assert Image.open(tmp_path / files[2]).size == (8, 8)


def test_files_of_lines_that_are_gone_are_dropped(tmp_path):
    results = Results(tmp_path / "results.jsonl")
    for value in (0, 1):
        evaluation.write_scores([Score("a/b", value, None, None, {"c": np.zeros(2)})], results)
    (tmp_path / "evaluation" / "notes.txt").write_text("not of the run")
    kept, gone = (tmp_path / line["c_file"] for line in results.read())
    results.path.write_text(results.path.read_text().splitlines()[0] + "\n")
    scores.drop_unnamed(results)
    assert kept.is_file() and not gone.exists() and (tmp_path / "evaluation" / "notes.txt").is_file()


def test_damaged_lines_are_left_out_if_asked_for(tmp_path):
    results = Results(tmp_path / "results.jsonl")
    results.write("a", 1)
    with results.path.open("a") as file:
        file.write('{"value": 2}\n[]\n{"name": "b", "val')
    with pytest.raises((ValueError, KeyError)):
        results.read()
    damaged = []
    assert [line["name"] for line in results.read(damaged)] == ["a"] and damaged == [2, 3, 4]
