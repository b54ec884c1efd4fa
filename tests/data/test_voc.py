"""Pictures with boxes or masks: folders in VOC's format and TensorFlow Datasets."""

import importlib.util
import pathlib
import socket

import numpy as np
import pytest
from PIL import Image

from keras_leoclr.data import load
from keras_leoclr.data.readers import voc
from keras_leoclr.data.readers.voc import load_annotated
from keras_leoclr.data.readers.voc_annotations import AnnotationError, read_boxes, read_mask
from keras_leoclr.tensorflow_host import tf
from tests.pictures import encoded, jpeg, picture

pytest.importorskip("defusedxml")
pytestmark = pytest.mark.backend_free
TOOLS = pathlib.Path(__file__).parents[2] / "tools"


def pasted_objects():
    """The maker of small data sets, a script."""
    spec = importlib.util.spec_from_file_location("pasted_objects", TOOLS / "pasted_objects.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("voc")
    pasted_objects().make(folder, {"train": 6, "val": 3}, size=64)
    return folder


def annotation(objects="", size="<size><width>53</width><height>37</height></size>", head=""):
    return f"<?xml version='1.0'?>{head}<annotation>{size}{objects}</annotation>"


def one(name="cat", xmin=1, ymin=1, xmax=53, ymax=37, more=""):
    sides = {"xmin": xmin, "ymin": ymin, "xmax": xmax, "ymax": ymax}
    box = "".join(f"<{side}>{value}</{side}>" for side, value in sides.items())
    return f"<object><name>{name}</name><bndbox>{box}</bndbox>{more}</object>"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two pictures of 53 x 37 pixels, the second turned by its EXIF orientation."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("JPEGImages", "Annotations", "SegmentationClass"):
        (tmp_path / name).mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "JPEGImages" / "a b.jpg").write_bytes(jpeg(0))
    (tmp_path / "JPEGImages" / "ü.jpg").write_bytes(encoded(picture(), "JPEG", exif=exif.tobytes()))
    part = "<part><name>head</name><bndbox><xmin>2</xmin></bndbox></part>"
    objects = one(xmin=1, ymin=20, xmax=10, ymax=37, more=part) + one("dog", more="<difficult>1</difficult>")
    (tmp_path / "Annotations" / "a b.xml").write_text(annotation(objects))
    turned = "<size><width>37</width><height>53</height></size>"
    (tmp_path / "Annotations" / "ü.xml").write_text(annotation(one(xmax=37, ymax=53), turned))
    for name, shape in (("a b", (37, 53)), ("ü", (53, 37))):
        mask = np.zeros(shape, np.uint8)
        mask[:5], mask[5:7] = 15, 255
        image = Image.fromarray(mask)
        image.putpalette(bytes(range(256)) * 3)
        image.save(tmp_path / "SegmentationClass" / f"{name}.png")
    return tmp_path


def elements(data, seed=None, take=None):
    dataset = data.elements(seed)
    assert dataset.options().autotune.enabled is False
    return list((dataset if take is None else dataset.take(take)).as_numpy_iterator())


# === Folders ===


def test_boxes_of_a_folder_are_shares_of_the_turned_picture(folder):
    data = load_annotated(str(folder), "train", "boxes")
    assert (data.class_names, data.count) == (("cat", "dog"), 2)
    by_shape = {element["image"].shape[:2]: element for element in elements(data)}
    plain = by_shape[37, 53]
    np.testing.assert_allclose(plain["boxes"], [[19 / 37, 0, 1, 10 / 53], [0, 0, 1, 1]], atol=1e-6)
    assert plain["classes"].tolist() == [0, 1] and plain["difficult"].tolist() == [False, True]
    np.testing.assert_allclose(by_shape[53, 37]["boxes"], [[0, 0, 1, 1]])


def test_masks_of_a_folder_are_palette_numbers(folder):
    data = load_annotated(str(folder), "train", "masks")
    assert data.class_names[0] == "background" and data.class_names[15] == "person"
    for element in elements(data):
        assert element["mask"].shape == element["image"].shape[:2]
        assert np.unique(element["mask"]).tolist() == [0, 15, 255] and (element["mask"][:5] == 15).all()


