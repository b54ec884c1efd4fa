"""The folder of a run: one process at a time, and the settings that it was started with."""

import dataclasses
import json
import subprocess
import sys

import pytest

from keras_leoclr import cli, evaluation
from keras_leoclr.checkpointing.fit import Position
from keras_leoclr.recipes import fashion_mnist, pretrain
from keras_leoclr.runs import checkpoint_file, checkpoint_paths
from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.runs.results import Results
from keras_leoclr.training.fields import resumable
from keras_leoclr.training.pretraining import _resumed
from keras_leoclr.training.recipe import Recipe
from keras_leoclr.training.session import ChangedRecipeError, RunInProgressError, RunSession
from keras_leoclr.training.sources import RunSources

backend_free = pytest.mark.backend_free
RECIPE = fashion_mnist.RECIPE


def begun(workdir, recipe=RECIPE, **options):
    with RunSession(workdir, recipe, **options) as run:
        run.begin()
    return run


@backend_free
def test_a_second_run_is_refused_and_told_which_process_holds_the_folder(tmp_path):
    holder = (
        "import sys\n"
        "from keras_leoclr.recipes.fashion_mnist import RECIPE\n"
        "from keras_leoclr.training.session import RunSession\n"
        "run = RunSession(sys.argv[1], RECIPE)\n"
        "run.begin()\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, "-c", holder, tmp_path], **pipes)
    assert process.stdout.readline() == "held\n"
    for overwrite in (False, True):
        with pytest.raises(
            RunInProgressError,
            match=f"in use by process {process.pid} on .*wait for its end or choose another folder",
        ):
            RunSession(tmp_path, RECIPE, overwrite=overwrite)
    process.kill()  # the lock dies with its process
    process.wait()
    process.stdin.close()
    process.stdout.close()
    begun(tmp_path)


@backend_free
def test_two_that_start_at_the_same_time_in_a_new_folder_are_told_apart(tmp_path):
    with RunSession(tmp_path / "run", RECIPE) as first, RunSession(tmp_path / "run", RECIPE) as second:
        first.begin()
        with pytest.raises(RunInProgressError):
            second.begin()


@backend_free
def test_other_settings_are_refused_with_a_table(tmp_path):
    begun(tmp_path)
    changed = dataclasses.replace(RECIPE, learning_rate=0.5, epochs=20)
    for override in (False, True):
        with pytest.raises(ChangedRecipeError) as raised:
            RunSession(tmp_path, changed, override=override)
        lines = str(raised.value).splitlines()
        assert "`workdir` holds a run with other settings." in lines[0]
        assert "`override` cannot change learning_rate" in lines[0]
        assert [line.split() for line in lines[1:]] == [
            ["setting", "the", "run", "now"],
            ["epochs", "14", "20"],
            ["learning_rate", "0.24", "0.5"],
        ]
    assert json.loads((tmp_path / "recipe.json").read_text())["epochs"] == 14


@backend_free
def test_what_is_safe_to_change_is_taken_with_override(tmp_path):
    run = begun(tmp_path)
    run.finish()
    longer = dataclasses.replace(RECIPE, epochs=20, knn_every=2)
    with pytest.raises(ChangedRecipeError, match="`override` resumes with the new values"):
        RunSession(tmp_path, longer)
    with RunSession(tmp_path, longer, override=True) as run:
        assert not run.finished
        run.begin()
    assert json.loads((tmp_path / "recipe.json").read_text())["epochs"] == 20
    assert json.loads((tmp_path / "run.json").read_text())["overridden"] == ["epochs", "knn_every"]


@backend_free
def test_a_run_that_goes_on_from_its_start_says_why(tmp_path):
    text = _resumed(RunFolder(tmp_path), Position(0, 0), 0.02)
    assert "checkpoints may take 2% of the time. `checkpoint_budget=1` writes one after every" in text
    assert "No later" not in _resumed(RunFolder(tmp_path), Position(1, 0), 0.02)


@backend_free
def test_another_backend_is_another_setting(tmp_path):
    begun(tmp_path)
    noted = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**noted, "backend": "mxnet"}))
    with pytest.raises(ChangedRecipeError, match=r"backend +mxnet"):
        RunSession(tmp_path, RECIPE)
    RunSession(tmp_path, RECIPE, override=True).close()


