"""What a run writes is no data, wherever its folder lies."""

import json

import pytest

import keras_leoclr as kl
from keras_leoclr import cli
from keras_leoclr.data.readers import files
from keras_leoclr.runs.files import Lock
from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.training.run_data import RunData
from tests.sources import flat, write

pytestmark = pytest.mark.backend_free


def write_run(path, begun=True):
    """Every picture that a run writes, among its other files."""
    run = RunFolder(path)
    for folder in (run.path, run.checkpoints, run.evaluation, run.features, run.logs):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "views.png").write_bytes(flat(200))
    lock = Lock(run.lock_file)
    lock.take()
    lock.free()
    if begun:
        run.write_about({})
        run.write_recipe({})
        run.results.write("knn/top1", 0.5)
    return run


@pytest.fixture
def pictures(tmp_path):
    root = tmp_path / "root"
    return write(root, **{f"class{n % 2}__{n}": flat(n) for n in range(6)})


@pytest.mark.parametrize("begun", [True, False])
@pytest.mark.parametrize("place", ["r", "runs/first", "class0/r"])
def test_a_folder_that_holds_a_run_is_left_out_and_said(pictures, place, begun, capsys):
    before = kl.data.load(pictures).images
    write_run(pictures / place, begun)
    with pytest.warns(UserWarning, match=f"1 folder that holds a run is left out: {place} in .*root"):
        now = kl.data.load(pictures).images
    assert now.paths == before.paths and now.class_names == ("class0", "class1")
    assert cli.main(["leoclr", "data", str(pictures)]) == 0
    printed = capsys.readouterr().out
    assert f"left out    1 folder that holds a run is left out: {place}" in printed
    assert "pictures    6" in printed
    assert cli.main(["leoclr", "data", str(pictures), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pictures"] == 6


def test_a_folder_of_which_all_is_left_out_says_so(tmp_path):
    write_run(tmp_path / "r")
    with pytest.raises(ValueError, match="must hold pictures.* 1 folder that holds a run is left out: r"):
        kl.data.load(tmp_path)


def test_studies_and_results_are_left_out_too(pictures):
    (pictures / "study").mkdir()
    write(pictures / "study", picture=flat(9))
    RunFolder(pictures / "study").results.write("study/run", 1.0)
    write_run(pictures / "study" / "a-seed0")
    found = files.read_index(pictures, 10**8)
    assert len(found.headers) == 6 and found.runs == [b"study"] and found.folders == [b"class0", b"class1"]


def test_pictures_beside_a_run_are_data_and_its_own_are_not(pictures):
    write_run(pictures)
    found = files.read_index(pictures, 10**8)
    assert len(found.headers) == 6 and found.runs == [b"."]


@pytest.mark.parametrize("name", ["lock", "results.jsonl", "recipe.json"])
def test_files_that_only_have_such_names_hide_nothing(pictures, name):
    (pictures / "class0" / name).write_text("{}\n")
    found = files.read_index(pictures, 10**8)
    assert len(found.headers) == 6 and not found.runs


def test_a_run_among_the_images_themselves_is_refused(pictures, tmp_path):
    data = RunData({"train": kl.data.load(pictures)}, str(pictures))
    for overwrite in (False, True):
        data.check_apart(pictures / "r", str(pictures), overwrite)
        data.check_apart(tmp_path / "r", str(pictures), overwrite)
        with pytest.raises(ValueError, match="`workdir` must not be a folder of the images"):
            data.check_apart(pictures / "class0", str(pictures), overwrite)
    for workdir in (pictures, tmp_path):
        data.check_apart(workdir, str(pictures), overwrite=False)
        with pytest.raises(ValueError, match="in which `overwrite` would delete files. Received: workdir="):
            data.check_apart(workdir, str(pictures), overwrite=True)


@pytest.mark.parametrize("pattern", ["**/*.png", "*/*.png", "class?/*.png,*/*"])
def test_a_pattern_leaves_out_what_a_run_has_written(pictures, pattern):
    pattern = ",".join(str(pictures / part) for part in pattern.split(","))
    before = kl.data.load(pattern).images
    write_run(pictures / "r")
    with pytest.warns(UserWarning, match="1 folder that holds a run is left out: .*/r in .*root"):
        now = kl.data.load(pattern).images
    assert now.paths == before.paths and now.class_names == ("class0", "class1")
    RunData({"train": kl.data.load(pattern)}, pattern).check_apart(pictures / "r", pattern, overwrite=False)
    with pytest.raises(ValueError, match="must match pictures.*1 folder that holds a run is left out"):
        kl.data.load(str(pictures / "r*" / "**" / "*.png"))
