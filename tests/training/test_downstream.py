"""Detection and segmentation on a backbone, from the command line to the scores."""

import dataclasses
import importlib
import json
import os
import shutil
import signal
import time

import keras
import numpy as np
import pytest
from PIL import Image

import keras_leoclr as kl
from keras_leoclr import callbacks, cli
from keras_leoclr.commands.recipes import recipe_names
from keras_leoclr.evaluation.dense import average_precision
from keras_leoclr.recipes import detection, segmentation
from keras_leoclr.runs.results import Results
from keras_leoclr.training.downstream import load_splits, starting_pyramid
from tests.case import to_numpy
from tests.data.test_voc import made  # noqa: F401

pytest.importorskip("pycocotools")
SMALL = [
    "--image_size",
    32,
    "--width",
    8,
    "--steps",
    3,
    "--warmup_steps",
    1,
    "--batch_size",
    2,
    "--verbose",
    0,
]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    kl.backbones.resnet_small((16, 16, 3), widths=(8, 8, 8)).save(folder / "backbone.keras")
    (folder / "recipe.json").write_text(json.dumps({"mean": [0.5] * 3, "std": [0.25] * 3}))
    return folder


def command(*arguments):
    return cli.main(["leoclr", *map(str, arguments)])


def interrupted_in_its_first_step(monkeypatch):
    """The steps that end, in a list; the first is sent a signal."""
    steps = []

    def end_of_step(self, batch, logs=None):
        steps.append(batch)
        if steps == [0]:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.3)  # until the thread that reads signals had its turn
        real(self, batch, logs)

    real = callbacks.Checkpoint.on_train_batch_end
    monkeypatch.setattr(callbacks.Checkpoint, "on_train_batch_end", end_of_step)
    return steps


@pytest.mark.backend_free
@pytest.mark.slow
def test_a_detector_is_interrupted_goes_on_and_is_judged(
    run_folder,
    made,  # noqa: F811
    tmp_path,
    capsys,
    monkeypatch,
):
    workdir = tmp_path / "out"
    given = ["--backbone", run_folder, "--dataset", made, "--workdir", workdir, "--first_level", 1, *SMALL]
    given += ["--verbose", 2]
    steps = interrupted_in_its_first_step(monkeypatch)
    with pytest.raises(callbacks.Interrupted):
        command("detect", *given)
    assert [path.name for path in tmp_path.iterdir()] == ["out.partial"] and steps == [0]
    given[3] = f"{made.parent}/./{made.name}/"  # the same folder
    assert command("detect", *given) == 0  # the same command goes on
    printed = capsys.readouterr().out
    assert steps == [0, 1, 2] and "Going on after step 1 of 3." in printed and "AP50" in printed
    results = {r["name"]: r for r in Results(workdir / "results.jsonl").read()}
    assert {"detection/AP", "detection/AP50", "detection/AP75"} <= set(results)
    assert results["detection/AP"]["steps"] == 3 and results["detection/AP"]["backbone"] == str(run_folder)
    for found in json.loads((workdir / "detections.json").read_text()):
        top, left, bottom, right = found["box"]
        assert 0 <= top <= bottom <= 64 and 0 <= left <= right <= 64 and 0 <= found["score"] <= 1
    stock = keras.saving.load_model(workdir / "detector.keras")  # nothing of keras-cv is in it
    assert stock.output["classification"].shape[1] == 9 * (16**2 + 8**2 + 4**2 + 2**2 + 1)
    assert command("detect", *given) == 1
    assert (
        "`--workdir` must be a new folder or, with `--overwrite`, one with results of this command"
        in capsys.readouterr().err
    )
    (workdir / "checkpoints").mkdir()
    assert command("detect", *given, "--overwrite") == 1
    assert "with checkpoints, which `--overwrite` does not delete" in capsys.readouterr().err