@backend_free
def test_a_field_that_the_run_did_not_know_has_its_default(tmp_path):
    begun(tmp_path)
    known = json.loads((tmp_path / "recipe.json").read_text())
    del known["enqueue"]
    (tmp_path / "recipe.json").write_text(json.dumps(known))
    RunSession(tmp_path, RECIPE).close()
    with pytest.raises(ChangedRecipeError, match=r"enqueue +both +first"):
        RunSession(tmp_path, dataclasses.replace(RECIPE, enqueue="first"))


@backend_free
def test_overwrite_deletes_the_run_and_nothing_else(tmp_path):
    run = begun(tmp_path)
    run.finish()
    for path in (run.folder.checkpoints / "old", run.folder.history_file, tmp_path / "notes.txt"):
        path.write_text("old")
    for place in ("another run", "export"):
        begun(tmp_path / place).folder.history_file.write_text("old")
    run = begun(tmp_path, dataclasses.replace(RECIPE, learning_rate=0.5), overwrite=True)
    assert not run.finished
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "another run",
        "checkpoints",
        "lock",
        "notes.txt",
        "progress.json",
        "recipe.json",
        "run.json",
    ]
    assert list(run.folder.checkpoints.iterdir()) == []
    assert (tmp_path / "another run" / "history.csv").read_text() == "old"


@backend_free
def test_what_is_left_of_a_run_that_was_deleted_in_part_is_not_gone_on_with(tmp_path, monkeypatch):
    folder = begun(tmp_path).folder
    checkpoint_paths.path_of(folder.checkpoints, 3).write_text("old")

    def stopped(path):
        raise KeyboardInterrupt

    monkeypatch.setattr("shutil.rmtree", stopped)
    with pytest.raises(KeyboardInterrupt):
        begun(tmp_path, overwrite=True)
    assert folder.holds_run  # the settings are deleted last
    monkeypatch.undo()
    folder.recipe_file.unlink()
    with pytest.raises(ChangedRecipeError, match=r"checkpoints without recipe.json.*`overwrite` deletes the"):
        RunSession(tmp_path, RECIPE)
    begun(tmp_path, overwrite=True)
    assert folder.holds_run and not checkpoint_paths.paths(folder.checkpoints)


@backend_free
@pytest.mark.parametrize(("position", "least"), [((3, 0), 3), ((3, 5), 4)])
def test_fewer_epochs_than_were_begun_are_refused(tmp_path, monkeypatch, position, least):
    folder = begun(tmp_path).folder
    monkeypatch.setattr("keras_leoclr.runs.checkpoint_folder.position", lambda _: position)
    before = folder.recipe_file.read_bytes()
    with pytest.raises(ChangedRecipeError, match=f"`epochs` must be at least {least}, .*Received: epochs=2"):
        RunSession(tmp_path, dataclasses.replace(RECIPE, epochs=2), override=True)
    assert folder.recipe_file.read_bytes() == before
    RunSession(tmp_path, dataclasses.replace(RECIPE, epochs=least), override=True).close()


@backend_free
def test_a_run_is_deterministic_only_if_all_of_it_is(tmp_path):
    for first, then in ((False, True), (True, False), (True, True)):
        workdir = tmp_path / f"{first}-{then}"
        folder = begun(workdir, deterministic=first).folder
        assert folder.about()["deterministic"] is first
        begun(workdir, deterministic=then)
        assert folder.about()["deterministic"] is then  # nothing was trained in between
        begun(workdir, deterministic=first)
        checkpoint_paths.path_of(folder.checkpoints, 3).write_text("")
        begun(workdir, deterministic=then)
        assert folder.about()["deterministic"] is (first and then)


