"""The comparison of runs."""

import numpy as np
import pytest

from keras_leoclr import cli, evaluation
from keras_leoclr.evaluation import measures
from keras_leoclr.evaluation.comparison import compare_rows
from keras_leoclr.runs.results import Results
from tests.evaluation.test_scores import written

pytestmark = pytest.mark.backend_free


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
    told = capsys.readouterr().out
    said, unclear, *table = [line for line in told.splitlines() if line and not line.startswith("- ")]
    assert said.startswith("b is ahead of a, by 4.0 points in the accuracy of the nearest neighbours (kNN)")
    assert unclear.startswith("Whether a or c is ahead cannot be said: in the accuracy of the nearest")
    assert unclear.endswith("c minus a is +4.0 points (they were measured on different test images).")
    assert [line.split("  ")[0] for line in table] == ["measurement", "knn/top1, k 20", "", ""]
    assert "difference from a: pretrained" in table[0] and "a: pretrained" in table[1]
    assert "+4.0 (+" in table[2] and table[2].endswith("*")
    assert table[3].endswith("+4.0")


def test_no_run_is_ahead_on_different_images(tmp_path):
    folders = [tmp_path / "a", tmp_path / "b|b"]
    for folder, right in zip(folders, (500, 900), strict=True):
        written(folder, "pretrained", np.arange(1000) < right, test_content=folder.name)
        data = {"subject": "pretrained", "dataset": "d", "test_split": "test", "test_content": folder.name}
        ends = {"low": right / 1000 - 0.01, "high": right / 1000 + 0.01}
        Results(folder / "results.jsonl").write("linear/top1", right / 1000, **ends, **data)
    said, point, *table = [line for line in evaluation.compare(folders, markdown=True).splitlines() if line]
    assert said.startswith("Whether a or b|b is ahead cannot be said: in the accuracy of a linear")
    assert "whether they differ cannot be said" in point and "ahead" not in point
    assert not any("*" in line for line in table) and "different test images" in said and "+40.0" in point
    assert {line.replace(r"b\|b: ", "").count("|") for line in table if "---" not in line} == {5}
    assert [line.count(r"| b\|b: pretrained |") for line in table[2:]] == [0, 1, 0, 1]
    changes = [each for row in compare_rows(folders) for each in row["differences"].values()]
    assert changes and all(set(change) == {"value"} for change in changes)


def test_results_without_a_checksum_of_their_images_are_compared(tmp_path):
    written(tmp_path / "old", "pretrained", np.arange(1000) < 500)  # as version 0.1.0 writes them
    written(tmp_path / "new", "pretrained", np.arange(1000) < 900, test_content="aa")
    told = evaluation.compare([tmp_path / "old", tmp_path / "new"])
    assert told.startswith("new is ahead of old, by 40.0 points")
    assert "(the 95 % intervals of both results do not overlap)" in told


@pytest.mark.parametrize("repeated", [{"draws": 40}, {"seeds": [0, 1, 2]}])
def test_intervals_over_draws_and_seeds_say_nothing_about_the_test_images(tmp_path, repeated):
    for name, value in (("a", 0.5), ("b", 0.6)):
        ends = {"low": value - 0.01, "high": value + 0.01}
        few, mean = Results(tmp_path / name / "results.jsonl"), {"subject": "pretrained", "test_images": 100}
        few.path.parent.mkdir()
        few.write("linear_few/top1", value, **mean, **ends, **repeated)
        few.write("linear/mean_per_class", value, **mean, **ends)
    said, *table = evaluation.compare([tmp_path / "a", tmp_path / "b"]).splitlines()
    assert said.startswith(
        "Whether a or b is ahead cannot be said: in the accuracy of a linear classifier with"
    )
    assert said.endswith("b minus a is +10.0 points (no interval over the test images is known).")
    assert [line.rsplit(" ", 1)[-1] for line in table[3::2]] == ["+10.0", "*"]


@pytest.mark.parametrize(
    ("name", "one", "two", "different"),
    [
        ("linear_few/top1", {"test_images": 100}, {"test_images": 1000}, True),
        ("linear_few/top1", {"test_images": 100}, {"test_images": 100}, False),
        ("linear_few/top1", {"test_images": 100}, {"test_images": -1}, False),
        ("linear_few/top1", {"test_images": 100}, {}, False),
        ("linear/top1", {"images": 90, "test_images": 100}, {"images": 90, "test_images": -1}, False),
        ("transfer/mean", {"data_sets": 8}, {"data_sets": 1}, True),
        ("transfer/mean", {"data_sets": 1, "targets": ["dtd"]}, {"data_sets": 1, "targets": ["pets"]}, True),
        ("transfer/mean", {"data_sets": 1, "targets": ["dtd"]}, {"data_sets": 1}, False),
    ],
)
def test_the_number_of_test_images_tells_results_apart(tmp_path, name, one, two, different):
    for folder, how in (("a", one), ("b", two)):
        (tmp_path / folder).mkdir()
        Results(tmp_path / folder / "results.jsonl").write(name, 0.5, subject="pretrained", **how)
    assert measures.on_different_images({"name": name, **one}, {"name": name, **two}) == different
    told = evaluation.compare([tmp_path / "a", tmp_path / "b"])
    assert ("measured on different test images" in told) == (different and name != "transfer/mean")