@pytest.mark.backend_free
@pytest.mark.slow
def test_a_segmentation_is_interrupted_goes_on_and_is_judged(
    run_folder,
    made,  # noqa: F811
    tmp_path,
    capsys,
    monkeypatch,
):
    workdir = tmp_path / "out"
    given = ["--backbone", "random", "--architecture", run_folder, "--dataset", made, "--workdir", workdir]
    given += ["--first_level", 1, "--dilation_rates", "1,2", *SMALL, "--verbose", 2]
    steps = interrupted_in_its_first_step(monkeypatch)
    with pytest.raises(callbacks.Interrupted):
        command("segment", *given)
    assert [path.name for path in tmp_path.iterdir()] == ["out.partial"] and steps == [0]
    assert command("segment", *given, "--batch_size", 1) == 1
    assert "other settings; `--overwrite` deletes it. Received: " in (error := capsys.readouterr().err)
    assert "out.partial, with batch_size 2" in error
    assert command("segment", *given) == 0  # the same command goes on
    printed = capsys.readouterr().out
    assert steps == [0, 1, 2] and "Going on after step 1 of 3." in printed and "mIoU" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["out"] and not (workdir / "checkpoints").exists()
    results = {r["name"]: r["value"] for r in Results(workdir / "results.jsonl").read()}
    assert 0 <= results["segmentation/mIoU"] <= 1 and "segmentation/IoU background" in results
    importlib.import_module("keras_cv")  # its pooling layer is in the file
    model = keras.saving.load_model(workdir / "segmenter.keras")
    classes = model(np.zeros((1, 32, 32, 3), "float32"))
    assert tuple(classes.shape) == (1, 32, 32, 11)
    np.testing.assert_allclose(to_numpy(classes).sum(-1), 1, atol=1e-5)


def test_void_pixels_do_not_count_in_the_loss():
    rng = np.random.default_rng(0)
    classes = rng.dirichlet(np.ones(3), (2, 4, 4)).astype("float32")
    masks = rng.integers(0, 3, (2, 4, 4)).astype("uint8")
    masks[:, 0] = 255
    true = np.take_along_axis(classes, masks[..., None] % 255, -1)[:, 1:]
    loss = segmentation.pixel_loss(keras.ops.convert_to_tensor(masks), keras.ops.convert_to_tensor(classes))
    assert float(loss) == pytest.approx(-np.log(true).mean(), rel=1e-4)
    nothing = segmentation.pixel_loss(
        keras.ops.full((1, 2, 2), 255), keras.ops.convert_to_tensor(classes[:1, :2, :2])
    )
    assert float(nothing) == 0


@pytest.mark.backend_free
@pytest.mark.parametrize(("shape", "size"), [((15, 20), 21), ((375, 500), 512), ((12, 8), 4), ((7, 7), 7)])
def test_a_mask_that_is_resized_and_given_back_is_not_moved(shape, size):
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 5, shape, dtype=np.uint8)
    element = {"image": np.zeros((*shape, 3), np.uint8), "mask": mask}
    small = segmentation._sized(element, size)[1].numpy()
    back = segmentation.enlarged(small, shape)
    if size >= max(shape):  # nothing was lost
        np.testing.assert_array_equal(back, mask)
    else:
        np.testing.assert_array_equal(back, np.kron(small, np.ones((3, 2), np.uint8)))


@pytest.fixture(scope="module")
def small_detection(run_folder, made):  # noqa: F811
    return detection.Detection(
        backbone=str(run_folder), dataset=str(made), image_size=32, width=8, first_level=1, batch_size=2
    )