@pytest.mark.parametrize(
    ("given", "words"),
    [(["--size", "55"], "`--size` must be >= 56, the side"), (["--val", "0"], "`--val` must be >= 1. Rec")],
)
def test_the_maker_refuses_what_has_no_place(given, words, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["pasted_objects.py", str(tmp_path / "new"), *given])
    with pytest.raises(SystemExit):
        pasted_objects().main()
    assert words in capsys.readouterr().err and not (tmp_path / "new").exists()


def test_a_seed_gives_every_picture_once_in_an_order_of_its_own(made):
    data = load_annotated(str(made), "train", "boxes")
    in_order = [element["image"].tobytes() for element in elements(data)]
    shuffled = [element["image"].tobytes() for element in elements(data, seed=3, take=18)]
    passes = [shuffled[start : start + 6] for start in (0, 6, 12)]
    assert all(sorted(one_pass) == sorted(in_order) for one_pass in passes)
    assert len({tuple(one_pass) for one_pass in passes}) > 1
    assert shuffled == [element["image"].tobytes() for element in elements(data, seed=3, take=18)]


def test_splits_are_those_of_image_sets_and_their_slices(made, folder):
    assert load_annotated(str(made), "val", "masks").count == 3
    assert load_annotated(str(made), "train[:50%]", "boxes").count == 3
    with pytest.raises(
        ValueError, match=r"`split` must be one of .*Main: train, val. Received: split='test'"
    ):
        load_annotated(str(made), "test", "boxes")
    assert load_annotated(str(folder), "train[1:]", "boxes").count == 1
    with pytest.raises(ValueError, match='without ImageSets/Main must be "train" or a slice'):
        load_annotated(str(folder), "val", "boxes")


def test_made_pictures_agree_with_their_boxes_and_masks(made):
    pairs = zip(
        elements(load_annotated(str(made), "train", "boxes", pasted_objects().CLASSES)),
        elements(load_annotated(str(made), "train", "masks")),
        strict=True,
    )
    for boxes, masks in pairs:
        np.testing.assert_array_equal(boxes["image"], masks["image"])
        assert len(boxes["boxes"]) >= 1
        covered = np.zeros(masks["mask"].shape, bool)
        for box, number in zip(np.round(boxes["boxes"] * 64).astype(int), boxes["classes"], strict=True):
            inside = masks["mask"][box[0] : box[2], box[1] : box[3]]
            assert (inside == number + 1).any()
            covered[box[0] : box[2], box[1] : box[3]] = True
        assert not masks["mask"][~covered].any()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<annotation>", "no XML that can be read"),
        (annotation(head="<!DOCTYPE a [<!ENTITY b 'c'>]>"), "must not have a document type or entities"),
        (annotation(one(xmax=60)), "object 1, cat, must have a box within the picture of 53 x 37 pixels"),
        (annotation(one() + one("dog", xmin=9, xmax=7)), "object 2, dog, must have a box"),
        (annotation(one(ymin="nan")), "Received: xmin 1, ymin nan"),
        (annotation(one(xmin="")), "must have a box"),
        (annotation("<object><name>cat</name></object>"), "object 1 must have a name and a bndbox"),
        (annotation("", "<size><width>x</width><height>1</height></size>"), "size must be whole numbers"),
        (annotation(one(), "<size><width>99</width><height>37</height></size>"), "size must be that of"),
        (annotation(one(xmax=54), ""), "boxes must lie within the picture, 53 x 37"),
        (annotation(one("unicorn")), "class must be one of cat, dog. Received: unicorn"),
    ],
)
def test_bad_annotations_are_named(folder, text, words):
    (folder / "Annotations" / "a b.xml").write_text(text)
    with pytest.raises(AnnotationError, match=r"a b\.xml: .*") as error:
        load_annotated(str(folder), "train", "boxes", ("cat", "dog"))
    assert words in str(error.value)


