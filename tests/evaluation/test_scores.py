"""Intervals, what is written down, and the comparison of runs."""

import json

import numpy as np
import pytest
from PIL import Image

from keras_leoclr import cli, evaluation
from keras_leoclr.evaluation import scores, statistics
from keras_leoclr.evaluation.scores import Score
from keras_leoclr.evaluation.statistics import paired_bootstrap
from keras_leoclr.runs.results import Results

pytestmark = pytest.mark.backend_free


@pytest.mark.parametrize(("hits", "count", "low", "high"), [(81, 263, 0.2553, 0.3662), (0, 20, 0.0, 0.1611)])
def test_wilson_interval_of_newcombe(hits, count, low, high):
    # Newcombe (1998), Statistics in Medicine 17:857, table I: 81 / 263 and 0 / 20, method 3
    assert statistics.wilson(hits, count) == pytest.approx((low, high), abs=5e-5)


def test_intervals_hold_the_truth_nineteen_times_of_twenty():
    rng = np.random.default_rng(0)
    drawn = rng.binomial(200, 0.9, 4000)
    held = [low <= 0.9 <= high for low, high in (statistics.wilson(int(h), 200) for h in drawn)]
    assert np.mean(held) == pytest.approx(0.95, abs=0.015)
    labels = np.repeat([0, 1, 2], [20, 50, 200])
    truth = np.array([0.9, 0.5, 0.7])
    held = []
    for _ in range(2000):
        _, (low, high) = statistics.mean_per_class(rng.random(270) < truth[labels], labels)
        held.append(low <= truth.mean() <= high)
    assert np.mean(held) == pytest.approx(0.95, abs=0.02)


def test_mean_of_runs_follows_student():
    from scipy import stats

    for values in ([0.4, 0.5], [0.1, 0.2, 0.4, 0.3], list(np.linspace(0.3, 0.6, 15))):
        mean, std, (low, high) = statistics.mean_of_runs(values)
        expected = stats.t.interval(0.95, len(values) - 1, np.mean(values), stats.sem(values))
        expected = np.clip(expected, 0, 1)
        assert (low, high) == pytest.approx(tuple(expected), abs=1e-9)
        assert (mean, std) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    assert statistics.mean_of_runs([0.5]) == (0.5, 0.0, None)


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


def test_hits_of_another_folder_are_not_read(tmp_path):
    results = written(tmp_path / "run", "pretrained", np.ones(8, bool))
    (line,) = results.read()
    line["hits_file"] = "../../" + line["hits_file"]
    assert scores.read_hits(line, tmp_path / "run").all()


def test_paired_bootstrap_agrees_with_drawing_the_images():
    rng = np.random.default_rng(0)
    hits = rng.random(400) < 0.7
    others = np.where(rng.random(400) < 0.9, hits, ~hits)
    rows = rng.integers(0, 400, (4000, 400))
    slow = np.percentile(others[rows].mean(1) - hits[rows].mean(1), [2.5, 97.5])
    assert paired_bootstrap(hits, others) == pytest.approx(tuple(slow), abs=4e-3)


def test_comparison_marks_what_is_beyond_chance(tmp_path, capsys):
    rng = np.random.default_rng(0)
    base = rng.random(1000) < 0.6
    # the same accuracy + 4 points: beyond chance only because the two agree on the other images
    better = base.copy()
    better[np.flatnonzero(~base)[:40]] = True
    written(tmp_path / "a", "pretrained", base)
    written(tmp_path / "b", "pretrained", better)
    written(tmp_path / "c", "pretrained", better, test_split="validation")
    folders = [str(tmp_path / name) for name in "abc"]
    assert cli.main(["leoclr", "compare", *folders]) == 0
    header, row = capsys.readouterr().out.splitlines()
    for name in "abc":
        assert f"{name}: pretrained" in header
    paired, unpaired = row.split("+4.0")[1:]
    assert paired.split(")")[1].strip().startswith("*")
    assert "*" not in unpaired and "(+" not in unpaired  # other images: the intervals overlap


def test_comparison_of_one_run_has_a_column_for_each_subject(tmp_path, capsys):
    written(tmp_path / "a", "random", np.zeros(10, bool))
    written(tmp_path / "a", "pretrained", np.ones(10, bool))
    Results(tmp_path / "a" / "results.jsonl").write("monitor/knn_top1", 0.3, epoch=1)
    assert cli.main(["leoclr", "compare", str(tmp_path / "a"), "--markdown"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| measurement | random | pretrained | difference |"
    assert len(lines) == 3 and "+100.0" in lines[2]
    assert cli.main(["leoclr", "compare", str(tmp_path / "a"), "--everything"]) == 0
    assert "monitor/knn_top1" in capsys.readouterr().out


def test_comparison_refuses_folders_without_results(tmp_path, capsys):
    with pytest.raises(FileNotFoundError, match="`workdirs` must hold results.jsonl"):
        evaluation.compare([tmp_path])
    assert cli.main(["leoclr", "compare"]) == 2
    assert "`compare` takes the folders" in capsys.readouterr().err
    Results(tmp_path / "results.jsonl").write("knn/top1", 0.5, subject="x")
    with pytest.raises(ValueError, match="must leave results"):
        evaluation.compare([tmp_path], only="nothing")


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
