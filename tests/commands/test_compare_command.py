"""`leoclr compare`."""

import json

import pytest

from keras_leoclr import cli
from keras_leoclr.runs.results import Results

pytestmark = pytest.mark.backend_free


def run(*arguments):
    return cli.main(["leoclr", *map(str, arguments)])


def with_hits(path, right):
    """A folder with one result, whose first `right` of 100 images are hits."""
    import numpy as np

    from keras_leoclr.evaluation import write_scores
    from keras_leoclr.evaluation.scores import Score
    from keras_leoclr.evaluation.statistics import wilson

    path.mkdir()
    hits = np.arange(100) < right
    score = Score("knn/top1", right / 100, wilson(right, 100), hits, None, k=20)
    write_scores([score], Results(path / "results.jsonl"), subject="pretrained", dataset="d")
    return path


def test_compare_as_json_has_the_numbers_of_the_table(tmp_path, capsys):
    runs = with_hits(tmp_path / "one", 50), with_hits(tmp_path / "two", 70)
    assert run("compare", *runs, "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["measurement"] == "knn/top1, k 20"
    assert row["values"]["one: pretrained"]["value"] == 0.5
    change = row["differences"]["two: pretrained"]
    assert change["value"] == pytest.approx(0.2) and change["beyond_chance"] is True
    assert 0.1 < change["low"] < 0.2 < change["high"] < 0.3
    assert run("compare", *runs) == 0
    text = f"+20.0 ({100 * change['low']:+.1f} to {100 * change['high']:+.1f}) *"
    assert text in capsys.readouterr().out


def test_a_run_without_an_evaluation_says_what_it_holds(tmp_path, capsys):
    folder = tmp_path / "unlabelled"
    folder.mkdir()
    Results(folder / "results.jsonl").write("embedding/explained", 0.4, subject="pretrained")
    assert run("compare", folder) == 1
    said = capsys.readouterr().err
    assert "`workdirs` must hold results of an evaluation" in said and "None" not in said
    assert "Received: unlabelled, with embedding/explained" in said
    assert run("compare", folder, "--everything") == 0 and "embedding/explained" in capsys.readouterr().out
    judged = with_hits(tmp_path / "judged", 50)
    assert run("compare", judged, "--only", "linear") == 1
    said = capsys.readouterr().err
    assert "`--subjects` and `--only` must leave results of judged, which hold the subjects" in said
    assert "Received: only='linear'" in said
