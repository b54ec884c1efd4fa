"""What is installed, and what the documents say."""

import configparser
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
        "leoclr.py",
        "keras_leoclr/model.py",
        "keras_leoclr/callbacks/knn_monitor.py",
        "keras_leoclr/recipes/fashion_mnist.py",
        "keras_leoclr/data/fashion_mnist/train.npz",
        "keras_leoclr/data/fashion_mnist/LICENSE",
        "keras_leoclr/report/static/page.css",
        "keras_leoclr/report/static/report.js",
        "keras_leoclr/report/templates/model_card.md",
        "keras_leoclr/report/templates/page.html",
        "keras_leoclr/report/templates/sections/summary.html",
    ):
        assert name in names
    assert not any(name.startswith(("callbacks/", "recipes/", "tests/")) for name in names)


@pytest.mark.backend_free
def test_a_wheel_has_nothing_of_an_earlier_build():
    (recipe,) = re.findall(r"^wheel:.*\n\t(.*)$", (ROOT / "Makefile").read_text(), re.M)
    assert recipe.startswith("rm -rf build/wheel build/lib ")  # setuptools copies all that is there


@pytest.mark.backend_free
def test_keras_cv_is_imported_for_views_and_the_models_of_two_recipes():
    sources = [
        *(ROOT / "keras_leoclr").rglob("*.py"),
        *ROOT.glob("callbacks/*.py"),
        *ROOT.glob("recipes/*.py"),
    ]
    users = {p.name for p in sources if re.search(r"^\s*(import|from) keras_cv", p.read_text(), re.M)}
    assert users == {"host.py", "stock.py", "detection.py", "segmentation.py", "named.py"}


def snippets(document="README.md"):
    text = (ROOT / document).read_text()
    return re.findall(r"```python\n(.*?)```", text, re.S)


@pytest.mark.backend_free
def test_readme_has_snippets():
    assert len(snippets()) >= 1
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


@pytest.mark.slow
def test_readme_snippets_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for number in range(40):
        path = tmp_path / "pictures" / f"class {number % 2}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(jpeg(number))
    scope = {}
    for snippet in snippets():  # as a reader would type them, but for less time
        assert "epochs=50" in snippet
        snippet = snippet.replace("epochs=50", 'preset="smoke"').replace("epochs=10", "epochs=1")
        exec(compile(snippet, "README.md", "exec"), scope)
    assert "pretrained  " in scope["run"].table() and scope["classifier"].history.history["accuracy"]
    (snippet,), scope = snippets("docs/start.md"), {}  # begins with the run and the pictures that are there
    exec(compile(snippet.replace("epochs=10", "epochs=1"), "docs/start.md", "exec"), scope)
    assert scope["classifier"].history.history["accuracy"]


@pytest.mark.backend_free
@pytest.mark.slow
@pytest.mark.parametrize("page", ["backbone", "extend", "scenes"])
def test_snippets_of_a_page_run_one_after_the_other(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scope = {"__name__": "__main__"}
    for snippet in snippets(f"docs/{page}.md"):
        exec(compile(snippet, page, "exec"), scope)


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
    from keras_leoclr.cli import command_of
    from keras_leoclr.commands import NAMES

    known = {"help", "version", "logdir"}  # the last is TensorBoard's
    for command in map(command_of, NAMES):
        chosen = command.chosen(["fashion_mnist"])[0] if command.chosen else command
        known |= {flag.name for flag in chosen.flags}
    for script in [*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "tools").rglob("*.py")]:
        defined = r'(?:add_argument\(\s*"--|DEFINE_\w+\(\s*")([a-z][\w-]*)'
        known |= set(re.findall(defined, script.read_text()))
    for document in documents():
        for flag in re.findall(r"(?<![\w-])--([a-z][\w-]*)(?!\*)", document.read_text()):
            assert flag.rstrip("_") in known or flag.removeprefix("no") in known, (document.name, flag)


@pytest.mark.backend_free
def test_scripts_for_people_answer_to_help():
    started_by_others = {
        "peers.py",
        "step_keras.py",
        "step_lightly.py",
        "turns.py",
        "views_on_device.py",
        "conf.py",
    }
    root = pathlib.Path(__file__).parents[1]
    scripts = [path for folder in ("docs", "tools", "benchmarks") for path in root.glob(f"{folder}/*.py")]
    assert len(scripts) > 25
    for path in scripts:
        text = path.read_text(encoding="utf-8")
        if path.name not in started_by_others and "__main__" in text:
            assert "argparse" in text, f"{path.relative_to(root)} --help would run it"


def test_readme_commands_exist():
    text = (ROOT / "README.md").read_text()
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    for target in re.findall(r"\bmake ([a-z-]+)", text):
        assert target in targets or target.startswith("test-"), target
    from keras_leoclr.commands import NAMES

    for document in documents():
        for command in re.findall(r"^leoclr ([a-z]+)", document.read_text(), re.M):
            assert command in NAMES, (document.name, command)


