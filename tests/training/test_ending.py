"""What fails after the last epoch does not cost the training."""

import dataclasses
import json
import warnings

import keras
import numpy as np
import pytest

from keras_leoclr import cli, evaluation, model_card, report
from keras_leoclr.recipes import fashion_mnist, pretrain
from keras_leoclr.report.reading import read_run
from keras_leoclr.runs import checkpoint_folder
from keras_leoclr.runs.folder import RunFolder
from keras_leoclr.runs.status import read_status
from keras_leoclr.training.ending import Ending

RECIPE = dataclasses.replace(
    fashion_mnist.RECIPE.smoke(),
    max_images=64,
    image_size=16,
    widths=(8, 16),
    knn_every=0,
    epochs=1,
    queue_size=32,
    map_images=8,
)


def broken(*_, **__):
    raise RuntimeError("no room on\nthe device")


def test_an_evaluation_that_fails_leaves_the_backbone_and_is_repeated(tmp_path, monkeypatch, capsys):
    folder = RunFolder(tmp_path / "run")
    with monkeypatch.context() as patched:
        calls = []

        class Few(evaluation.FewLabels):
            def run(self):
                calls.append(self)
                if len(calls) == 3:  # after raw pixels and the random backbone
                    broken()
                yield from super().run()

        patched.setattr(evaluation, "FewLabels", Few)
        with pytest.raises(RuntimeError, match="no room") as raised:
            pretrain(RECIPE, folder.path, verbose=1)
    printed = capsys.readouterr().out
    told = (
        "The training is finished and its backbone is saved. This failed after it:\n"
        "  few: RuntimeError: no room on\nIt is repeated by\n"
        f"  leoclr evaluate few --workdir {folder.path}\n  leoclr report {folder.path}"
    )
    assert told in printed and told in "".join(getattr(raised.value, "__notes__", [told]))
    assert keras.saving.load_model(folder.backbone_file).output_shape == (None, 16)
    about = folder.about()
    assert (
        about["trained"] and not about["finished"] and about["failed"] == {"few": "RuntimeError: no room on"}
    )
    done = {line["name"] for line in folder.results.read() if line.get("subject") == "pretrained"}
    assert {"knn/top1", "linear/top1", "embedding/explained", "quality/uniformity"} & done
    assert "embedding/explained" in done and "linear_few/top1" not in done
    assert read_status(folder.path)["state"] == "failed"
    assert "what came after it failed: few (RuntimeError: no room on)" in read_run(folder.path).missing[0]
    assert "what came after it failed" in folder.report_file.read_text()

    assert cli.main(["leoclr", "evaluate", "few", "--workdir", str(folder.path), "--per_class", "2"]) == 0
    assert folder.about()["finished"] and "failed" not in folder.about()
    assert read_status(folder.path)["state"] == "finished"
    assert cli.main(["leoclr", "report", str(folder.path)]) == 0
    assert "what came after it failed" not in folder.report_file.read_text()


@pytest.mark.backend_free
def test_a_page_that_fails_leaves_a_finished_run(tmp_path, monkeypatch):
    folder = RunFolder(tmp_path)
    recipe = dataclasses.replace(RECIPE, evaluate=False, map_images=0)
    with monkeypatch.context() as patched:
        patched.setattr(report, "write_report", broken)
        patched.setattr(model_card, "write", broken)
        with pytest.raises(RuntimeError), warnings.catch_warnings():
            pretrain(recipe, folder.path, verbose=0)
    assert folder.about()["trained"] and folder.about()["failed"] == {
        "model card": "RuntimeError: no room on"
    }
    with monkeypatch.context() as patched:
        patched.setattr(report, "write_report", broken)
        with pytest.raises(RuntimeError):
            pretrain(recipe, folder.path, verbose=0)  # trains no more
    assert folder.about()["finished"] and len(folder.history_file.read_text().splitlines()) == 2
    assert json.loads(folder.card_file.read_text())["data"]["images"] == 64
    assert read_status(folder.path)["state"] == "finished"
    assert pretrain(recipe, folder.path, verbose=0) == {}


class Stop(keras.callbacks.Callback):
    """Ends the training after the second step of the second epoch."""

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == (1, 1):
            self.model.stop_training = True


@pytest.mark.backend_free
def test_a_training_that_a_callback_has_ended_does_not_go_on_where_its_end_is_repeated(
    tmp_path, monkeypatch, capsys
):
    folder = RunFolder(tmp_path)
    recipe = dataclasses.replace(RECIPE, evaluate=False, map_images=0, epochs=3, batch_size=16)
    with monkeypatch.context() as patched:
        patched.setattr(model_card, "write", broken)
        with pytest.raises(RuntimeError, match="no room"):
            pretrain(recipe, folder.path, verbose=1, callbacks=[Stop()])
    assert "ended the training after 1 of 3 epochs and 2 of 4 steps" in capsys.readouterr().out
    about, before = folder.about(), keras.saving.load_model(folder.backbone_file).get_weights()
    assert about["epochs_done"] == 1 and about["trained"] and not about["finished"]
    pretrain(recipe, folder.path, verbose=1)
    printed = capsys.readouterr().out
    assert "A callback has ended the training of this run" in printed
    assert folder.about()["finished"] and folder.about()["epochs_done"] == 1
    for was, now in zip(before, keras.saving.load_model(folder.backbone_file).get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)
    pretrain(dataclasses.replace(recipe, epochs=4), folder.path, override=True, verbose=0)
    assert checkpoint_folder.position(folder.checkpoints) == (4, 0)
    assert [line.split(",")[0] for line in folder.history_file.read_text().splitlines()[1:]] == list("0123")
    assert "epochs_done" not in folder.about()


@pytest.mark.backend_free
def test_every_part_is_tried_and_the_commands_repeat_what_failed():
    ending = Ending("my runs/a")
    for name, flags in (("knn", ""), ("linear", ""), ("embedding", "--test_split train"), ("page", None)):
        with ending.part(name, flags):
            if name != "knn":
                raise ValueError(name)
    assert list(ending.failed) == ["linear", "embedding", "page"]
    assert ending.left() == {"linear": "ValueError: linear", "embedding": "ValueError: embedding"}
    assert ending.commands() == [
        "leoclr evaluate linear --workdir 'my runs/a'",
        "leoclr evaluate embedding --workdir 'my runs/a' --test_split train",
        "leoclr report 'my runs/a'",
    ]
    with pytest.raises(KeyboardInterrupt), ending.part("model"):
        raise KeyboardInterrupt
    with pytest.raises(ValueError, match="linear"):
        ending.raise_first()
    with ending.part("model"):
        raise OSError
    # alone: it puts `results.jsonl` back to what it was before the evaluations, and makes them
    assert ending.commands() == ["the same `leoclr pretrain` again, which trains no more"]
    ending = Ending("a")
    for name in ("table", "page"):
        with ending.part(name):
            raise OSError
    assert ending.left() == {} and ending.commands() == ["leoclr report a"]
