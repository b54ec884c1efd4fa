"""What is installed, and what the documents say."""

import configparser
import dataclasses
import pathlib
import re
import subprocess
import sys

import pytest

from tests.pictures import jpeg

ROOT = pathlib.Path(__file__).parent.parent


def config():
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


@pytest.mark.backend_free
def test_every_package_is_listed():
    folders = {p.parent.relative_to(ROOT) for p in (ROOT / "keras_leoclr").rglob("*.py")}
    folders.discard(pathlib.Path("keras_leoclr/data/fashion_mnist"))  # data and its script
    expected = {".".join(folder.parts) for folder in folders}
    expected |= {"keras_leoclr.callbacks", "keras_leoclr.recipes", "keras_leoclr.data.fashion_mnist"}
    assert set(config()["options"]["packages"].split()) == expected


@pytest.mark.backend_free
@pytest.mark.slow
def test_wheel_holds_code_data_and_licences(tmp_path):
    import zipfile

    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path, ROOT]
    subprocess.run(build, check=True, capture_output=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for name in (
        "keras_leoclr/model.py",
        "keras_leoclr/callbacks/knn_monitor.py",
        "keras_leoclr/recipes/fashion_mnist.py",
        "keras_leoclr/data/fashion_mnist/train.npz",
        "keras_leoclr/data/fashion_mnist/LICENSE",
    ):
        assert name in names
    assert not any(name.startswith(("callbacks/", "recipes/", "tests/")) for name in names)


@pytest.mark.backend_free
def test_keras_cv_is_imported_for_views_and_the_models_of_two_recipes():
    sources = [
        *(ROOT / "keras_leoclr").rglob("*.py"),
        *ROOT.glob("callbacks/*.py"),
        *ROOT.glob("recipes/*.py"),
    ]
    users = {p.name for p in sources if re.search(r"^\s*(import|from) keras_cv", p.read_text(), re.M)}
    assert users == {"views.py", "detection.py", "segmentation.py"}


@pytest.mark.backend_free
def test_core_does_not_import_recipes_or_callbacks():
    core = [p for p in (ROOT / "keras_leoclr").rglob("*.py") if p.name != "cli.py"]
    pattern = r"^\s*(import|from) keras_leoclr\.(recipes|callbacks)"
    assert not [p for p in core if re.search(pattern, p.read_text(), re.M)]


def snippets(document="README.md"):
    text = (ROOT / document).read_text()
    return re.findall(r"```python\n(.*?)```", text, re.S)


@pytest.mark.backend_free
def test_readme_has_snippets():
    assert len(snippets()) >= 2


@pytest.mark.slow
def test_readme_snippets_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scope = {}
    for snippet in snippets():  # in order, as a reader would type them
        exec(compile(snippet, "README.md", "exec"), scope)


@pytest.mark.backend_free
@pytest.mark.slow
def test_snippets_of_the_evaluation_page_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    scope = {}
    for snippet in snippets("docs/evaluation.md"):
        exec(compile(snippet, "docs/evaluation.md", "exec"), scope)
    assert "linear/top1" in capsys.readouterr().out


@pytest.mark.backend_free
@pytest.mark.slow
def test_snippets_of_the_downstream_page_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "pictures").mkdir()
    for number in range(4):
        (tmp_path / "pictures" / f"{number}.jpg").write_bytes(jpeg(number))
    scope = {}
    for snippet in snippets("docs/downstream.md"):
        exec(compile(snippet, "docs/downstream.md", "exec"), scope)
    assert len(scope["hits"]) == 3


@pytest.mark.backend_free
def test_flags_in_the_documents_exist():
    from keras_leoclr import cli
    from keras_leoclr.commands import evaluate
    from keras_leoclr.recipes import detection, segmentation
    from keras_leoclr.recipes.fashion_mnist import RECIPE

    known = set(cli._flags_of(RECIPE)) | set(evaluate._flags())
    known |= {f.name for r in (detection, segmentation) for f in dataclasses.fields(r.RECIPE)}
    for script in (*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "keras_leoclr").rglob("*.py")):
        defined = r'(?:add_argument\(\s*"--|DEFINE_\w+\(\s*")([a-z][\w-]*)'
        known |= set(re.findall(defined, script.read_text()))
    for document in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for flag in re.findall(r"(?<![\w-])--([a-z][\w-]*)(?!\*)", document.read_text()):
            assert flag.rstrip("_") in known or flag.removeprefix("no") in known, (document.name, flag)


@pytest.mark.backend_free
def test_readme_commands_exist():
    text = (ROOT / "README.md").read_text()
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    for target in re.findall(r"\bmake ([a-z-]+)", text):
        assert target in targets or target.startswith("test-"), target
    from keras_leoclr import cli

    for command in re.findall(r"^leoclr ([a-z]+)", text, re.M):
        assert f"leoclr {command}" in cli.USAGE
