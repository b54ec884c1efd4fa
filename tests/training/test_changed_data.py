"""A run that goes on where its images have changed, or lie elsewhere."""

import dataclasses
import os
import pathlib
import shutil

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from keras_leoclr.callbacks.checkpoint import _at_same_share
from keras_leoclr.checkpointing.fit import Position
from keras_leoclr.recipes import fashion_mnist, image_folder, pretrain
from keras_leoclr.runs import checkpoint_file, checkpoint_paths
from keras_leoclr.runs.data_record import DataRecord, changes, nothing_in_common
from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.training import settling
from keras_leoclr.training.build import make_optimizer
from keras_leoclr.training.run_data import RunData
from keras_leoclr.training.session import ChangedDataError, ChangedRecipeError, RunSession
from keras_leoclr.training.sources import RunSources, load_split
from tests.pictures import encoded, picture

backend_free = pytest.mark.backend_free
EPOCHS, STEPS, BATCH = 3, 3, 8


def write_pictures(folder, count, first=0):
    for number in range(first, first + count):
        path = folder / f"class{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(picture("RGB", 20, 20).point(lambda value, n=number: value // 2 + n), "PNG"))


def recipe_of(folder, **changed):
    return dataclasses.replace(
        fashion_mnist.RECIPE.smoke(),
        dataset=str(folder),
        image_size=16,
        widths=(8, 16),
        max_images=0,
        batch_size=BATCH,
        epochs=EPOCHS,
        queue_size=16,
        knn_every=3,
        knn_bank=16,
        knn_queries=8,
        map_images=0,
        **changed,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder of pictures and a run of nine steps, with the checkpoint of each."""
    place = tmp_path_factory.mktemp("trained")
    write_pictures(place / "data" / "train", STEPS * BATCH)
    write_pictures(place / "data" / "test", 4, first=100)
    options = {"verbose": 0, "keep": 20, "checkpoint_minutes": 0, "checkpoint_budget": 1}
    pretrain(recipe_of(place / "data"), place / "run", **options)
    return place


@pytest.fixture
def stopped(trained, tmp_path):
    """A copy of it: called with a number of steps, the folder of a run that was interrupted after them."""

    def after(steps):
        shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
        run = RunFolder(tmp_path / "run")
        for path in checkpoint_paths.paths(run.checkpoints):
            if path > checkpoint_paths.path_of(run.checkpoints, steps):
                path.unlink()
        run.write_about(run.about() | {"finished": False})
        run.write_recipe(run.recipe() | {"dataset": str(tmp_path / "data")})
        return run

    return after


def go_on(run, **options):
    changed = {name: options.pop(name) for name in ("dataset", "epochs") if name in options}
    recipe = dataclasses.replace(recipe_of(run.path.parent / "data"), **changed)
    return pretrain(recipe, run.path, verbose=0, **options)


def look(run, override=False, dataset=None):
    """What a start finds out before it trains."""
    recipe = recipe_of(dataset or run.path.parent / "data")
    with RunSession(run.path, recipe, override=override) as session:
        sources = RunSources.load(session.recipe, session.compare_data)
        return session, sources


# === Training goes on ===


@pytest.mark.parametrize(("steps", "pictures"), [(6, 40), (4, 17)])
def test_a_run_ends_by_the_schedule_of_the_images_that_are_there(stopped, steps, pictures, capsys):
    run = stopped(steps)
    folder = run.path.parent / "data" / "train"
    if pictures > STEPS * BATCH:
        write_pictures(folder, pictures - STEPS * BATCH, first=STEPS * BATCH)
    for number in range(pictures, STEPS * BATCH):
        (folder / f"class{number % 2}" / f"{number}.png").unlink()
    with pytest.raises(ChangedDataError, match=r"`override` goes on") as raised:
        go_on(run)
    assert f"24 images before, {pictures} now" in str(raised.value)
    go_on(run, override=True)
    paths = checkpoint_paths.paths(run.checkpoints)
    assert paths[-1] == checkpoint_paths.path_of(run.checkpoints, EPOCHS * (pictures // BATCH))
    state = checkpoint_file.read_state(paths[-1])
    assert state["position"] == [EPOCHS, 0] and state["steps"] == pictures // BATCH
    head, *lines = run.history_file.read_text().splitlines()
    assert len(lines) == EPOCHS
    rates = [float(line.split(",")[head.split(",").index("learning_rate")]) for line in lines]
    recipe, total = recipe_of(run.path.parent / "data"), EPOCHS * (pictures // BATCH)
    schedule = make_optimizer(recipe, pictures // BATCH)._learning_rate
    assert rates[0] > rates[1] > rates[2] == pytest.approx(float(schedule(total - 1)))
    assert float(schedule(total)) == pytest.approx(0, abs=1e-6)
    assert run.about()["finished"] and run.about()["data"]["train"]["count"] == pictures
    random = [line for line in run.results.read() if line.get("subject") == "random"]
    assert random and {line["train_images"] for line in random} == {pictures}
    assert len({line["name"] for line in random if line["name"] == "knn/top1"}) == 1
    session, _ = look(run)  # and starts again as it is
    assert not session.changed


# === What is found out before anything is trained ===


@backend_free
def test_files_that_were_added_removed_or_changed_are_named(stopped):
    run = stopped(4)
    folder = run.path.parent / "data" / "train"
    write_pictures(folder, 1, first=30)
    (folder / "class1" / "1.png").unlink()
    path = folder / "class0" / "2.png"
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(bytes(data))
    os.utime(path, ns=(1, 1))
    with pytest.raises(ChangedDataError) as raised:
        look(run)
    line = str(raised.value).splitlines()[-1]
    assert line == (
        "  train: 1 added (class0/30.png), 1 removed (class1/1.png), 1 changed (class0/2.png); "
        "24 images before, 24 now"
    )
    session, _ = look(run, override=True)
    assert session.changed.keys() == {"train"} and session.about["overridden"] == ["data"]


@backend_free
def test_a_picture_that_was_removed_does_not_end_in_knn_sizes_of_the_old_number(stopped):
    run = stopped(4)
    (run.path.parent / "data" / "train" / "class1" / "1.png").unlink()
    with pytest.raises(ChangedDataError, match=r"1 removed \(class1/1.png\); 24 images before, 23 now"):
        look(run)
    _, sources = look(run, override=True)
    assert sources.knn == (18, 5)


@backend_free
def test_what_was_chosen_by_the_pictures_is_chosen_anew_with_override(stopped):
    run = stopped(4)
    folder = run.path.parent / "data"
    asked = {"dataset": str(folder), "method": "moco_v2", "batch_size": BATCH}
    run.write_recipe(run.recipe() | {"method": "moco_v2"})

    def settled(**options):
        recipe, settle = settling.requested(image_folder, "full", asked, run.path, **options)
        return settle(recipe)

    kept, _ = settled(override=True)
    assert (kept.knn_bank, kept.knn_queries, kept.epochs) == (16, 8, EPOCHS)  # the pictures are the same
    write_pictures(folder / "train", 20, first=STEPS * BATCH)
    kept, _ = settled()
    assert (kept.knn_bank, kept.epochs) == (16, EPOCHS)
    anew, lines = settled(override=True)
    assert (anew.knn_bank, anew.knn_queries, anew.epochs, anew.queue_size) == (35, 9, 800, 16)
    assert any(line.startswith("knn_bank 35:") for line in lines)
    assert "queue_size 16" in lines[0] and "knn_bank" not in lines[0]


@backend_free
def test_a_part_that_was_drawn_is_compared_with_the_same_part(stopped):
    run = stopped(4)
    folder = run.path.parent / "data"
    asked = {"dataset": str(folder), "method": "moco_v2", "batch_size": BATCH, "max_images": 16}
    run.write_recipe(run.recipe() | {"method": "moco_v2", "max_images": 16})
    part = load_split(dataclasses.replace(recipe_of(folder), max_images=16), "train")
    record = RunData({"train": part}, str(folder)).record
    record.write_files(run.data_file)
    run.write_about(run.about() | {"data": record.about})
    recipe, settle = settling.requested(image_folder, "full", asked, run.path, override=True)
    assert settle(recipe)[0].epochs == EPOCHS
    (folder / "train" / next(iter(record.files["train"]))).unlink()
    assert settle(recipe)[0].epochs != EPOCHS


@backend_free
@pytest.mark.parametrize("spelled", ["{}/data/", "{}/./data", "relative", "moved", "copied", "{}/data/train"])
def test_the_same_pictures_elsewhere_are_the_same_data(stopped, spelled, tmp_path, monkeypatch):
    run = stopped(4)
    name = spelled.format(tmp_path)
    if spelled == "relative":
        monkeypatch.chdir(tmp_path)
        name = "data"
    if spelled in ("moved", "copied"):
        name = str(tmp_path / "other")
        copy = shutil.copytree(tmp_path / "data", name)
        if spelled == "copied":
            for number, path in enumerate(pathlib.Path(copy).rglob("*.png")):
                os.utime(path, ns=(number, number))
        shutil.rmtree(tmp_path / "data")
    if spelled.endswith("train"):
        recipe = dataclasses.replace(recipe_of(name), evaluate=False)
        with RunSession(run.path, recipe, override=True) as session:
            RunSources.load(session.recipe, session.compare_data)
    else:
        session, _ = look(run, dataset=name)
    assert not session.changed
    here = spelled in ("{}/data/", "{}/./data", "relative")
    assert session.recipe.dataset == (str(tmp_path / "data") if here else name)


@backend_free
def test_a_run_inside_of_its_own_data_set_goes_on_with_the_same_pictures(stopped, tmp_path):
    inside = tmp_path / "data" / "train" / "r"
    shutil.move(stopped(4).path, inside)
    (inside / "evaluation").mkdir(exist_ok=True)
    shutil.copy(inside / "views.png", inside / "evaluation" / "map.png")
    with pytest.warns(UserWarning, match="1 folder that holds a run is left out: r in"):
        session, sources = look(RunFolder(inside), dataset=tmp_path / "data")
    assert not session.changed and sources.train.class_names == ("class0", "class1")


@backend_free
def test_another_data_set_is_refused_also_with_override(stopped, tmp_path):
    run = stopped(4)
    for split, first in (("train", 200), ("test", 300)):
        write_pictures(tmp_path / "other" / split, 24, first=first)
    for override in (False, True):
        for dataset in (tmp_path / "other", "fashion_mnist"):
            with pytest.raises(ChangedRecipeError, match="`override` cannot change dataset"):
                look(run, override, dataset)
    run.write_about(run.about() | {"finished": True})
    with pytest.raises(ChangedRecipeError, match="`override` cannot change dataset"):
        go_on(run, dataset="fashion_mnist")


@backend_free
@pytest.mark.parametrize("left", ["finished", "trained", "backbone.keras"])
def test_a_run_whose_checkpoints_were_deleted_is_not_trained_anew_by_other_settings(stopped, left):
    run = stopped(4)
    assert run.backbone_file.is_file()
    shutil.rmtree(run.checkpoints)
    before = run.results_file.read_bytes()
    run.write_about(run.about() | {"finished": left == "finished", "trained": left == "trained"})
    if left != "backbone.keras":
        run.backbone_file.unlink()
    with pytest.raises(ChangedRecipeError, match="`override` resumes with the new values"):
        go_on(run, epochs=EPOCHS + 1)
    assert run.results_file.read_bytes() == before
    asked = {"dataset": str(run.path.parent / "data"), "method": "moco_v2", "batch_size": BATCH}
    recipe, settle = settling.requested(image_folder, "full", asked, run.path)
    assert settle(recipe)[0].epochs == EPOCHS


# === What decides ===

names = st.sampled_from("abcdef")
files = st.dictionaries(
    names, st.tuples(st.integers(0, 2), st.integers(0, 2), st.none() | st.integers(0, 2)), max_size=6
)


def record(table):
    about = {"train": {"count": len(table), "content": str(sorted(table))}}
    return DataRecord(about, {"train": {name: list(row) for name, row in table.items()}})


@backend_free
@settings(max_examples=300, deadline=None)
@given(before=files, now=files, content=st.dictionaries(names, st.integers(0, 2)))
def test_every_change_of_the_files_is_found(before, now, content):
    found = changes(record(before), record(now), lambda _, name: content.get(name))
    common = before.keys() & now.keys()
    touched = {n for n in common if before[n][1] != now[n][1] and before[n][0] == now[n][0]}
    proven = {n for n in touched if before[n][2] is not None}
    same = {n for n in proven if before[n][2] == content.get(n)}
    by_copying = touched - proven if proven and proven == same else set()
    changed = {n for n in common if before[n][0] != now[n][0]} | (touched - same - by_copying)
    expected = [sorted(now.keys() - before.keys()), sorted(before.keys() - now.keys()), sorted(changed)]
    if not any(expected):
        assert found == {}
        return
    change = found["train"]
    assert [change.added, change.removed, change.changed] == expected
    assert change.counts == (len(before), len(now))
    assert nothing_in_common(record(before), record(now), "train") == (not common)


@backend_free
@settings(max_examples=300, deadline=None)
@given(
    epoch=st.integers(0, 5),
    old=st.integers(1, 60),
    new=st.integers(1, 60),
    share=st.floats(0, 1, exclude_max=True),
)
def test_training_goes_on_at_the_same_share_of_the_epoch(epoch, old, new, share):
    batch = int(share * old)
    at = _at_same_share(Position(epoch, batch), old, new)
    assert 0 <= at.batch < new  # the end of an epoch is the beginning of the next
    done = at.epoch + at.batch / new
    assert abs(done - (epoch + batch / old)) <= 0.5 / new + 1e-9
    assert at == Position(epoch, batch) or old != new
    if batch == 0:
        assert at == Position(epoch, 0)


@backend_free
def test_a_record_is_read_as_it_was_written(tmp_path):
    files = {"train": {"a\udcff.png": [1, 1 << 62, None], "b.png": [2, 3, "0f"]}}
    DataRecord({}, files).write_files(tmp_path / "data.json.gz")
    assert DataRecord.read_files(tmp_path / "data.json.gz") == files
    whole = (tmp_path / "data.json.gz").read_bytes()
    for damaged in (b"\x1f\x8b damaged", whole[:10] + b"\xff" * 8 + whole[18:], whole[:-9], b""):
        (tmp_path / "data.json.gz").write_bytes(damaged)
        assert DataRecord.read_files(tmp_path / "data.json.gz") == {}
    np.testing.assert_equal(DataRecord.read_files(tmp_path / "none"), {})


@backend_free
def test_other_labels_in_the_same_files_are_a_change(tmp_path):
    folder = tmp_path / "scenes"
    write_pictures(folder, 4)
    rows = ["class0/0.png,cat|dog", "class1/1.png,cat", "class0/2.png,", "class1/3.png,dog"]

    def record(lines):
        (folder / "labels.csv").write_text("\n".join(["file,labels", *lines]))
        return RunData({"train": load_split(recipe_of(folder), "train")}, str(folder)).record

    before = record(rows)
    assert not changes(before, record(rows[::-1]), None)
    (change,) = changes(before, record([*rows[:3], "class1/3.png,cat"]), None).values()
    assert str(change) == "other labels; 4 images before, 4 now"
    (folder / "labels.csv").unlink()
    now = RunData({"train": load_split(recipe_of(folder), "train")}, str(folder)).record
    assert changes(before, now, None)["train"].labels