# === Documents ===

# made by other commands or written beside these pages; a link to them may wait


def documents():
    return [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")] + sorted(
        (ROOT / "docs").glob("*.md")
    )


@pytest.mark.backend_free
def test_links_of_the_documents_lead_somewhere():
    found = 0
    for document in documents():
        text = re.sub(r"```.*?```", "", document.read_text(), flags=re.S)
        for link, anchor in re.findall(r"\]\((?!https?:|mailto:)([^)#\s]*)(#[^)]*)?\)", text):
            if link.startswith("reference/"):  # made by `make docs`, which checks links to it
                continue
            target = (document.parent / link).resolve() if link else document
            assert target.exists(), (document.name, link)
            found += 1
            if anchor:
                heads = re.findall(r"^#+ (.*)$", target.read_text(), re.M)
                known = {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}
                assert anchor[1:] in known, (document.name, link, anchor)
    assert found > 30


@pytest.mark.backend_free
def test_every_page_is_listed_in_the_index_and_the_index_in_the_readme():
    assert "(docs/index.md)" in (ROOT / "README.md").read_text()
    listed = set(re.findall(r"\]\(([\w./]+)\)", (ROOT / "docs" / "index.md").read_text()))
    pages = [page for page in (ROOT / "docs").rglob("*") if page.suffix in (".md", ".ipynb")]
    names = {page.relative_to(ROOT / "docs").as_posix() for page in pages if "results" not in page.parts}
    assert names - {"index.md"} <= listed


@pytest.mark.backend_free
def test_the_index_calls_pages_by_their_titles():
    for listed in re.findall(r"^- \[(.*)\]\(([\w./]+)\)", (ROOT / "docs" / "index.md").read_text(), re.M):
        title, page = listed[0], ROOT / "docs" / listed[1]
        if page.is_file() and page.suffix == ".md":  # the reference is made by `make docs`
            assert page.read_text().splitlines()[0] == f"# {title}", page
        elif page.is_file():
            assert f'"# {title}\\n"' in page.read_text(), page


@pytest.mark.backend_free
@pytest.mark.slow
def test_snippets_of_the_pages_on_scaling_and_resuming_run(tmp_path, monkeypatch):
    import tensorflow as tf

    monkeypatch.chdir(tmp_path)
    # one strategy per process: the collectives of a second one would be taken for those of other tests
    monkeypatch.setattr(tf.distribute, "MirroredStrategy", lambda: tf.distribute.OneDeviceStrategy("CPU:0"))
    scope = {}
    for document in ("docs/scaling.md", "docs/reliability.md"):  # the second goes on with the first's model
        for snippet in snippets(document):
            exec(compile(snippet, document, "exec"), scope)
    assert (tmp_path / "run" / "history.csv").is_file()


@pytest.mark.backend_free
@pytest.mark.slow
def test_the_site_has_every_page_and_every_public_name_and_no_warning(tmp_path):
    """In a process of its own: Sphinx changes settings of the process that it runs in."""
    command = [sys.executable, ROOT / "docs" / "build.py", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stderr[-3000:]
    for page in (ROOT / "docs").glob("*.md"):
        assert (tmp_path / "docs" / page.with_suffix(".html").name).is_file()
    page = (tmp_path / "docs" / "reference" / "keras_leoclr.callbacks.html").read_text()
    assert 'id="keras_leoclr.callbacks.KNNMonitor"' in page
    assert "leoclr pretrain" in (tmp_path / "docs" / "reference" / "command_line.html").read_text()
    for page in tmp_path.rglob("*.html"):  # it opens without a network
        loaded = r'<(?:script|img|link|iframe)[^>]*\s(?:src|href)="https?://[^"]*"'
        assert not re.findall(loaded, page.read_text()), page


@pytest.mark.backend_free
def test_every_public_name_has_a_docstring():
    import inspect

    import keras_leoclr as kl
    import keras_leoclr.recipes

    modules = [kl, keras_leoclr.recipes, kl.backbones, kl.callbacks, kl.data, kl.evaluation]
    for module in modules:
        for name in module.__all__:
            value = getattr(module, name)
            if callable(value) or inspect.ismodule(value):
                assert value.__doc__ and len(value.__doc__) > 20, f"{module.__name__}.{name}"


@pytest.mark.backend_free
def test_the_citation_names_the_paper_and_the_version():
    from keras_leoclr import __version__

    text = (ROOT / "CITATION.cff").read_text()
    assert "https://arxiv.org/abs/2403.06813" in text and f"version: {__version__}\n" in text
    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()
    assert config()["metadata"]["version"] == __version__
