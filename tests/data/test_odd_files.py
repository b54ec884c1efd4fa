"""A folder of two hundred odd files: each one is decoded right, or named, or counted among those left out."""

import io
import json
import os
import pathlib
import warnings

import numpy as np
import pytest

import keras_leoclr as kl
from keras_leoclr import cli
from keras_leoclr.data.decode import decode_image
from keras_leoclr.evaluation.run_evaluation import RunEvaluation
from tests.pictures import (
    MODES,
    encoded,
    header_of_a_huge_png,
    jpeg,
    picture,
    png,
    smooth,
    tiff,
    turned,
    upright,
    with_late_exif,
)

pytestmark = pytest.mark.backend_free

GREY = smooth(12, 16, 1)


def right_files():
    """name -> bytes, pixels (H, W, 3) or None where only Pillow knows them."""
    files = {}
    for kind, modes in MODES.items():
        options = {"WEBP": {"lossless": True}}.get(kind, {})
        for mode in modes:
            stored = decode_image(io.BytesIO(turned(picture(mode), kind, 1, **options)))
            for orientation in range(1, 9):
                name = f"{kind}_{mode.replace(';', '')}_{orientation}.{kind.lower()}"
                files[name] = (
                    turned(picture(mode), kind, orientation, **options),
                    upright(stored, orientation),
                )
    files |= {
        "wrong_name.gif": (png(seed=1), np.asarray(picture(seed=1))),
        "UPPER.PNG": (png(seed=2), np.asarray(picture(seed=2))),
        "white space \u4e2d\n.png": (png(seed=3), np.asarray(picture(seed=3))),
        "late.png": (with_late_exif(png(), 8), upright(np.asarray(picture()), 8)),
        "planes.tif": (tiff(smooth(12, 16, 3), planes=True), smooth(12, 16, 3)),
        "twelve.tif": (tiff(GREY.astype(np.uint16) * 16, bits=12), GREY.repeat(3, -1)),
        "white.tif": (tiff(GREY.astype(np.uint16) * 257, white_is_zero=True), (255 - GREY).repeat(3, -1)),
        "bitmap.bmp": (encoded(picture(), "BMP"), np.asarray(picture())),
        "one.png": (png(height=1, width=1), np.asarray(picture(height=1, width=1))),
        "wide.png": (png(height=1, width=300), np.asarray(picture(height=1, width=300))),
    }
    return files


def wrong_files():
    """name -> bytes, what the reason says."""
    files = {
        "empty.jpg": (b"", "empty, 0 bytes"),
        "page.png": (b"<html>404</html>", "no JPEG, PNG"),
        "huge.png": (header_of_a_huge_png(), "pixels"),
        "planes16.tif": (tiff(smooth(12, 16, 3).astype(np.uint16) * 257, planes=True), "planes of their own"),
        "signed.tif": (tiff(GREY.astype(np.int16), sign=2), "signed pixels of 16 bits"),
        "float.tif": (tiff(GREY.astype(np.float32), sign=3), "pixels of 32 bits"),
        "half.tif": (tiff(GREY.astype(np.float16), sign=3), "floating point values of 16 bits"),
        "int.tif": (tiff(GREY.astype(np.int32), sign=2), "pixels of 32 bits"),
        "four.tif": (tiff(smooth(12, 16, 4), rgb=False), "4 channels"),
        "thirteen.tif": (tiff(np.tile(GREY, 13)), "13 channels"),
        "heic.jpg": (b"\0\0\0\x18ftypheic" + bytes(200), "no JPEG, PNG"),
        "text.gif": (b"GIF89a", "no JPEG, PNG|damaged"),
        "post.tif": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no JPEG, PNG"),
    }
    for number in range(20):
        files[f"cut{number}.jpg"] = (jpeg(number, 60, 80)[: -200 - 20 * number], "damaged")
        files[f"cut{number}.png"] = (png(number, 60, 80)[: -200 - 20 * number], "damaged")
    return files


LEFT_OUT = [
    ".hidden.png",
    "x.heic",
    "y.HEIC",
    "z.avif",
    "a.zip",
    "notes.txt",
    "README",
    "Thumbs.db",
    "raw.cr2",
]


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    root = tmp_path_factory.mktemp("odd") / "pictures"
    for number, (name, (data, _)) in enumerate((right_files() | wrong_files()).items()):
        folder = root / f"class{number % 2}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    for name in LEFT_OUT:
        (root / "class0" / name).write_bytes(b"x")
    (root / "class0" / "self.jpg").symlink_to("self.jpg")
    (root / "class0" / "gone.png").symlink_to("nowhere")
    (root / "class1" / "around").symlink_to(root)
    (root / "class1" / "folder.jpg").mkdir()
    os.mkfifo(root / "class1" / "pipe.png")
    return root


LINKS = {
    "self.jpg": "leads to itself",
    "gone.png": "a link to nothing",
    "pipe.png": "neither a file nor a folder",
}


def test_the_command_is_right_or_names_each(odd, capsys):
    assert cli.main(["leoclr", "data", str(odd), "--verify", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    right, wrong = right_files(), wrong_files()
    assert len(right) + len(wrong) + len(LINKS) + len(LEFT_OUT) >= 200
    expected = {name: reason for name, (_, reason) in wrong.items()} | LINKS
    named = {pathlib.Path(each["file"]).name: each["reason"] for each in said["damaged"]}
    assert sorted(named) == sorted(expected)
    for name, reason in expected.items():
        assert any(words in named[name] for words in reason.split("|")), (name, named[name])
    with_wrong_pixels = sum(name.startswith("cut") for name in wrong)  # the header is right
    assert said["pictures"] == len(right) + with_wrong_pixels
    ignored = len(LEFT_OUT) + 1  # and the link to the folder around it
    assert said["text"]["ignored"].startswith(f"{ignored} files") and ".heic 2" in said["text"]["ignored"]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source = kl.data.load(odd, on_error="skip", max_failures=1.0)
    for path, element in zip(source.images.paths, source.as_numpy_iterator(), strict=True):
        if os.path.basename(path) in right:
            pixels = right[os.path.basename(path)][1]
            assert element["image"].shape == pixels.shape, path
            tolerance = 60 if "JPEG" in path else 1  # blocks of other pixels, where a JPEG is turned
            assert np.abs(element["image"].astype(int) - pixels).max() <= tolerance, path


def test_pretraining_names_what_it_leaves_out(odd, tmp_path, capsys):
    given = {"dataset": odd, "workdir": tmp_path / "run", "preset": "smoke", "on_error": "skip"}
    given |= {"knn_every": 0, "map_images": 0, "method": "moco_v2", "image_size": 16, "epochs": 1}
    flags = [f"--{name}={value}" for name, value in given.items()]
    command = ["leoclr", "pretrain", "image_folder", *flags, "--noevaluate"]
    assert cli.main(command) == 1  # more than a hundredth of them
    assert "more than `--max_failures` allows" in capsys.readouterr().err
    with pytest.warns(UserWarning) as warned:
        assert cli.main([*command, "--max_failures=0.5"]) == 0
    told = "\n".join(str(each.message) for each in warned)
    assert "5 files in" in told and ".heic 2" in told and ".cr2 1" in told
    assert "cannot be read and will be skipped" in told
    # commands on the run leave out the same pictures
    assert cli.main(["leoclr", "export", str(tmp_path / "run"), "--formats=safetensors", "--images=4"]) == 0
    suite = RunEvaluation(tmp_path / "run").suite(cache=False)
    assert suite.train.failures.count
