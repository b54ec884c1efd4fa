"""A copy of a folder of pictures, reduced so that the shorter side has a given number of pixels.

    python tools/reduced_pictures.py SOURCE TARGET [--shorter_side 72] [--quality 95] [--suffix .jpg]

Studies at small sizes would spend their time on decoding large JPEG files. The folders and names of SOURCE
are kept, the pictures are reduced with an antialiasing filter (Pillow's LANCZOS) and written as JPEG files,
or as WebP files, which are a third smaller (`--suffix .webp`).
Pictures that are smaller already keep their size. Files that are no pictures are left out and counted.
"""

import argparse
import concurrent.futures
import functools
import os
import pathlib
import sys

from PIL import Image, ImageOps, UnidentifiedImageError

from keras_leoclr.terminal import progress


def reduce(
    source: pathlib.Path, target: pathlib.Path, side: int, quality: int, suffix: str, path: pathlib.Path
) -> bool:
    """Writes the reduced copy of one picture; returns False if the file is not a picture."""
    try:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened).convert("RGB")
    except (UnidentifiedImageError, OSError):
        return False
    scale = min(1.0, side / min(picture.size))
    size = tuple(max(1, round(length * scale)) for length in picture.size)
    to = (target / path.relative_to(source)).with_suffix(suffix)
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
    if options.target.exists():
        parser.error(f"`target` must not exist yet. Received: {options.target}")
    paths = sorted(path for path in options.source.rglob("*") if path.is_file())
    if not paths:
        parser.error(f"`source` must be a folder with files. Received: {options.source}")
    how = (options.shorter_side, options.quality, options.suffix)
    one = functools.partial(reduce, options.source, options.target, *how)
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as pool:
        made = list(progress(pool.map(one, paths, chunksize=64), len(paths), "Reducing", "pictures"))
    print(f"{options.target}: {sum(made)} pictures, {len(made) - sum(made)} other files left out")
    return 0 if any(made) else 1


if __name__ == "__main__":
    sys.exit(main())