def test_entities_are_refused_before_they_are_expanded(tmp_path):
    lines = "".join(f"<!ENTITY e{n} '{f'&e{n - 1};' * 10}'>" for n in range(1, 12))
    bomb = annotation("&e11;", head=f"<!DOCTYPE a [<!ENTITY e0 'ha'>{lines}]>")
    (tmp_path / "bomb.xml").write_text(bomb)
    with pytest.raises(AnnotationError, match=r"bomb\.xml: must not have a document type or entities"):
        read_boxes(tmp_path / "bomb.xml")


def test_bad_masks_are_named(folder):
    path = folder / "SegmentationClass" / "a b.png"
    cases = {
        "must hold the numbers of the 3 classes, or 255. Received: 15": path.read_bytes(),
        "must have a palette or be grey": encoded(picture("RGB"), "PNG"),
        "no PNG that can be read": b"text",
    }
    for words, data in cases.items():
        path.write_bytes(data)
        with pytest.raises(AnnotationError) as error:
            read_mask(path, ("background", "cat", "dog"))
        assert words in str(error.value) and "a b.png" in str(error.value)
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(path)
    with pytest.raises(
        Exception, match=r"a b\.png: must be as large as its picture, 53 x 37. Received: 5 x 5"
    ):
        elements(load_annotated(str(folder), "train", "masks"))


def test_each_class_is_named_once(folder):
    with pytest.raises(ValueError, match="`class_names` must name each class once.*=a,cat,a, with a twice"):
        load_annotated(str(folder), "train", "masks", ("a", "cat", "a"))
    (folder / "classes.txt").write_text("background\ncat\ncat\n")
    for kind in ("boxes", "masks"):
        with pytest.raises(ValueError, match=r"classes\.txt: must name each class once. Received: cat twice"):
            load_annotated(str(folder), "train", kind)
    with pytest.raises(ValueError, match=r"classes\.txt: must name each class once"):
        load(str(folder))


def test_lists_of_splits_name_pictures_with_blanks_numbers_and_extensions(folder):
    sets = folder / "ImageSets" / "Main"
    sets.mkdir(parents=True)
    for text, count in {"a b\nü\n": 2, "a b  1\nü -1\n": 2, "a b.jpg\n": 1, "ü\t1\n": 1}.items():
        (sets / "train.txt").write_text(text)
        assert load_annotated(str(folder), "train", "boxes").count == count
        assert load(str(folder)).count == count


def test_a_picture_that_a_list_names_twice_is_in_one_slice_alone(folder):
    sets = folder / "ImageSets" / "Main"
    sets.mkdir(parents=True)
    (sets / "train.txt").write_text("a b\nü\na b\nü\n")
    slices = [load_annotated(str(folder), split, "boxes") for split in ("train[:50%]", "train[50%:]")]
    assert [element["image"].shape[0] for data in slices for element in elements(data)] == [37, 53]


def test_two_pictures_of_one_name_are_refused(folder):
    (folder / "JPEGImages" / "ü.png").write_bytes(b"text")
    assert load_annotated(str(folder), "train", "boxes").count == 2  # what cannot be read is no other picture
    (folder / "JPEGImages" / "ü.png").write_bytes(encoded(picture(), "PNG"))
    for read in (lambda: load_annotated(str(folder), "train", "boxes"), lambda: load(str(folder))):
        with pytest.raises(ValueError, match=r"annotations must belong to one picture.*: ü\.\w+ and"):
            read()


