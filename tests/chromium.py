"""The Chromium that pages are tested in: where it is, or how to get it.

python tests/chromium.py      # installs Debian's if there is none and this is root
"""

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome")
ADVICE = (
    "The page tests need Chromium: `apt-get install chromium` as root, or set CHROMIUM to the path of a "
    "Chromium or Chrome."
)


def find():
    """Path of the browser, or None; $CHROMIUM comes first."""
    named = os.environ.get("CHROMIUM")
    if named:
        return shutil.which(named)
    return next(filter(None, map(shutil.which, NAMES)), None)


def main():
    if find() is None and os.geteuid() == 0 and shutil.which("apt-get") and "CHROMIUM" not in os.environ:
        quiet = {"stdout": subprocess.DEVNULL, "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}}
        subprocess.run(["apt-get", "update", "-qq"], check=False, **quiet)
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"]
        subprocess.run(command, check=False, **quiet)
    found = find()
    print(found or ADVICE, file=sys.stdout if found else sys.stderr)
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
