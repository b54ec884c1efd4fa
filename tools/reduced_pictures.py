"""A copy of a folder of pictures, reduced so that the shorter side has a given number of pixels.

    python tools/reduced_pictures.py SOURCE TARGET [--shorter_side 72] [--quality 95] [--suffix .jpg]

Studies at small sizes would spend their time on decoding large JPEG files. The folders and names of SOURCE
are kept, the pictures are reduced with an antialiasing filter (Pillow's LANCZOS) and written as JPEG files,
or as WebP files, which are a third smaller (`--suffix .webp`). Where two differ in their extension alone, the
extension becomes a part of the name: a.png.jpg. Pictures that are smaller already keep their size. Files that
are no pictures are left out and counted, and so are those of more than 8 bits, which Pillow would cut off.
"""

import argparse
import collections
import concurrent.futures
import functools
import os
import pathlib
import sys

from PIL import Image, ImageOps

from keras_leoclr.terminal import progress


def copies(source: pathlib.Path, target: pathlib.Path, suffix: str) -> dict[pathlib.Path, pathlib.Path]:
    """The files below a folder, and the path that the copy of each would have."""
    paths = sorted(path for path in source.rglob("*") if path.is_file())
    made = {path: (target / path.relative_to(source)).with_suffix(suffix) for path in paths}
    count = collections.Counter(made.values())
    return {
        path: to if count[to] == 1 else target / path.relative_to(source).with_name(path.name + suffix)
        for path, to in made.items()
    }


def reduce(side: int, quality: int, both: tuple[pathlib.Path, pathlib.Path]) -> bool:
    """Writes the reduced copy of one picture; returns False if the file is not a picture."""
    path, to = both
    try:
        with Image.open(path) as opened:
            if opened.mode.startswith(("I", "F")):  # more than 8 bits
                return False
            picture = ImageOps.exif_transpose(opened).convert("RGB")
    except Exception:  # Pillow's parsers raise many types of errors on damaged files.
        return False
    scale = min(1.0, side / min(picture.size))
    size = tuple(max(1, round(length * scale)) for length in picture.size)
    to.parent.mkdir(parents=True, exist_ok=True)
    # `method` is for WebP alone; 6 takes the longest and makes the smallest files.
    picture.resize(size, Image.Resampling.LANCZOS).save(to, quality=quality, method=6)
    return True


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("source", type=pathlib.Path)
    parser.add_argument("target", type=pathlib.Path)
    parser.add_argument("--shorter_side", type=int, default=72, help="pixels")
    parser.add_argument("--quality", type=int, default=95, help="of the files, 1 to 100")
    parser.add_argument("--suffix", choices=[".jpg", ".webp"], default=".jpg", help="format of the files")
    options = parser.parse_args()
    if options.shorter_side < 1:
        parser.error(f"`--shorter_side` must be >= 1. Received: {options.shorter_side}")
    if not 1 <= options.quality <= 100:
        parser.error(f"`--quality` must lie in [1, 100]. Received: {options.quality}")
    if options.target.exists():
        parser.error(f"`target` must not exist yet. Received: {options.target}")
    pairs = list(copies(options.source, options.target, options.suffix).items())
    if not pairs:
        parser.error(f"`source` must be a folder with files. Received: {options.source}")
    one = functools.partial(reduce, options.shorter_side, options.quality)
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as pool:
        made = list(progress(pool.map(one, pairs, chunksize=64), len(pairs), "Reducing", "pictures"))
    print(f"{options.target}: {sum(made)} pictures, {len(made) - sum(made)} other files left out")
    return 0 if any(made) else 1


if __name__ == "__main__":
    sys.exit(main())