def test_masks_are_checked_before_any_is_trained_on(folder):
    data = load_annotated(str(folder), "train", "masks")
    assert data.present == (0, 15)  # void is no class
    assert load_annotated(str(folder), "train", "boxes").present == (0,)  # the only dog is difficult
    path = folder / "SegmentationClass" / "ü.png"
    path.write_bytes(encoded(Image.fromarray(np.full((53, 37), 77, np.uint8)), "PNG"))
    with pytest.raises(AnnotationError, match=r"ü\.png: must hold the numbers of the 21 classes.*: 77"):
        load_annotated(str(folder), "train", "masks")
    path.write_bytes(encoded(Image.fromarray(np.zeros((37, 53), np.uint8)), "PNG"))
    with pytest.raises(AnnotationError, match=r"ü\.png: must be as large as its picture, 37 x 53"):
        load_annotated(str(folder), "train", "masks")
    with pytest.raises(tf.errors.InvalidArgumentError, match="must be as large as its picture"):
        elements(data)  # that changed after it was checked


def test_missing_and_damaged_files_are_named(folder):
    (folder / "ImageSets" / "Main").mkdir(parents=True)
    (folder / "ImageSets" / "Main" / "train.txt").write_text("a b\n".replace(" ", "_") + "\n")
    with pytest.raises(
        FileNotFoundError,
        match="every picture that its splits name. Received: split='train', which names .*a_b",
    ):
        load_annotated(str(folder), "train", "boxes")
    (folder / "ImageSets" / "Main" / "train.txt").write_text("ü\n")
    (folder / "Annotations" / "ü.xml").unlink()
    with pytest.raises(FileNotFoundError, match=r"every file that its splits name.*ü\.xml"):
        load_annotated(str(folder), "train", "boxes")
    (folder / "JPEGImages" / "ü.jpg").write_bytes(b"text")
    with pytest.raises(ValueError, match=r"ü\.jpg: no JPEG"):
        load_annotated(str(folder), "train", "boxes")
    with pytest.raises(FileNotFoundError, match="with JPEGImages and Annotations"):
        load_annotated(str(folder / "nowhere"), "train", "boxes")
    with pytest.raises(ValueError, match="`kind` must be"):
        load_annotated(str(folder), "train", "polygons")


def test_the_mark_that_editors_write_before_utf_8_is_no_part_of_a_name(folder):
    sets = folder / "ImageSets"
    for kind in ("Main", "Segmentation"):
        (sets / kind).mkdir(parents=True)
        (sets / kind / "train.txt").write_text("ü\n", encoding="utf-8-sig")
    (folder / "classes.txt").write_text("background\ncat\ndog\n", encoding="utf-8-sig")
    boxes = load_annotated(str(folder), "train", "boxes")
    assert (boxes.class_names, boxes.count) == (("cat", "dog"), 1)
    with pytest.raises(AnnotationError, match="numbers of the 3 classes"):
        read_mask(folder / "SegmentationClass" / "ü.png", voc.listed_classes(folder))
    (folder / "classes.txt").write_bytes("käfer\n".encode("latin-1"))
    with pytest.raises(
        ValueError, match=r"classes\.txt: a list of classes must be text in UTF-8. Received: "
    ):
        load_annotated(str(folder), "train", "boxes")
    (sets / "Main" / "train.txt").write_bytes("ü\n".encode("utf-16"))
    with pytest.raises(ValueError, match=r"train\.txt: a list of a split must be text in UTF-8"):
        load_annotated(str(folder), "train", "boxes")


# === TensorFlow Datasets ===


def test_pascal_voc_of_tensorflow_datasets(monkeypatch):
    import tensorflow_datasets as tfds

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [])  # there is a network, or so it seems
    with tfds.testing.mock_data(num_examples=4):
        data = load_annotated("tfds:voc/2007", "train", "boxes")
        assert set(data.class_names) == set(voc.VOC_CLASSES)
        found = elements(data)
        assert len(found) == 4 and len(elements(data, seed=0, take=6)) == 6
        for element in found:
            # every feature of such data has a length of its own
            assert element["image"].shape[2] == 3 and element["boxes"].shape[1] == 4
            assert element["difficult"].dtype == bool and element["classes"].dtype == np.int64
        with pytest.raises(
            ValueError, match="must have the features image and segmentation_mask to have masks"
        ):
            load_annotated("tfds:voc/2007", "train", "masks")


