"""Whether two split strings name pictures in common."""

from __future__ import annotations

import math
import re


def overlap(one: str, other: str) -> bool:
    """Whether two splits are known to have images in common.

    Args:
        one: split, such as "train" or "train[:80%]".
        other: split of the same data set.
    """
    (name, *of_one), (other_name, *of_other) = map(_range, (one, other))
    if not name or name != other_name:
        return False
    units = {unit for _, _, unit in (of_one, of_other)} - {""}  # "" is a whole split
    if len(units) > 1:
        return False
    return max(of_one[0], of_other[0]) < min(of_one[1], of_other[1])


def _range(split):
    """Name, beginning, end and unit of a slice such as "train[:80%]"; the name is "" for anything else."""
    found = re.fullmatch(r"(\w+)(?:\[(\d*)(%?):(\d*)(%?)\])?", split)
    if not found:
        return "", 0, 0, ""
    name, start, percent, end, also = found.groups()
    unit = "" if not (start or end) else "%" if percent or also else "images"
    return name, int(start or 0), int(end) if end else math.inf, unit