@pytest.mark.backend_free
def test_splits_with_nothing_to_learn_or_to_judge_are_refused_before_the_training(made, tmp_path):  # noqa: F811
    data = shutil.copytree(made, tmp_path / "data")
    (data / "classes.txt").write_text("background\ngarment\n")
    recipe = segmentation.Segmentation(dataset=str(data))
    for path in (data / "SegmentationClass").iterdir():  # as many tools write what is, and what is not
        Image.fromarray(255 * (np.array(Image.open(path)) > 0).astype("uint8")).save(path)
    words = "`train_split` must have pixels of two classes; 255 marks pixels without a class. "
    with pytest.raises(ValueError, match=words + "Received: train_split='train', with background$"):
        load_splits(recipe, "masks")
    for path in (data / "SegmentationClass").iterdir():
        there = np.array(Image.open(path)) > 0
        Image.fromarray(np.uint8(there if "train" in path.name else 255 + 0 * there)).save(path)
    with pytest.raises(ValueError, match=r"`test_split` must have pixels of a class; 255 .* with none$"):
        load_splits(recipe, "masks")
    shutil.copy(made / "classes.txt", data)
    for name in ("val", "train"):
        for path in (data / "Annotations").glob(f"{name}_*"):
            path.write_text(path.read_text().replace("<difficult>0", "<difficult>1"))
        words = f"`{name.replace('val', 'test')}_split` must have objects that are not difficult. Received: "
        with pytest.raises(ValueError, match=words + f".*_split='{name}', with none$"):
            load_splits(detection.Detection(dataset=str(data)), "boxes")


@pytest.mark.backend_free
def test_test_pictures_that_are_trained_on_are_told(small_detection):
    both = dataclasses.replace(small_detection, train_split="train", test_split="train[50%:]")
    with pytest.warns(UserWarning, match=r"\(train\[50%:\]\) are among those that .* \(train\)"):
        load_splits(both, "boxes")


@pytest.mark.backend_free
def test_what_the_detector_is_taught_decodes_to_the_true_boxes(small_detection):
    """Anchors, targets, decoding, suppression and the return to the picture's pixels are one loop."""
    train = load_splits(small_detection, "boxes")[0]
    model = detection.detector(small_detection, len(train.class_names))
    images, labels = next(
        iter(detection.batches(train, dataclasses.replace(small_detection, flip_probability=0.0)))
    )
    boxes, classes = model.label_encoder(images, {name: keras.ops.copy(v) for name, v in labels.items()})
    classes = np.asarray(classes)
    assert (classes >= 0).any(), "no anchor has an object"
    logits = np.full((*classes.shape, len(train.class_names)), -20.0, "float32")
    rows, anchors = np.nonzero(classes >= 0)
    logits[rows, anchors, classes[rows, anchors].astype(int)] = 20.0
    raw = {"box": boxes, "classification": keras.ops.convert_to_tensor(logits)}
    found = model.decode_predictions(raw, images)
    for row in range(2):
        count = int(found["num_detections"][row])
        known = np.asarray(labels["classes"][row])
        taught = {int(c) for c in classes[row] if c >= 0}
        for box, number in zip(
            np.asarray(found["boxes"])[row, :count], np.asarray(found["classes"])[row, :count], strict=True
        ):
            mine = np.asarray(labels["boxes"])[row][known == number]
            assert np.abs(mine - box).max(axis=1).min() < 0.1
        assert {int(c) for c in np.asarray(found["classes"])[row, :count]} == taught


@pytest.mark.backend_free
def test_mirrored_pictures_have_mirrored_boxes_and_masks(small_detection, run_folder, made):  # noqa: F811
    train = load_splits(small_detection, "boxes")[0]
    plain, mirrored = (
        next(iter(detection.batches(train, dataclasses.replace(small_detection, flip_probability=p))))
        for p in (0.0, 1.0)
    )
    np.testing.assert_allclose(plain[0][:, :, ::-1], mirrored[0])
    real = np.asarray(plain[1]["classes"]) >= 0
    left, top, right, bottom = np.moveaxis(np.asarray(plain[1]["boxes"])[real], -1, 0)
    np.testing.assert_allclose(
        np.asarray(mirrored[1]["boxes"])[real], np.stack([32 - right, top, 32 - left, bottom], -1), atol=1e-4
    )
    recipe = segmentation.Segmentation(
        backbone=str(run_folder), dataset=str(made), image_size=32, batch_size=2
    )
    masks = load_splits(recipe, "masks")[0]
    plain, mirrored = (
        next(iter(segmentation.batches(masks, dataclasses.replace(recipe, flip_probability=p))))
        for p in (0.0, 1.0)
    )
    np.testing.assert_array_equal(plain[1][:, :, ::-1], mirrored[1])
    assert np.asarray(plain[1]).any()


