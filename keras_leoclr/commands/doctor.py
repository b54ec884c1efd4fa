"""`leoclr doctor` shows what is installed and what will not work."""

from __future__ import annotations

import json
from typing import Any

from keras_leoclr.commands.command import JSON, Command
from keras_leoclr.commands.flags import Given
from keras_leoclr.commands.installation import examine

TEXT = """leoclr doctor [--json]

Prints versions, backend, devices, directories and CPU, tries whether the packages can be imported (in
processes of their own, which takes some seconds), and says what will not work and what to look out for.

Exit status: 0, or 1 if something will not work."""


def text(found: dict[str, Any]) -> str:
    """Formats the result of `examine` for reading."""
    missing = [name for name, version in found["optional"].items() if version is None]
    present = {name: version for name, version in found["optional"].items() if version}
    rows = [("python", found["python"]), ("system", found["system"])]
    rows += [(name, version or "missing") for name, version in found["packages"].items()]
    rows += [("optional", ", ".join(f"{name} {version}" for name, version in present.items()) or "none")]
    rows += [("not there", ", ".join(missing))] if missing else []
    rows += [("backend", found["backend"]), ("devices", ", ".join(found["devices"]) or "not known")]
    cpu = found["cpu"]
    rows += [("cpu", f"{cpu['cores']} cores, {cpu['memory_gib']} GiB, {' '.join(cpu['features'])}")]
    for name, place in found["directories"].items():
        rows.append(
            (name, f"{place['path']}: {place['free_gib']} GiB free{'' if place['exists'] else ', none yet'}")
        )
    rows += list(found["environment"].items())
    width = max(len(name) for name, _ in rows) + 2
    lines = [f"{name:{width}}{value}" for name, value in rows]
    lines += [f"\nFAULT    {sentence}" for sentence in found["faults"]]
    lines += [f"\nwarning  {sentence}" for sentence in found["warnings"]]
    return "\n".join(
        [*lines, "" if found["faults"] or found["warnings"] else "\nNothing to object to."]
    ).rstrip()


def _run(given: Given) -> int:
    found = examine()
    print(json.dumps(found, indent=2) if given["json"] else text(found))
    return 1 if found["faults"] else 0


COMMAND = Command(
    name="doctor", arguments="", summary="check this installation", text=TEXT, run=_run, flags=(JSON,)
)
