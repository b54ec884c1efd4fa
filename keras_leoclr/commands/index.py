"""`leoclr index` computes the features of a folder of pictures, for `leoclr search`."""

from __future__ import annotations

import json

from keras_leoclr.commands.command import IMAGE_SIZE, ONE, Command, check_output, max_failures, on_error
from keras_leoclr.commands.flags import Flag, Given

TEXT = """leoclr index DIR --backbone FILE [--output INDEX] [--FLAG VALUE ...]

Makes an index of the pictures in DIR, at any depth, for `leoclr search`: one file, DIR.index if nothing else
is said. The same command again reads only what is new or has changed, and forgets what is gone. An index that
was made with another backbone is refused, and so is one that is damaged; --overwrite makes it anew."""


def _run(given: Given) -> int:
    check_output(given, "output")
    from keras_leoclr import search
    from keras_leoclr.data.failures import shown

    folder = given.rest[0]
    path = given["output"] or search.default_path(folder)
    encoder = search.Encoder.load(given["backbone"], given["image_size"], given["value_range"])
    options = given.some("kind", "overwrite", "on_error", "max_failures", "batch_size")
    verbose = given["verbose"] and not given["json"]
    update = search.update_index(folder, encoder, path, verbose=verbose, **options)
    counts = {name: getattr(update, name) for name in ("kept", "added", "changed", "removed")}
    if given["json"]:
        print(json.dumps({"index": str(path), **counts, "skipped": update.skipped}))
        return 0
    for name, reason in update.skipped:
        print(f"skipped {shown(name)}: {reason}")
    numbers = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    print(f"{shown(str(path))}: {len(update.index.files):,} pictures ({numbers})")
    return 0


COMMAND = Command(
    name="index",
    arguments="DIR --backbone FILE",
    summary="features of a folder of pictures",
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
        Flag("output", str, None, "file of the index; by default DIR.index"),
        Flag(
            "kind",
            str,
            "exact",
            "kind of index: exact, or hnsw, which is faster with millions of pictures and may miss a few",
            choices=("exact", "hnsw"),
        ),
        IMAGE_SIZE,
        Flag(
            "value_range",
            tuple[float, ...],
            None,
            "the two values that become black and white, low and high; by default those of the run",
        ),
        Flag("overwrite", bool, False, "replace an index that is there"),
        on_error("a picture"),
        max_failures(0.01),
        Flag("batch_size", int, 64, "number of images per call of the backbone", low=1),
        Flag("json", bool, False, "print what was done, as JSON"),
        Flag("verbose", bool, True, "show progress"),
    ),
    takes="one folder",
    count=ONE,
)
