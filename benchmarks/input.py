"""Pictures from a folder or TFRecord files to LeOCLR's views, beside lightly's DataLoader and bare decoding.

    make .venv-interop/.done      # once, for lightly; or --without-peers
    python benchmarks/input.py --folder DIR_OF_JPEGS

Without `--folder`, JPEGs of 500 x 375 pixels are cut from the photographs of the Debian package
plasma-workspace-wallpapers, wherever `--photographs` says it lies. Candidates take turns; printed are
medians, and medians of the ratios within a round.
"""

import argparse
import pathlib
import tempfile
import time

import tensorflow as tf
from PIL import Image
from turns import peers as start_peers
from turns import rounds, table

import keras_leoclr as kl

SIZE, BATCH = 224, 32


def cut_photographs(source: pathlib.Path, target: pathlib.Path, count: int = 400) -> None:
    """Writes tiles of 500 x 375 pixels of large photographs as JPEGs of quality 92."""
    number = 0
    for path in sorted(source.rglob("*.jp*g")):
        with Image.open(path) as file:
            if min(file.size) < 1000:
                continue
            photograph = file.convert("RGB")
        width = 2000
        photograph = photograph.resize((width, round(photograph.height * width / photograph.width)))
        for top in range(0, photograph.height - 374, 375):
            for left in range(0, width - 499, 500):
                tile = photograph.crop((left, top, left + 500, top + 375))
                tile.save(target / f"{number:04d}.jpg", quality=92)
                number += 1
        if number >= count:
            return
    if number == 0:
        raise SystemExit(f"No large JPEGs under {source}: name a folder with --folder or --photographs.")


def write_records(folder: pathlib.Path, path: pathlib.Path) -> None:
    with tf.io.TFRecordWriter(str(path)) as writer:
        for picture in sorted(folder.glob("*.jpg")):
            content = tf.train.Feature(bytes_list=tf.train.BytesList(value=[picture.read_bytes()]))
            example = tf.train.Example(features=tf.train.Features(feature={"image/encoded": content}))
            writer.write(example.SerializeToString())


def speed(dataset, per_element, skip=2):
    """images/s of one pass, after `skip` elements that start it."""
    iterator = iter(dataset)
    for _ in range(skip):
        next(iterator)
    started, done = time.perf_counter(), 0
    for _ in iterator:
        done += per_element
    return done / (time.perf_counter() - started)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=pathlib.Path, help="folder of JPEGs")
    parser.add_argument("--photographs", type=pathlib.Path, default=pathlib.Path("/usr/share/wallpapers"))
    parser.add_argument("--rounds", type=int, default=5, help="turns of each, default 5")
    parser.add_argument("--without-peers", action="store_true", help="leave out lightly")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder
        if folder is None:
            folder = pathlib.Path(temporary) / "pictures"
            folder.mkdir()
            cut_photographs(options.photographs, folder)
        records = pathlib.Path(temporary) / "pictures.tfrecord"
        write_records(folder, records)
        run(folder, records, options)


def run(folder, records, options):
    paths = [str(path) for path in sorted(folder.glob("*.jpg"))]
    views = kl.LeOCLRViews(SIZE)
    from_folder, from_records = kl.data.load(folder), kl.data.load(records)

    def decode(path):
        return tf.io.decode_jpeg(tf.io.read_file(path), channels=3, dct_method="INTEGER_FAST")

    def two_crops(whole):
        """Size and corners of two crops of 60 % of the area, the mean of MoCo v2's."""
        crop = tf.cast(0.775 * tf.cast(whole, tf.float32), tf.int32)
        corners = tf.random.uniform([2, 2], maxval=1.0) * tf.cast(whole - crop, tf.float32)
        return crop, tf.unstack(tf.cast(corners, tf.int32))

    def decode_two_crops(path):
        """Two crops, each decoded on its own."""
        content = tf.io.read_file(path)
        crop, corners = two_crops(tf.io.extract_jpeg_shape(content)[:2])
        return [
            tf.io.decode_and_crop_jpeg(
                content, tf.concat([corner, crop], 0), channels=3, dct_method="INTEGER_FAST"
            )
            for corner in corners
        ]

    def decode_and_resize(path):
        """The picture and two crops of it, resized: what no three views can do without."""
        image = decode(path)
        crop, corners = two_crops(tf.shape(image)[:2])
        crops = [image[y : y + crop[0], x : x + crop[1]] for y, x in map(tf.unstack, corners)]
        return [tf.image.resize(box[None], (SIZE, SIZE)) for box in (image, *crops)]

    def through(source, **how):
        dataset = kl.data.view_dataset(source, views, BATCH, parallel_images=2, **how)
        return lambda: speed(dataset, BATCH)

    bare = tf.data.Dataset.from_tensor_slices(paths).map(decode, num_parallel_calls=2)
    crops = tf.data.Dataset.from_tensor_slices(paths).map(decode_two_crops, num_parallel_calls=2)
    resized = tf.data.Dataset.from_tensor_slices(paths).map(decode_and_resize, num_parallel_calls=2)
    candidates = {
        "folder to LeOCLR views": through(from_folder),
        "folder to a canvas, for views on the device": through(from_folder, views_on="device"),
        "the same, canvas 256 x 256": through(from_folder, views_on="device", canvas=(256, 256)),
        "TFRecord to LeOCLR views": through(from_records, shuffle_buffer=200),
        "folder, decoded by data.load": lambda: speed(from_folder, 1),
        "decoding alone, the limit": lambda: speed(bare, 1),
        "decoding and three bare resizes": lambda: speed(resized, 1),
        "decoding two crops instead of the whole": lambda: speed(crops, 1),
    }
    if not options.without_peers:
        peers = start_peers()

        def peer(kind, batches):
            request = {"size": SIZE, "batch_size": BATCH, "folder": str(folder)}
            return lambda: peers(kind=kind, batches=batches, **request)

        candidates["folder to three views, lightly, DataLoader"] = peer("lightly three views", 6)
        candidates["decoding alone, Pillow, DataLoader"] = peer("decode only", 12)
    title = f"{len(paths)} JPEGs to {SIZE} px, batch {BATCH}"
    print(table(title, rounds(candidates, options.rounds), "folder to LeOCLR views"))


if __name__ == "__main__":
    main()
