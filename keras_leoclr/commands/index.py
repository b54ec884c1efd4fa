"""`leoclr index`: the features of a folder of pictures, for `leoclr search`."""

from __future__ import annotations

import json

from absl import flags

from keras_leoclr.commands.flags import parse

USAGE = """leoclr index DIR --backbone FILE [--output INDEX] [--FLAG VALUE ...]

Makes an index of the pictures in DIR, at any depth, for `leoclr search`: one file, DIR.index if nothing else
is said. The same command again reads only what is new or has changed, and forgets what is gone. An index that
was made with another backbone is refused, and so is one that is damaged; --overwrite makes it anew."""


def run(arguments: list[str]) -> int:
    """Runs the command.

    Args:
        arguments: what follows its name.

    Returns:
        Exit status.
    """
    values = _flags()
    rest = parse(values, arguments, USAGE)
    if rest is None:
        return 0
    given = {name: values[name].value for name in values}
    if len(rest) != 1:
        raise flags.Error(f"`index` takes one folder. Received: {' '.join(rest) or 'none'}")
    if not given["backbone"]:
        raise flags.Error("`--backbone` must name a file or the folder of a run. Received: no --backbone")
    from keras_leoclr import search
    from keras_leoclr.data.failures import shown

    path = given["output"] or search.default_path(rest[0])
    encoder = search.Encoder.load(given["backbone"], given["image_size"])
    options = {name: given[name] for name in ("kind", "overwrite", "on_error", "max_failures", "batch_size")}
    verbose = given["verbose"] and not given["json"]
    update = search.update_index(rest[0], encoder, path, verbose=verbose, **options)
    counts = {name: getattr(update, name) for name in ("kept", "added", "changed", "removed")}
    if given["json"]:
        print(json.dumps({"index": str(path), **counts, "skipped": update.skipped}))
        return 0
    for name, reason in update.skipped:
        print(f"skipped {shown(name)}: {reason}")
    numbers = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    print(f"{shown(str(path))}: {len(update.index.files):,} pictures ({numbers})")
    return 0


def _flags() -> flags.FlagValues:
    values = flags.FlagValues()
    own = {"flag_values": values, "module_name": "index"}
    flags.DEFINE_string("backbone", None, "a .keras file, the folder of a run, or torch weights", **own)
    flags.DEFINE_string("output", None, "file of the index; by default DIR.index", **own)
    flags.DEFINE_enum("kind", "exact", ["exact", "hnsw"], "hnsw: faster with millions, may miss one", **own)
    flags.DEFINE_integer("image_size", 0, "side of the images, pixels; 0 for the backbone's", 0, **own)
    flags.DEFINE_bool("overwrite", False, "make the index anew", **own)
    flags.DEFINE_enum("on_error", "raise", ["raise", "skip"], "at a picture that cannot be read", **own)
    flags.DEFINE_float("max_failures", 0.01, "with skip, largest share that may fail", 0.0, 1.0, **own)
    flags.DEFINE_integer("batch_size", 64, "images per call of the backbone", 1, **own)
    flags.DEFINE_bool("json", False, "print what was done as JSON", **own)
    flags.DEFINE_bool("verbose", True, "show progress", **own)
    return values
