"""Pictures of 16 bits and of several channels: read, pretrained on, evaluated, exported and searched."""

import json
import pathlib
import re
import zipfile

import keras
import numpy as np
import pytest
from PIL import Image

import keras_leoclr as kl
from keras_leoclr import cli, data
from keras_leoclr.backbones.channels import with_channels
from keras_leoclr.data.channels import ChannelPixels, as_rgb
from keras_leoclr.data.given import IN_PYTHON, GivenImages
from keras_leoclr.training.measuring import ranged
from keras_leoclr.training.recipe import Recipe
from keras_leoclr.views import LeOCLRViews, Preprocessing, device
from tests.case import to_numpy
from tests.test_one_call import SMALL

backend_free = pytest.mark.backend_free
tifffile = pytest.importorskip("tifffile")


def structured(count=32, channels=5, seed=0):
    """Pictures with a bar: upright in class 0, level in class 1; each channel has its own share of it."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    images = rng.uniform(0.05, 0.15, (count, 16, 16, channels))
    for image, label in zip(images, labels, strict=True):
        place = rng.integers(2, 11)
        bar = (slice(None), slice(place, place + 4)) if label == 0 else (slice(place, place + 4),)
        image[bar] += np.linspace(0.3, 0.8, channels)
    return images, labels


def write(folder, images, labels, save, suffix):
    for split in ("train", "test"):
        for number, (image, label) in enumerate(zip(images, labels, strict=True)):
            path = folder / split / f"class{label}" / f"{number}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            save(path, image)
    return folder


@pytest.fixture(scope="module")
def grey16(tmp_path_factory):
    """A folder of PNGs of 16 bits of grey, which use 12 of them."""
    images, labels = structured(channels=1)
    grey = np.round(images[..., 0] * 4095).astype(np.uint16)
    return write(
        tmp_path_factory.mktemp("grey16"), grey, labels, lambda p, x: Image.fromarray(x).save(p), "png"
    )


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    """A folder of TIFFs of five channels of 16 bits."""
    images, labels = structured()
    values = np.round(images * 65535).astype(np.uint16)
    return write(
        tmp_path_factory.mktemp("five"),
        values,
        labels,
        lambda p, x: tifffile.imwrite(p, x, photometric="minisblack", planarconfig="contig"),
        "tif",
    )


# === Reading ===


@backend_free
@pytest.mark.parametrize("layout", ["npy", "contig", "separate", "pages"])
def test_channels_are_read_as_they_are_stored(tmp_path, layout):
    values = np.random.default_rng(0).integers(0, 65536, (6, 7, 5), dtype=np.uint16)
    folder = tmp_path / "a"
    folder.mkdir()
    if layout == "npy":
        np.save(folder / "0.npy", values)
    elif layout == "pages":
        tifffile.imwrite(folder / "0.tif", values.transpose(2, 0, 1), photometric="minisblack")
    else:
        planes = values if layout == "contig" else values.transpose(2, 0, 1)
        tifffile.imwrite(folder / "0.tif", planes, photometric="minisblack", planarconfig=layout)
    source = data.load(folder, channels=5, progress=False)
    (element,) = source.as_numpy_iterator()
    assert source.image_shape == (None, None, 5) and source.images.sizes.tolist() == [[6, 7]]
    np.testing.assert_allclose(element["image"], values * (255 / 65535), rtol=1e-6)


@backend_free
@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((5, 5, 5), {}),
        ((5, 5, 5), {"metadata": None}),
        ((5, 4, 1), {"metadata": None}),  # pages of a width of one pixel
        ((5, 1, 1), {"metadata": None}),
        ((5, 4, 1), {"metadata": {"axes": "CYX"}}),
        ((5, 4, 1), {"planarconfig": "separate"}),
    ],
)
def test_the_axes_of_a_tiff_say_which_is_that_of_the_channels(tmp_path, shape, options):
    """Planes (C, H, W) of as many rows and columns as channels have the shape of a picture (H, W, C)."""
    values = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    tifffile.imwrite(tmp_path / "planes.tif", values, photometric="minisblack", **options)
    with (tmp_path / "planes.tif").open("rb") as file:
        read = ChannelPixels(5).read(file)
    np.testing.assert_array_equal(read, values.transpose(1, 2, 0))


@backend_free
@pytest.mark.parametrize(("kind", "low", "high"), [("float32", 0.1, 1.2), ("float16", 0.3, 0.7)])
def test_floats_at_the_ends_of_the_range_are_within_it(kind, low, high):
    """The ends are numbers of 64 bits, and 1.2 in 32 bits is larger."""
    ends = np.array([low, high], kind)
    scaled = ChannelPixels(1, (low, high)).scaled(ends)
    np.testing.assert_allclose(scaled, [0, 255], atol=0.2)
    assert scaled.min() >= 0 and scaled.max() <= 255
    for wrong in (np.nextafter(ends[:1], ends[:1] - 1), np.nextafter(ends[1:], ends[1:] + 1)):
        with pytest.raises(data.ImageError, match="outside of `value_range`"):
            ChannelPixels(1, (low, high)).scaled(wrong)


@backend_free
def test_grey_of_16_bits_keeps_all_its_bits(grey16):
    source = data.load(grey16, channels=1, value_range=(0, 4095), progress=False)
    image = next(source.as_numpy_iterator())["image"]
    with Image.open(source.images.paths[0]) as picture:
        stored = np.asarray(picture).astype(float)
    np.testing.assert_allclose(image[..., 0], stored * (255 / 4095), rtol=1e-6)
    assert len(np.unique(image)) > 64 and source.class_names == ("class0", "class1")


@backend_free
@pytest.mark.parametrize("kind, value_range", [("uint16", ()), ("float32", (-1, 3)), ("int32", (0, 100000))])
def test_arrays_are_scaled_by_the_range_of_their_values(kind, value_range):
    low, high = value_range or (0, 65535)
    images = np.linspace(low, high, 2 * 4 * 4 * 2).reshape(2, 4, 4, 2).astype(kind)
    source = data.load({"image": images}, channels=2, value_range=value_range)
    scaled = 255 * (images.astype(float) - low) / (high - low)
    np.testing.assert_allclose(source.images.pixels, scaled, rtol=1e-5, atol=1e-4)


@backend_free
def test_pictures_of_16_bits_stay_rgb_of_8_where_no_channels_are_asked_for(grey16):
    image = next(data.load(grey16, progress=False).as_numpy_iterator())["image"]
    assert image.dtype == np.uint8 and image.shape[-1] == 3


@backend_free
@pytest.mark.parametrize(
    "values, options, message",
    [
        (np.zeros((4, 4, 3), "uint8"), {"channels": 5}, "3 channels, where `channels` is 5"),
        (np.ones((4, 4, 2), "float32"), {"channels": 2}, "type float32, whose range must be given as"),
        (np.zeros((4, 4, 2), "complex64"), {"channels": 2}, "complex64, which is no picture"),
        (np.zeros((2, 4, 4, 2), "uint8"), {"channels": 2}, "where (H, W) or (H, W, C) is a picture"),
        (np.zeros((0, 4, 2), "uint8"), {"channels": 2}, "no pixels, of size 0"),
        (
            np.zeros((9, 9, 2), "uint8"),
            {"channels": 2, "max_pixels": 80},
            "9 x 9 pixels are more than `max_pixels`, 80",
        ),
    ],
)
def test_a_picture_of_other_channels_is_named(tmp_path, values, options, message):
    np.save(tmp_path / "good.npy", np.zeros((4, 4, options["channels"]), "uint8"))
    np.save(tmp_path / "odd.npy", values)
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        data.load(tmp_path, progress=False, **options)
    assert "odd.npy" in str(error.value)
    assert data.load(tmp_path, progress=False, on_error="skip", **options).count == 1


@backend_free
def test_values_outside_of_the_range_are_never_clipped(tmp_path):
    np.save(tmp_path / "bright.npy", np.full((4, 4, 2), 300, "uint16"))
    source = data.load(tmp_path, channels=2, value_range=(0, 255), progress=False)
    with pytest.raises(Exception, match="values from 300 to 300, outside of `value_range` 0,255"):
        list(source)
    with pytest.raises(
        ValueError, match="values of the range that becomes .* image 0 with values from 9 to 9"
    ):
        data.load({"image": np.full((1, 2, 2, 2), 9.0)}, channels=2, value_range=(0, 5))
    with pytest.raises(ValueError, match="image 0 with NaN or infinity among its values"):
        data.load({"image": np.full((1, 2, 2, 2), np.nan)}, channels=2, value_range=(0, 5))


@backend_free
def test_types_of_several_ranges_need_one_for_all(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 4, 2), "uint8"))
    np.save(tmp_path / "b.npy", np.zeros((4, 4, 2), "uint16"))
    with pytest.raises(ValueError, match="`value_range` must be given where .* several types"):
        data.load(tmp_path, channels=2, progress=False)
    assert data.load(tmp_path, channels=2, value_range=(0, 65535), progress=False).count == 2


@backend_free
def test_damaged_files_and_pngs_that_pillow_reads_as_8_bits_are_refused(tmp_path):
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY\x01\x00")
    np.save(tmp_path / "short.npy", np.zeros((4, 4, 2)))
    (tmp_path / "short.npy").write_bytes((tmp_path / "short.npy").read_bytes()[:-9])
    (tmp_path / "text.png").write_bytes(b"no picture")
    with open(tmp_path / "pickle.npy", "wb") as file:
        np.save(file, np.array([{}], object), allow_pickle=True)
    for name, message in {
        "broken.npy": "no .npy, TIFF or PNG picture, or damaged",
        "short.npy": "damaged: the array ends too early",
        "text.png": "no .npy, TIFF or PNG picture, or damaged",
        "pickle.npy": "which is no picture",
    }.items():
        with open(tmp_path / name, "rb") as file, pytest.raises(data.ImageError, match=message):
            ChannelPixels(2).header(file)
    Image.new("P", (4, 4)).save(tmp_path / "palette.png")
    with open(tmp_path / "palette.png", "rb") as file:
        with pytest.raises(data.ImageError, match="a PNG of mode P, which has no channels to read"):
            ChannelPixels(1).header(file)
    colour = (tmp_path / "deep.png").open("wb")
    Image.new("RGB", (4, 4)).save(colour, "PNG")
    colour.close()
    content = bytearray((tmp_path / "deep.png").read_bytes())
    content[24] = 16  # bits of the header; its checksum is wrong then
    Image.init()
    (tmp_path / "deep.png").write_bytes(content)
    with open(tmp_path / "deep.png", "rb") as file, pytest.raises(data.ImageError):
        ChannelPixels(3, (0, 65535)).header(file)


@backend_free
@pytest.mark.parametrize(
    "options, message",
    [
        ({"channels": 0}, "`channels` must be a whole number >= 1"),
        ({"value_range": (5, 1)}, "`value_range` must be empty or two numbers, low below high"),
    ],
)
def test_numbers_of_channels_and_ranges_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        data.load("fashion_mnist", **options)
    with pytest.raises(ValueError, match=re.escape(message.split(" whole")[0].split(" a")[0])):
        Recipe(**options)


@backend_free
def test_sources_of_rgb_alone_and_wrong_arrays_are_refused():
    with pytest.raises(ValueError, match="`channels` other than 3 and `value_range` are for arrays"):
        data.load("tfds:mnist", channels=1)
    with pytest.raises(FileNotFoundError, match="one of several places is not there"):
        data.load(["one", "two"], channels=1)
    with pytest.raises(ValueError, match="`image` in a dictionary of arrays must be .* C = `channels`, 5"):
        data.load({"image": np.zeros((2, 4, 4, 3), "uint8")}, channels=5)
    with pytest.raises(ValueError, match="must be numbers. Received: image.dtype=bool"):
        data.load({"image": np.zeros((2, 4, 4, 2), bool)}, channels=2)


@backend_free
def test_archives_lists_and_folders_keep_their_channels(five, tmp_path):
    folder = data.load(five, channels=5, progress=False)
    first, *others = sorted(folder.images.paths)
    with zipfile.ZipFile(tmp_path / "some.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in others:
            archive.write(path, pathlib.Path(path).relative_to(five / "train"))
    (tmp_path / "list.csv").write_text(f"file,class\n{first},class0\n")
    mixed = data.load([tmp_path / "some.zip", tmp_path / "list.csv"], channels=5, progress=False)
    assert mixed.count == folder.count and mixed.class_names == folder.class_names
    assert mixed.labels.sum() == folder.labels.sum()

    def sums(source):
        return sorted(float(element["image"].sum()) for element in source.as_numpy_iterator())

    assert sums(mixed) == sums(folder) == sums(data.load(f"{five}/train/*/*.tif", channels=5, progress=False))
    with pytest.raises(ValueError, match="5 channels, where `channels` is 2"):
        data.load(tmp_path / "some.zip", channels=2, progress=False)


@backend_free
def test_the_range_of_values_is_measured_on_all_pictures(grey16, tmp_path, capsys):
    stored = [np.asarray(Image.open(path)) for path in data.load(grey16, channels=1).images.paths]
    low, high = min(map(np.min, stored)), max(map(np.max, stored))
    command = ["leoclr", "data", grey16, "--statistics", "--channels", 1, "--value_range", "auto"]
    assert cli.main(list(map(str, command))) == 0
    printed = capsys.readouterr().out
    assert f"--value_range {low},{high}\n" in printed and "as it is read: 0\n" in printed
    assert "as it is read: 255\n" in printed
    np.savez(
        tmp_path / "floats.npz", image=np.random.default_rng(0).normal(size=(3, 4, 4, 1)).astype("float32")
    )
    command[2] = tmp_path / "floats.npz"
    assert cli.main(list(map(str, command))) == 0
    (ends,) = re.findall("--value_range (.*)", capsys.readouterr().out)
    data.load(command[2], channels=1, value_range=tuple(map(float, ends.split(","))))
    images = {"train_image": np.array([0.25, 3.0]), "test_image": np.array([-7.5, 1.0])}
    images = {name: np.tile(values.reshape(2, 1, 1, 1), (1, 4, 4, 2)) for name, values in images.items()}
    recipe = Recipe(dataset=IN_PYTHON, channels=2, value_range="auto")
    found, lines = ranged(recipe, images=GivenImages(images))
    assert found.value_range == (-7.5, 3.0)
    assert lines == ["value_range -7.5,3: the least and the greatest value of 4 pictures"]
    undivided = {"image": images["train_image"]}
    assert ranged(recipe, images=GivenImages(undivided))[1][0].endswith("value of 2 pictures")
    wide = {"image": np.random.default_rng(0).uniform(size=(4, 3, 3, 2))}
    (line,) = ranged(recipe, images=GivenImages(wide))[1]
    ends = tuple(map(float, line.split()[1].rstrip(":").split(",")))
    assert data.load(wide, channels=2, value_range=ends).count == 4  # The line can be typed again.
    with pytest.raises(ValueError, match='`value_range` "auto" needs pictures of more than one value'):
        ranged(recipe, images=GivenImages({"image": np.ones((2, 4, 4, 2))}))
    with pytest.raises(ValueError, match="is measured on pictures that are files or arrays"):
        ranged(recipe, images=GivenImages(data.load({"image": np.zeros((2, 4, 4, 2), "uint8")}, channels=2)))


@backend_free
def test_statistics_are_those_of_all_pixels(five):
    images, _ = structured()
    found = data.statistics(data.load(five, channels=5, progress=False))
    np.testing.assert_allclose(found["mean"], images.mean((0, 1, 2)), rtol=1e-3)
    np.testing.assert_allclose(found["std"], images.std((0, 1, 2)), rtol=1e-3)
    assert found["pictures"] == 32 and max(found["high"]) <= 255
    with pytest.raises(
        ValueError, match="more than one value in each channel.*0 in all of channel 0 of 2 pic"
    ):
        data.statistics(data.load({"image": np.zeros((2, 4, 4, 2), "uint8")}, channels=2))
    with pytest.raises(ValueError, match="must hold pictures to measure their mean"):
        data.statistics(data.load({"image": np.zeros((0, 4, 4, 2), "uint8")}, channels=2))


@backend_free
def test_the_command_prints_the_statistics_as_flags(five, capsys):
    asked = ["data", str(five), "--statistics", "--channels", "5"]
    assert cli.main(["leoclr", *asked, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert cli.main(["leoclr", *asked]) == 0
    text = capsys.readouterr().out
    assert f"--mean {','.join(f'{number:g}' for number in found['mean'])} --std" in text
    assert "32 pictures were looked at." in text
    assert cli.main(["leoclr", "data", str(five), "--channels", "5"]) == 2
    assert "`--channels` may be given with --statistics alone" in capsys.readouterr().err


# === Views ===


def test_brightness_and_contrast_change_each_channel_on_host_and_device():
    images = (structured(4)[0] * 255).round().astype(np.uint8)
    how = {"color_jitter": (0.4, 0.4, 0, 0), "grayscale_probability": 0.0, "jitter_probability": 1.0}
    how |= {"mean": (0.1, 0.2, 0.3, 0.4, 0.5), "std": (0.2,) * 5, "jit_compile": False}
    views = LeOCLRViews(16, crop_scale=(0.5, 1.0), **how)
    draws = views.draw_arrays(4, np.array([0, 1], np.int32))
    host = {name: np.asarray(to_numpy(view)) for name, view in views(images, [0, 1]).items()}
    batch = {"image": images, "size": np.full((4, 2), 16, np.int32), **views.packed(draws, 16, 16)}
    made = device.views_of_batch(views.settings, {k: _tensor(v) for k, v in batch.items()})
    assert host["query"].shape == (4, 16, 16, 5) and host["keys"].shape == (4, 2, 16, 16, 5)
    for name, expected in host.items():
        np.testing.assert_allclose(to_numpy(made[name]), expected, atol=2e-3)


def _tensor(value):
    return keras.ops.convert_to_tensor(value)


@backend_free
@pytest.mark.parametrize("options", [{}, {"color_jitter": (0.4, 0.4, 0, 0)}, {"grayscale_probability": 0.0}])
def test_operations_on_colours_are_for_rgb_alone(options):
    with pytest.raises(
        ValueError, match="must leave out saturation, hue and greyscale for images that are not"
    ):
        LeOCLRViews(16, mean=(0.5,) * 2, std=(0.5,) * 2, **options)
    with pytest.raises(ValueError, match="`mean` must have three numbers for the layers of keras-cv"):
        kl.keras_cv_views(16, mean=(0.5,) * 2, std=(0.5,) * 2)


@backend_free
def test_a_page_shows_the_first_three_channels_or_grey():
    image = np.arange(2 * 2 * 5, dtype=np.uint8).reshape(2, 2, 5)
    np.testing.assert_array_equal(as_rgb(image), image[..., :3])
    np.testing.assert_array_equal(as_rgb(image[..., :2])[..., 1], image[..., 0])  # the mean, rounded down
    np.testing.assert_array_equal(as_rgb(image[..., :1]), np.repeat(image[..., :1], 3, -1))


@backend_free
def test_preprocessing_refuses_other_channels():
    preprocessing = Preprocessing(8, (0.5,) * 5, (0.5,) * 5)
    assert preprocessing.normalise(np.zeros((2, 8, 8, 5), "uint8")).shape == (2, 8, 8, 5)
    with pytest.raises(ValueError, match="`images` must have 5 channels, last, as `mean` has"):
        preprocessing.normalise(np.zeros((2, 8, 8, 3), "uint8"))


@backend_free
def test_batches_of_arrays_have_the_channels_of_the_views():
    how = {"color_jitter": (0.4, 0.4, 0, 0), "grayscale_probability": 0.0}
    views = LeOCLRViews(8, mean=(0.5,) * 5, std=(0.5,) * 5, **how)
    images = np.zeros((4, 8, 8, 3), "uint8")
    with pytest.raises(
        ValueError, match="`images` must have 5 channels, last, and all of them the same number"
    ):
        data.array_batches(images, views, 2)
    with pytest.raises(ValueError, match='`source` must have images of 5 channels, last, for `views_on="dev'):
        data.view_dataset(data.load({"image": images}), views, 2, views_on="device")


# === Recipes and weights ===


@backend_free
def test_defaults_for_rgb_give_way_to_those_for_other_channels():
    recipe = Recipe(channels=5)
    assert recipe.mean == recipe.std == "auto" and recipe.grayscale_probability == 0
    assert recipe.color_jitter == (0.4, 0.4, 0, 0)
    with pytest.raises(ValueError, match="must have no saturation, hue and greyscale for pictures that are"):
        Recipe(channels=5, grayscale_probability=0.1)
    with pytest.raises(ValueError, match="`mean` must be auto or one number for each of the `channels`"):
        Recipe(channels=5, mean=(0.5, 0.5))


def test_weights_of_rgb_are_adapted_to_other_channels():
    rgb = kl.backbones.resnet_small((8, 8, 3), widths=(8, 16))
    five = with_channels(rgb, 5)
    grey = np.random.default_rng(0).standard_normal((2, 8, 8, 1)).astype("float32")
    same = [to_numpy(model(np.repeat(grey, model.input_shape[-1], -1))) for model in (rgb, five)]
    np.testing.assert_allclose(*same, atol=1e-5)
    with pytest.raises(
        ValueError, match="must have one convolution that sees the channels of images, its first"
    ):
        images = keras.Input((8, 8, 3))
        flat = keras.layers.Dense(4)(keras.layers.Flatten()(images))
        with_channels(keras.Model(images, flat), 5)


# === Runs ===


@pytest.fixture(scope="module")
def run_of_five(five, tmp_path_factory):
    return kl.pretrain(
        five, tmp_path_factory.mktemp("run") / "five", **SMALL | {"channels": 5, "map_images": 8}
    )


def test_pictures_of_five_channels_pretrain_and_are_judged(run_of_five):
    recipe = run_of_five.recipe
    measured = structured()[0].mean((0, 1, 2))
    np.testing.assert_allclose(recipe["mean"], measured, rtol=1e-3)
    assert recipe["channels"] == 5 and recipe["color_jitter"] == [0.4, 0.4, 0, 0]
    assert run_of_five.results["pretrained/linear/top1"] > 0.5
    assert run_of_five.backbone().input_shape == (None, 16, 16, 5)
    card = json.loads((run_of_five.path / "backbone.json").read_text())
    assert "channels (5)" in json.dumps(card) and run_of_five.report.is_file()


def test_a_run_of_five_channels_is_evaluated_exported_and_goes_on(run_of_five, five, tmp_path, capsys):
    found = kl.evaluate(run_of_five, suite=["knn", "retrieval"], verbose=False)
    assert 0 <= found["knn/top1"] <= 1
    robust = kl.evaluate(run_of_five, suite="robustness", changes=["gaussian_blur"], verbose=False)
    assert 0 <= robust["robustness/linear/mean"] <= 1
    with pytest.raises(ValueError, match="`changes` must be some of .*contrast. Received: jpeg"):
        kl.evaluate(run_of_five, suite="robustness", changes=["jpeg"], verbose=False)
    with pytest.raises(ValueError, match="`transfer` is for backbones of RGB images alone"):
        kl.evaluate(run_of_five, suite="transfer", verbose=False)
    with pytest.raises(
        ValueError, match="`mean` must have one number for each channel of the backbone's images"
    ):
        plain = kl.backbones.resnet_small((16, 16, 5), widths=(8, 16))
        kl.evaluate(plain, {"image": np.zeros((8, 16, 16, 5), "uint8")}, image_size=16)
    assert cli.main(["leoclr", "export", str(run_of_five.path), "--output", str(tmp_path)]) == 0
    again = kl.pretrain(five, run_of_five.path, **SMALL | {"channels": 5, "map_images": 8})
    assert again.results == run_of_five.results


def test_pictures_of_five_channels_are_searched(run_of_five, five, tmp_path, capsys):
    pytest.importorskip("faiss")
    folder, index = five / "test", tmp_path / "five.index"
    assert (
        cli.main(
            ["leoclr", "index", str(folder), "--backbone", str(run_of_five.path), "--output", str(index)]
        )
        == 0
    )
    assert "32 pictures" in capsys.readouterr().out
    query = str(folder / "class0" / "0.tif")
    page = tmp_path / "page.html"
    assert cli.main(["leoclr", "search", query, "--index", str(index), "--page", str(page), "--json"]) == 0
    (result,) = json.loads(capsys.readouterr().out)["results"]
    assert result["hits"][0]["itself"] and result["hits"][0]["similarity"] > 0.999
    assert "data:image/jpeg" in page.read_text()
    asked = ["--backbone", str(run_of_five.path), "--output", str(index), "--value_range", "0,70000"]
    assert cli.main(["leoclr", "index", str(folder), *asked]) != 0
    assert "`--value_range` must be that which the index was made with" in capsys.readouterr().err


def test_pictures_of_five_channels_are_embedded(run_of_five, five):
    found = kl.embed(five, run_of_five, split="test", verbose=False)
    images = data.load(five, "test", channels=5, progress=False)
    pixels = np.stack([element["image"] for element in images.as_numpy_iterator()])
    expected = to_numpy(run_of_five.backbone()(pixels))
    np.testing.assert_allclose(found.features, expected, rtol=1e-4, atol=1e-5)
    assert found.paths == images.images.paths
    wider = kl.embed(five, run_of_five, split="test", value_range=(0, 131070), verbose=False)
    assert wider.about["value_range"] == [0, 131070] and not np.allclose(wider.features, expected, rtol=1e-2)


def test_grey_of_16_bits_pretrains_on_the_device_from_weights_of_rgb(grey16, tmp_path, capsys):
    kl.backbones.resnet_small((16, 16, 3), widths=(8, 16)).save(tmp_path / "rgb.keras")
    given = {name: SMALL[name] for name in SMALL.keys() - {"backbone", "widths"}}
    given |= {"channels": 1, "value_range": "auto", "views_on": "device", "evaluate": False}
    given |= {"initial_weights": tmp_path / "rgb.keras", "verbose": 1}
    run = kl.pretrain(grey16, tmp_path / "run", **given)
    assert run.backbone().input_shape == (None, 16, 16, 1) and len(run.recipe["mean"]) == 1
    low, high = run.recipe["value_range"]
    assert 0 < low < high < 4096
    assert f"value_range {low:g},{high:g}: the least and the greatest value of 64" in capsys.readouterr().out
    kl.pretrain(grey16, tmp_path / "run", **given)
    printed = capsys.readouterr().out
    assert "is finished" in printed and "the greatest value" not in printed


def test_channels_that_the_images_do_not_have_are_refused(tmp_path):
    images = data.load({"image": np.zeros((32, 16, 16, 2), "uint8")}, channels=2)
    with pytest.raises(ValueError, match="`channels` must be as many as the images have"):
        kl.pretrain(images, tmp_path / "run", **SMALL | {"channels": 5})
    with pytest.raises(ValueError, match="`backbone` of another library takes images of 3 channels"):
        from keras_leoclr.training.build import make_backbone

        make_backbone(Recipe(channels=5, backbone="applications:MobileNetV2"))
