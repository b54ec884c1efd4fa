"""Pages from templates: the policy, escaping, and what the report needs to be made."""

import base64
import hashlib
import json
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import jinja2
import pytest

from keras_leoclr.report import rendering

pytestmark = pytest.mark.backend_free


def test_the_policy_knows_the_style_sheet_and_the_script_by_their_checksums():
    values = {"title": "a <b>", "sections": [], "maps": [{"title": "</script>&"}]}
    made = rendering.page("report.html", ("page.css", "report.css"), "report.js", **values)
    for name, element in (("style-src", "style"), ("script-src", "script")):
        content = re.search(f"<{element}>(.*?)</{element}>", made, re.S)[1]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{name} 'sha256-{digest}'" in made
    assert "<title>a &lt;b&gt;</title>" in made and "<h1>a &lt;b&gt;</h1>" in made
    data = re.search(r'id="map-data">(.*?)</script>', made, re.S)[1]
    assert json.loads(data) == values["maps"] and "<" not in data and "&" not in data


def test_a_page_without_a_script_allows_none():
    made = rendering.page("search.html", ("page.css", "search.css"), title="t", about="a", queries=[])
    assert "script" not in made and "default-src 'none'" in made


def test_a_value_that_a_template_lacks_is_an_error():
    with pytest.raises(jinja2.UndefinedError, match="about"):
        rendering.page("search.html", ("page.css",), title="t", queries=[])


def test_a_bar_or_a_new_line_stays_in_its_cell_of_a_markdown_table():
    template = rendering._environment().from_string("| {{ value | cell }} |")
    assert template.render(value="a|b\nc") == "| a\\|b c |"


ALONE = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("keras", "keras_cv", "tensorflow", "jax", "torch"):
            raise ImportError(name)

sys.meta_path.insert(0, Blocked())
from keras_leoclr import report

print(report.write_report(sys.argv[1]))
"""


def test_a_report_needs_neither_keras_nor_a_backend(tmp_path):
    with tarfile.open(Path(__file__).parents[1] / "fixtures" / "runs_0.1.0.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    run = tmp_path / "finished"
    command = [sys.executable, "-c", ALONE, str(run)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Nearest neighbours" in (run / "report.html").read_text(encoding="utf-8")