def test_crowds_of_coco_are_not_judged(monkeypatch):
    import tensorflow_datasets as tfds

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [])
    with tfds.testing.mock_data(num_examples=4):
        raw = tfds.load("coco/2017", split="validation").as_numpy_iterator()
        crowds = [element["objects"]["is_crowd"].tolist() for element in raw]
        data = load_annotated("tfds:coco/2017", "validation", "boxes")
        assert [element["difficult"].tolist() for element in elements(data)] == crowds
    assert {True, False} <= {crowd for of_picture in crowds for crowd in of_picture}


def test_classes_of_tensorflow_datasets_are_its_own(monkeypatch):
    import tensorflow_datasets as tfds

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [])
    with tfds.testing.mock_data(num_examples=1):
        for name, kind, wrong in (
            ("voc/2007", "boxes", ("cat", "dog")),
            ("oxford_iiit_pet", "masks", ("background", "pet", "border")),
        ):
            data = load_annotated(f"tfds:{name}", "train", kind)
            again = load_annotated(f"tfds:{name}", "test", kind, data.class_names)
            assert again.class_names == data.class_names
            with pytest.raises(
                ValueError,
                match=f"`class_names` must be those of tfds:{name}, in their order, and may be left out: "
                f".*{data.class_names[-1]}. Received: class_names={','.join(wrong)}",
            ):
                load_annotated(f"tfds:{name}", "train", kind, wrong)


def test_data_sets_without_labels_or_objects_are_refused(monkeypatch):
    import tensorflow_datasets as tfds

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [])
    with tfds.testing.mock_data(num_examples=4):
        with pytest.raises(ValueError, match="with bbox and label. .* tfds:kitti without label, with "):
            load_annotated("tfds:kitti", "train", "boxes")
        assert len(load_annotated("tfds:voc/2007", "test", "boxes").present) == 1

    def unlabelled(*_, **__):  # as COCO's test pictures are
        none = {"bbox": tf.zeros((0, 4)), "label": tf.zeros(0, tf.int64), "is_crowd": tf.zeros(0, tf.bool)}
        element = {"image": tf.zeros((4, 4, 3), tf.uint8), "objects": none}
        return tf.data.Dataset.from_tensors(element).repeat(3)

    with tfds.testing.mock_data(num_examples=4, as_dataset_fn=unlabelled):
        assert load_annotated("tfds:coco/2017", "test", "boxes").present == ()
    with tfds.testing.mock_data(as_dataset_fn=lambda *_, **__: unlabelled(*_, **__).take(0)):
        with pytest.raises(ValueError, match=r"`split` must leave an image of tfds:.*'train\[:0\]'"):
            load_annotated("tfds:coco/2017", "train[:0]", "boxes")

    def unknown(*_, **__):
        raise ValueError("Unknown split")

    with tfds.testing.mock_data(as_dataset_fn=unknown):
        with pytest.raises(ValueError, match=r"of tfds:coco/2017, or a slice. Received: split='tset'"):
            load_annotated("tfds:coco/2017", "tset", "boxes")


def test_masks_of_tensorflow_datasets(monkeypatch):
    import tensorflow_datasets as tfds

    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [])
    with tfds.testing.mock_data(num_examples=2):
        data = load_annotated("tfds:oxford_iiit_pet", "train", "masks")
        assert data.class_names == ("pet", "background", "border")
        for element in elements(data):
            assert element["image"].shape[2] == 3 and element["mask"].ndim == 2


@pytest.mark.parametrize("kind", ["boxes", "masks"])
def test_a_folder_without_lists_of_splits_and_without_annotations_has_no_pictures(tmp_path, kind):
    for name in ("JPEGImages", "Annotations", "SegmentationClass"):
        (tmp_path / name).mkdir()
    (tmp_path / "JPEGImages" / "a.jpg").write_bytes(jpeg(0))
    with pytest.raises(
        ValueError, match="`split` must name pictures. Received: split='train' of .*has none$"
    ):
        load_annotated(str(tmp_path), "train", kind)