@backend_free
def test_what_others_call_partial_in_the_folder_of_a_run_stays(tmp_path):
    begun(tmp_path)
    (tmp_path / "detection.partial").mkdir()
    (tmp_path / "mine.partial").write_text("mine")
    (tmp_path / "results.jsonl.4314.partial").write_text("cut")
    begun(tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*.partial")) == ["detection.partial", "mine.partial"]


@backend_free
def test_a_folder_may_be_called_as_the_data_set_that_comes_with_the_package(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    begun("fashion_mnist")
    for overwrite in (False, True):
        with RunSession("fashion_mnist", RECIPE, overwrite=overwrite) as run:
            RunSources.load(run.recipe, run.compare_data)
            run.begin()


@backend_free
def test_only_what_the_weights_do_not_depend_on_may_change():
    assert sorted(resumable(Recipe)) == [
        "compile_views",
        "curve_images",
        "data_dir",
        "epochs",
        "evaluate",
        "few_label_draws",
        "knn_bank",
        "knn_every",
        "knn_queries",
        "map_images",
        "max_failures",
        "online_probe",
        "probe_split",
        "test_split",
        "views_on",
    ]


# === From the command line ===


def leoclr(workdir, *arguments):
    small = (
        "--preset smoke --noevaluate --image_size 16 --widths 8,16 --max_images 64 --knn_every 0 --verbose 2"
    )
    return cli.main(
        ["leoclr", "pretrain", "fashion_mnist", "--workdir", str(workdir), *small.split(), *arguments]
    )


@pytest.mark.slow
def test_a_finished_run_says_so_and_a_longer_one_goes_on(tmp_path, capsys):
    assert leoclr(tmp_path) == 0
    printed = capsys.readouterr().out
    assert "Checkpoints: " in printed and "of the training time" in printed
    before = {
        path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != "lock"
    }
    assert leoclr(tmp_path) == 0
    assert "is finished" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in before} == before
    assert leoclr(tmp_path, "--epochs", "3") == 2
    error = capsys.readouterr().err
    assert "epochs" in error and "`--override` resumes with the new values" in error
    card = json.loads((tmp_path / "backbone.json").read_text())
    by_hand = card["licence"] | {"weights": "CC-BY-4.0"}
    (tmp_path / "backbone.json").write_text(json.dumps(card | {"licence": by_hand}))
    assert leoclr(tmp_path, "--epochs", "3", "--override") == 0
    assert json.loads((tmp_path / "backbone.json").read_text())["licence"] == by_hand
    assert "2 epochs and 0 steps are done" in capsys.readouterr().out
    assert len((tmp_path / "history.csv").read_text().splitlines()) == 1 + 3
    assert checkpoint_file.read_state(checkpoint_paths.paths(tmp_path / "checkpoints")[-1])["position"] == [
        3,
        0,
    ]
    epochs = [
        line["epoch"] for line in Results(tmp_path / "results.jsonl").read() if "speed/im" in line["name"]
    ]
    assert epochs == [1, 2, 3]


@backend_free
@pytest.mark.slow
def test_a_run_that_died_in_its_evaluation_has_every_result_once(tmp_path, monkeypatch):
    recipe = dataclasses.replace(
        RECIPE.smoke(), max_images=64, image_size=16, widths=(8, 16), knn_every=0, epochs=1
    )
    calls = []

    class Dying(evaluation.Linear):
        def run(self):
            calls.append(self)
            if len(calls) in (2, 5):  # before training, and after it in the process that went on
                raise MemoryError
            yield from super().run()

    monkeypatch.setattr(evaluation, "Linear", Dying)
    for _ in range(2):
        with pytest.raises(MemoryError):
            pretrain(recipe, tmp_path, verbose=0)
    final = pretrain(recipe, tmp_path, verbose=0)
    lines = [
        (r["name"], r.get("subject"), r.get("class")) for r in Results(tmp_path / "results.jsonl").read()
    ]
    assert len(lines) == len(set(lines))
    assert {who for _, who, _ in lines if who} == {"raw pixels", "random", "pretrained"}
    for name in ("knn/top1", "linear/top1"):
        assert {f"{who}/{name}" for who in ("raw pixels", "random", "pretrained")} <= final.keys()
    assert "pretrained/quality/class_accuracy" not in final
    assert pretrain(recipe, tmp_path, verbose=0) == final