@pytest.mark.backend_free
def test_batches_go_on_from_any_of_them(small_detection):
    train = load_splits(small_detection, "boxes")[0]
    whole, rest = (list(detection.batches(train, small_detection, n).take(5 - n)) for n in (0, 3))
    for expected, found in zip(whole[3:], rest, strict=True):
        np.testing.assert_array_equal(expected[0], found[0])
        np.testing.assert_array_equal(expected[1]["boxes"], found[1]["boxes"])


@pytest.mark.backend_free
def test_true_boxes_given_back_score_one(small_detection):
    test = load_splits(small_detection, "boxes")[1]
    model = detection.detector(small_detection, len(test.class_names))
    truth = [objects for objects, _ in detection.detections(model, test, small_detection)]
    assert len(truth) == test.count == 3
    given = [type(o)(o.boxes, o.classes, np.ones(len(o.classes))) for o in truth]
    assert average_precision(truth, given, test.class_names)["AP"] == pytest.approx(1)


def test_missing_levels_are_pooled_and_shares_the_pretrained_weights(run_folder):
    recipe = detection.Detection(backbone=str(run_folder), image_size=32)
    base = starting_pyramid(recipe, (2, 3, 4), ("P3", "P4", "P5"))
    assert [tensor.shape[1] for tensor in base.output.values()] == [8, 4, 2]
    kernel = keras.saving.load_model(run_folder / "backbone.keras").get_weights()[0]
    assert any(w.shape == kernel.shape and np.array_equal(w, kernel) for w in base.get_weights())
    frozen = starting_pyramid(dataclasses.replace(recipe, freeze=True), (2, 3, 4), ("P3", "P4", "P5"))
    assert base.trainable_weights and not frozen.trainable_weights
    with pytest.raises(ValueError, match="`image_size` must be a multiple of 16"):
        starting_pyramid(dataclasses.replace(recipe, image_size=40), (2, 3, 4), ("P3", "P4", "P5"))
    with pytest.raises(ValueError, match="maps of the strides 1, 2, 4"):
        starting_pyramid(recipe, (0, 1, 2), ("P3", "P4", "P5"))


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["detect"], "`--workdir` must name a folder"),
        (["segment", "x", "--workdir", "w"], "takes flags only"),
        (["detect", "--workdir", "w", "--steps", 0], "`--steps` must be >= 1"),
        (["detect", "--workdir", "w", "--steps", 5, "--warmup_steps", 5], "`--warmup_steps` must lie in"),
        (["segment", "--workdir", "w", "--learning_rate", -1], "`--learning_rate` must be > 0"),
        (["segment", "--workdir", "w", "--dilation_rates", "0,6"], "`--dilation_rates` must be >= 1"),
    ],
)
def test_wrong_usage_of_detect_and_segment(arguments, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command(*arguments) == 2
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.backend_free
def test_a_training_that_cannot_start_leaves_nothing(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert command("detect", "--workdir", "w", "--dataset", "nowhere") == 1
    assert "`--dataset` must be tfds:NAME or a folder in VOC's format" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.backend_free
def test_recipes_are_listed_and_help_names_every_field(capsys):
    assert command("recipes") == 0
    listed = capsys.readouterr().out
    assert "detection" in listed and "segmentation" in listed and "downstream " not in listed
    assert "detection" not in recipe_names()  # `leoclr pretrain` does not take it
    for name, recipe in (("detect", detection.RECIPE), ("segment", segmentation.RECIPE)):
        assert command(name, "--help") == 0
        text = capsys.readouterr().out
        for field in dataclasses.fields(recipe):
            assert f"--{field.name} " in text or f"--[no]{field.name} " in text
