"""`leoclr embed` writes the features of pictures to a file for other programs."""

from __future__ import annotations

import json

from keras_leoclr.commands.command import IMAGE_SIZE, ONE, Command, max_failures, on_error
from keras_leoclr.commands.flags import Flag, Given

TEXT = """leoclr embed SOURCE --backbone FILE --output FILE.npz|.csv|.parquet [--FLAG VALUE ...]

Computes the features of the pictures of SOURCE, which is anything that `leoclr data` takes, and writes them
to a file: one row per picture in the order of the source, with its path (or its number if the pictures are
not files) and its label. For a backbone that does not normalise images itself, they are normalised with the
mean and deviation in the metadata of its .safetensors file, or else with those of the recipe of the run that
the file lies in, or else with those of ImageNet. If the command is interrupted, the same command continues
after the last batches that were saved in FILE.unfinished."""


def _run(given: Given) -> int:
    from keras_leoclr.data.failures import shown
    from keras_leoclr.embeddings import embed

    options = given.some("split", "data_dir", "image_size", "batch_size", "precision", "on_error")
    options |= given.some("max_failures", "value_range", "overwrite")
    verbose = given["verbose"] and not given["json"]
    found = embed(given.rest[0], given["backbone"], given["output"], verbose=verbose, **options)
    count, width = found.features.shape
    if given["json"]:
        facts = {"output": given["output"], "pictures": count, "features": width}
        facts |= {"labelled": found.labels is not None, "skipped": found.skipped, **found.about}
        print(json.dumps(facts))
        return 0
    for name, reason in found.skipped:
        print(f"skipped {shown(name)}: {reason}")
    labels = "without labels" if found.labels is None else "with labels"
    print(f"{shown(given['output'])}: {count:,} pictures {labels}, {width:,} features each")
    return 0


COMMAND = Command(
    name="embed",
    arguments="SOURCE --backbone FILE --output FILE",
    summary="features of pictures as .npz, .csv or .parquet",
    text=TEXT,
    run=_run,
    flags=(
        Flag(
            "backbone",
            str,
            None,
            "backbone: a .keras file, the folder of a run, or torch weights",
            needed="a file or the folder of a run",
        ),
        Flag(
            "output",
            str,
            None,
            "file of the features; its ending chooses the format",
            needed="a .npz, .csv or .parquet file",
        ),
        Flag("split", str, "train", 'such as "test" or "train[:10%]"'),
        Flag("data_dir", str, None, "folder in which TensorFlow Datasets keeps its files"),
        IMAGE_SIZE,
        Flag("batch_size", int, 256, "number of images per call of the backbone", low=1),
        Flag(
            "precision",
            str,
            None,
            "precision that the backbone computes in; by default its own",
            choices=("float32", "mixed_bfloat16", "mixed_float16"),
        ),
        on_error("a picture"),
        max_failures(None, "; by default 0.01"),
        Flag(
            "value_range",
            tuple[float, ...],
            None,
            "the two values that become black and white, low and high; by default those of the run that the "
            "backbone lies in",
        ),
        Flag("overwrite", bool, False, "replace the file if it exists"),
        Flag("json", bool, False, "print what was done as JSON"),
        Flag("verbose", bool, True, "show progress"),
    ),
    takes="one name or path",
    count=ONE,
)
