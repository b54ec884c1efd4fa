"""Renders RESULTS.md and its pictures from docs/results/*/results.jsonl: `make results`.

    python docs/results.py [--check]

Each folder holds the `results.jsonl` of one study, as `leoclr ablate ... --workdir FOLDER` writes it; all
numbers, tables, pictures and comparisons of the page come from there. So do the tables in other documents
that stand between `<!-- table: NAME -->` and `<!-- end of table -->`. With `--check` nothing is written, and
the exit status is 1 if a document differs from what would be.
"""

from __future__ import annotations

import argparse
import pathlib
import re
import sys

from results_page.comparison import comparison, expected, foretold
from results_page.study import section
from results_page.tables import TABLES, leads_picture
from results_page.words import ABOUT, INTRODUCTION

from keras_leoclr.report import studies
from keras_leoclr.runs.results import Results

ROOT = pathlib.Path(__file__).parent
PAGE = ROOT.parent / "RESULTS.md"
WITH_TABLES = (ROOT.parent / "README.md", ROOT / "when.md", ROOT / "compare_methods.md")
TABLE = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end of table -->)", re.S)


def found_studies() -> list[tuple[str, studies.Study]]:
    """Folder and study, of all studies, ordered by folder."""
    found = []
    for path in sorted(ROOT.glob("results/*/results.jsonl")):
        found += [(path.parent.name, study) for study in studies.read(Results(path)).values()]
    return found


def page() -> dict[pathlib.Path, str]:
    """The texts of RESULTS.md, of the documents with tables and of the pictures, by path."""
    found = found_studies()
    parts = [INTRODUCTION]
    for method in ABOUT:
        parts += comparison(found, method)
    parts += [*expected(found), *foretold(found)]
    files = {ROOT / "pictures" / "leads.svg": leads_picture(found)}
    for folder, study in found:
        texts, pictures = section(ROOT / "results" / folder, study, ROOT.parent)
        parts += texts
        files |= pictures
    for path in WITH_TABLES:
        old = path.read_text(encoding="utf-8")
        files[path] = TABLE.sub(lambda m: f"{m[1]}\n{TABLES[m[2]](found)}\n\n{m[3]}", old)
    return {PAGE: "\n".join(parts).rstrip() + "\n", **files}


def main() -> int:
    """Writes the page, or compares it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    check = parser.parse_args().check
    stale = []
    for path, text in page().items():
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            stale.append(path)
            if not check:
                path.write_text(text, encoding="utf-8")
    for path in stale:
        print(f"{'differs' if check else 'written'}: {path.relative_to(ROOT.parent)}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