def test_lost_files_of_single_images_leave_the_intervals_of_both_results(tmp_path):
    for name, right in (("a", 500), ("b", 900)):
        written(tmp_path / name, "pretrained", np.arange(1000) < right)
    folders = [tmp_path / "a", tmp_path / "b"]
    (file,) = (tmp_path / "b" / "evaluation").iterdir()
    file.write_bytes(b"")
    with pytest.warns(
        UserWarning, match=r"b are missing or damaged \(\w+\): the differences .* are not paired"
    ):
        assert "do not overlap" in evaluation.compare(folders)
    file.unlink()
    with pytest.warns(UserWarning, match=r"missing or damaged \(FileNotFoundError\)"):
        assert "do not overlap" in evaluation.compare(folders)


def test_what_is_no_result_of_the_training_is_listed_once(tmp_path):
    for name, random in (("a", 3), ("b", 3), ("c", 4)):
        for subject, right in (("raw pixels", 5), ("random", random), ("pretrained", 8)):
            written(tmp_path / name, subject, np.arange(10) < right)
    folders = [tmp_path / name for name in "abc"]
    lines = evaluation.compare(folders, markdown=True).splitlines()
    shown = [line.split(" | ")[1] for line in lines if line.startswith("| ")][1:]
    pretrained = ["a: pretrained", "b: pretrained", "c: pretrained"]
    assert shown == [*pretrained, "raw pixels", "a and b: random", "c: random"]
    assert "a and c cannot be told apart" in lines[2] and "+0.0 points" in lines[2]


def test_two_folders_of_one_name_are_two_runs(tmp_path):
    for name, right in (("a", 30), ("b", 60)):
        (tmp_path / name).mkdir()
        written(tmp_path / name / "run", "pretrained", np.arange(100) < right)
    folders = [tmp_path / name / "run" for name in "ba"]
    assert evaluation.compare(folders).startswith("run (1) is ahead of run (2), by 30.0 points")


def test_a_run_may_be_ahead_in_one_measure_and_behind_in_another():
    import pathlib

    from keras_leoclr.evaluation import ahead, result_columns

    def run(name, linear, knn):
        lines = [
            {"name": f"{measure}/top1", "value": value, "low": value - 0.02, "high": value + 0.02}
            for measure, value in (("linear", linear), ("knn", knn))
        ]
        return name, pathlib.Path(name), [line | {"subject": "pretrained"} for line in lines]

    found, labels = result_columns.columns([run("a", 0.5, 0.5), run("b", 0.6, 0.4)])
    (finding,) = ahead.findings(found, result_columns.entries(found, labels))
    words = (
        "b is ahead of a in the accuracy of a linear classifier, and behind in the accuracy of the nearest"
    )
    assert finding.mark == ahead.OPEN and finding.headline.startswith(words)
    assert [mark for mark, _ in finding.points] == [ahead.AHEAD, ahead.BEHIND]
    assert all("(the 95 % intervals of both results do not overlap)" in text for _, text in finding.points)
    found, labels = result_columns.columns(
        [
            run("a", 0.5, 0.5),
            ("b", pathlib.Path("b"), [{"name": "finetune/top1", "value": 0.5, "subject": "pretrained"}]),
        ]
    )
    (finding,) = ahead.findings(found, result_columns.entries(found, labels))
    assert "has not been measured" in finding.headline and finding.points == []
    lines = [{"name": "linear_few/top1", "value": 0.5, "subject": "pretrained"}]
    found, labels = result_columns.columns([(name, pathlib.Path(name), lines) for name in "ab"])
    (finding,) = ahead.findings(found, result_columns.entries(found, labels))
    assert finding.headline.startswith("Whether a or b is ahead cannot be said: in the accuracy of a linear")


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


def test_the_folder_of_a_study_is_no_run(tmp_path, capsys):
    results = Results(tmp_path / "results.jsonl")
    results.write("knn/top1", 0.5, ablation="method", variant="MoCo v2", seed=0)
    for command in (["compare"], ["compare", "--json"], ["report"]):
        assert cli.main(["leoclr", *command, str(tmp_path)]) != 0
        told = capsys.readouterr().err
        assert "`workdirs` must not name the folder of a study or of" in told and "--show` prints the" in told
        assert f"Received: {tmp_path}" in told
    assert [path.name for path in tmp_path.iterdir()] == ["results.jsonl"]


def test_comparison_refuses_folders_without_results(tmp_path, capsys):
    with pytest.raises(FileNotFoundError, match="`workdirs` must hold results.jsonl"):
        evaluation.compare([tmp_path])
    assert cli.main(["leoclr", "compare"]) == 2
    assert "`compare` takes the folders" in capsys.readouterr().err
    Results(tmp_path / "results.jsonl").write("knn/top1", 0.5, subject="x")
    with pytest.raises(ValueError, match="must leave results"):
        evaluation.compare([tmp_path], only="nothing")
