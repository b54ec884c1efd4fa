"""The comparison of runs."""

import numpy as np
import pytest

from keras_leoclr import cli, evaluation
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
