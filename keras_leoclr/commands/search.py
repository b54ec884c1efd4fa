"""`leoclr search`: the pictures of an index that are most similar to others."""

from __future__ import annotations

import json
import os

from absl import flags

from keras_leoclr.commands.flags import parse

USAGE = """leoclr search QUERY [QUERY ...] --index INDEX [--k N] [--FLAG VALUE ...]

Prints, for each picture QUERY, the N most similar pictures of an index made by `leoclr index`, with the
cosine of their features, and writes them as a page to look at. * marks the query itself where it is in the
index. The backbone is the one that the index names, if it has not changed; --backbone says where it lies
now."""


def run(arguments: list[str]) -> int:
    """Runs the command.

    Args:
        arguments: what follows its name.

    Returns:
        Exit status.
    """
    values = _flags()
    queries = parse(values, arguments, USAGE)
    if queries is None:
        return 0
    given = {name: values[name].value for name in values}
    if not queries or not given["index"]:
        raise flags.Error(
            f"`search` takes one or more pictures and `--index`. Received: {len(queries)} pictures, "
            f"--index {given['index'] or 'not given'}"
        )
    from keras_leoclr import search
    from keras_leoclr.data.failures import shown

    index = search.PictureIndex.read(given["index"])
    encoder = search.Encoder.load(given["backbone"] or index.backbone["path"], index.backbone["image_size"])
    found = list(search.search(index, encoder, queries, given["k"], given["on_error"]))
    if given["page"]:
        from keras_leoclr.report.search_page import write_page

        about = f"{len(index.files):,} pictures, features of {index.backbone['path']}, cosine similarity"
        write_page(given["page"], found, index.folder, about)
    if given["json"]:
        print(json.dumps({"results": search.as_json(found), "page": given["page"] or None}))
        return 0
    for query, hits in found:
        print(shown(query) if not isinstance(hits, str) else f"{shown(query)}: left out, {hits}")
        for rank, hit in enumerate([] if isinstance(hits, str) else hits, 1):
            name = shown(os.path.relpath(hit.path, index.folder))
            print(f"{rank:5}  {hit.similarity:7.4f} {'*' if hit.itself else ' '} {name}")
    if given["page"]:
        print(f"To look at: {shown(given['page'])}")
    return 0


def _flags() -> flags.FlagValues:
    values = flags.FlagValues()
    own = {"flag_values": values, "module_name": "search"}
    flags.DEFINE_string("index", None, "file that `leoclr index` wrote", **own)
    flags.DEFINE_integer("k", 10, "pictures per query", 1, **own)
    flags.DEFINE_string("page", "search.html", "HTML page with the pictures; empty for none", **own)
    flags.DEFINE_string("backbone", None, "where the backbone of the index lies now", **own)
    flags.DEFINE_enum("on_error", "raise", ["raise", "skip"], "at a query that cannot be read", **own)
    flags.DEFINE_bool("json", False, "print the hits as JSON", **own)
    return values
