"""`leoclr data`."""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

from keras_leoclr import cli, terminal

pytestmark = pytest.mark.backend_free
ROOT = pathlib.Path(__file__).parents[2]


def run(*arguments):
    return cli.main(["leoclr", *map(str, arguments)])


def test_data_as_json_names_what_is_damaged(tmp_path, capsys, monkeypatch):
    from PIL import Image

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(terminal, "SILENT", 0.0)  # progress is shown, and not among the JSON
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.new("RGB", (9, 7)).save(pictures / "whole.png")
    assert run("data", pictures, "--json", "--verify") == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["pictures"] == 1 and "Decoding: 1 pictures in " in said.err
    (pictures / "broken.png").write_bytes(b"no picture")
    assert run("data", pictures, "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert found["pictures"] == 1 and found["damaged_pictures"] == 1
    (damaged,) = found["damaged"]
    assert damaged["file"].endswith("broken.png") and damaged["reason"]
    assert found["text"]["width"] == "min 9, median 9, max 9"


def test_a_pipe_gets_no_control_characters(tmp_path):
    from PIL import Image

    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(200):
        Image.new("RGB", (9, 7), (number, 0, 0)).save(pictures / f"{number}.png")
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    slow = (
        "import sys, leoclr, keras_leoclr.terminal as terminal\n"
        "terminal.SILENT = terminal.PLAIN_SECONDS = 0.0\n"
        f"sys.exit(leoclr.main(['leoclr', 'data', {str(pictures)!r}, '--verify']))\n"
    )
    done = subprocess.run([sys.executable, "-c", slow], capture_output=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr.decode()
    assert "200" in done.stdout.decode() and not re.search(rb"[\x00-\x09\x0b-\x1f]", done.stdout)
    lines = [line for line in done.stderr.decode().splitlines() if line.startswith(("Headers", "Decoding"))]
    ends = {line.partition(" in ")[0] for line in lines}
    assert {"Headers: 200 files", "Decoding: 200 pictures"} <= ends
    assert 2 <= len(lines) <= 24  # at most one for each tenth, and one at the end
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", "".join(lines))
