"""The reduced copy of a folder of pictures that the studies are made on."""

import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

pytestmark = pytest.mark.backend_free
TOOL = pathlib.Path(__file__).parents[1] / "tools" / "reduced_pictures.py"


def run(*arguments):
    command = [sys.executable, TOOL, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


def test_pictures_keep_folders_names_and_proportions(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    for name in ("train/cat/a.png", "train/dog/b.JPEG"):
        path = tmp_path / "from" / name
        path.parent.mkdir(parents=True)
        Image.fromarray(pixels).save(path)
    (tmp_path / "from" / "README.txt").write_text("no picture")
    done = run(tmp_path / "from", tmp_path / "to", "--shorter_side", 20)
    assert done.returncode == 0 and "2 pictures, 1 other files left out" in done.stdout
    for name in ("train/cat/a.jpg", "train/dog/b.jpg"):
        assert Image.open(tmp_path / "to" / name).size == (30, 20)
    run(tmp_path / "from", tmp_path / "webp", "--shorter_side", 20, "--suffix", ".webp")
    with Image.open(tmp_path / "webp" / "train/cat/a.webp") as made:
        assert made.size == (30, 20) and made.format == "WEBP"


def test_no_picture_replaces_another_and_damaged_files_are_left_out(tmp_path):
    folder = tmp_path / "from"
    folder.mkdir()
    for name, value in (("a.png", 200), ("a.jpg", 10), ("b.png", 90)):
        Image.fromarray(np.full((40, 60, 3), value, np.uint8)).save(folder / name)
    Image.fromarray(np.full((40, 60), 30_000, np.uint16)).save(folder / "deep.png")
    data = (folder / "b.png").read_bytes()
    (folder / "huge.png").write_bytes(data[:16] + b"\x00\x01\x00\x00" * 2 + data[24:])
    done = run(folder, tmp_path / "to", "--shorter_side", 20)
    assert done.returncode == 0 and "3 pictures, 2 other files left out" in done.stdout, done.stderr
    read = {path.name: np.asarray(Image.open(path)).mean() for path in (tmp_path / "to").iterdir()}
    assert read == pytest.approx({"a.png.jpg": 200, "a.jpg.jpg": 10, "b.jpg": 90}, abs=1)


def test_a_target_that_exists_and_an_empty_source_are_refused(tmp_path):
    done = run(tmp_path, tmp_path)
    assert done.returncode == 2 and "`target` must not exist yet" in done.stderr
    done = run(tmp_path, tmp_path / "to", "--quality", 101)
    assert done.returncode == 2 and "`--quality` must lie in [1, 100]. Received: 101" in done.stderr
    done = run(tmp_path / "nothing", tmp_path / "to")
    assert done.returncode == 2 and "`source` must be a folder with files" in done.stderr
