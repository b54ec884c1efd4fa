"""`leoclr search` finds the pictures of an index that are most similar to given pictures."""

from __future__ import annotations

import json
import os

from keras_leoclr.commands.command import SOME, Command, check_output, on_error
from keras_leoclr.commands.flags import Flag, Given

TEXT = """leoclr search QUERY [QUERY ...] --index INDEX [--k N] [--FLAG VALUE ...]

Prints, for each picture QUERY, the N most similar pictures of an index made by `leoclr index`, with the
cosine of their features, and writes them as a page to look at. * marks the query itself where it is in the
index. The backbone is the one that the index names, if it has not changed; --backbone says where it lies
now."""


def _run(given: Given) -> int:
    check_output(given, "page", (".html",))
    from keras_leoclr import search
    from keras_leoclr.data.failures import shown

    index = search.PictureIndex.read(given["index"])
    encoder = search.Encoder.load(
        given["backbone"] or index.backbone["path"],
        index.backbone["image_size"],
        index.backbone.get("value_range", ()),
    )
    found = list(search.search(index, encoder, given.rest, given["k"], given["on_error"]))
    if given["page"]:
        from keras_leoclr.report.search_page import write_page

        backbone = shown(index.backbone["path"])
        about = f"{len(index.files):,} pictures, features of {backbone}, cosine similarity"
        write_page(given["page"], found, index.folder, about, encoder.pixels)
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


COMMAND = Command(
    name="search",
    arguments="QUERY ... --index INDEX",
    summary="the most similar pictures there",
    text=TEXT,
    run=_run,
    flags=(
        Flag("index", str, None, "file that `leoclr index` wrote", needed="a file that `leoclr index` wrote"),
        Flag("k", int, 10, "number of pictures that are found for each query", low=1),
        Flag("page", str, "search.html", "HTML page that shows the pictures; empty: no page"),
        Flag("backbone", str, None, "file of the backbone of the index, if it was moved"),
        on_error("a query"),
        Flag("json", bool, False, "print what was found as JSON"),
    ),
    takes="one or more pictures",
    count=SOME,
)
