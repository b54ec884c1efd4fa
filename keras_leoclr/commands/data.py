"""`leoclr data` describes the pictures of a data set and lists damaged ones."""

from __future__ import annotations

import json

from keras_leoclr.commands.command import JSON, ONE, Command
from keras_leoclr.commands.flags import Flag, Given, UsageError

TEXT = """leoclr data NAME_OR_PATH [--statistics] [--FLAG VALUE ...]

Counts the pictures, describes their sizes, formats and classes, and names those that cannot be read; if there
are any, the exit status is 1. Copies of files are counted too, and --duplicates also finds pictures that look
nearly the same. Several places (folders, patterns, lists, .zip and .tar files) are given as one name with
commas between them. With --statistics, the command instead measures the mean and the deviation of each
channel and prints them as the flags --mean and --std."""


def _run(given: Given) -> int:
    from keras_leoclr.data.failures import shown
    from keras_leoclr.data.summary import describe, summarize

    if given["statistics"]:
        if typed := {"verify", "duplicates"} & given.typed:
            flag = f"--{min(typed)}"
            raise UsageError(
                f"`{flag}` must be left out with --statistics, which measures alone. "
                f"Received: {flag} with --statistics"
            )
        return _statistics(given)
    if typed := {"channels", "value_range"} & given.typed:
        flag = f"--{min(typed)}"
        raise UsageError(
            f"`{flag}` may be given with --statistics alone. Received: {flag} without --statistics"
        )
    asked = given.rest[0], given["split"], given["data_dir"], given["verify"], given["duplicates"]
    if given["json"]:
        found = describe(*asked)
        failures = found.failures
        damaged = [{"file": shown(path), "reason": reason} for path, reason in failures.items()]
        facts = {"pictures": found.count if found.count >= 0 else None, "damaged_pictures": failures.count}
        facts |= {"labels": found.labels or None, "duplicates": found.duplicates}
        print(json.dumps({**facts, "damaged": damaged, "text": found.lines}, indent=2))
    else:
        text, failures = summarize(*asked)
        print(text)
    return 1 if failures.count else 0


def _statistics(given: Given) -> int:
    from keras_leoclr.data import load, statistics
    from keras_leoclr.data.extent import in_all_digits, value_range_of

    reading = given.some("channels", "value_range", "data_dir")
    name, split = given.rest[0], given["split"]
    if measured := reading["value_range"] == "auto":

        def opened(extent):
            return load(name, split, **{**reading, "value_range": extent})

        reading["value_range"], _ = value_range_of(opened, given["channels"], progress=not given["json"])
    found = statistics(load(name, split, **reading))
    if given["json"]:
        print(json.dumps(found | {"value_range": list(reading["value_range"])}, indent=2))
        return 0
    if measured:
        print(f"--value_range {in_all_digits(reading['value_range'])}")
    typed = {name: ",".join(f"{number:g}" for number in found[name]) for name in ("mean", "std")}
    print(f"--mean {typed['mean']} --std {typed['std']}")
    for name, what in (("low", "smallest"), ("high", "largest")):
        values = ", ".join(f"{number:g}" for number in found[name])
        print(f"{what} value of each channel, in [0, 255] as it is read: {values}")
    print(f"{found['pictures']:,} pictures were looked at.")
    return 0


COMMAND = Command(
    name="data",
    arguments="NAME_OR_PATH",
    summary="what pictures are there, and which are damaged",
    text=TEXT,
    run=_run,
    flags=(
        Flag("split", str, "train", 'such as "test" or "train[:10%]"'),
        Flag("data_dir", str, None, "folder in which TensorFlow Datasets keeps its files"),
        Flag("verify", bool, False, "decode every picture, which finds damage behind a whole header"),
        Flag("duplicates", bool, False, "find pictures that look nearly the same (needs imagehash)"),
        Flag("statistics", bool, False, "measure mean and deviation of each channel"),
        Flag("channels", int, 3, "number of channels of the pictures, with --statistics", low=1),
        Flag(
            "value_range",
            tuple[float, ...],
            (),
            "the two values that become black and white, low and high, with --statistics; auto: the least "
            "and the greatest value",
            auto=True,
        ),
        JSON,
    ),
    takes="one name or path",
    count=ONE,
)
