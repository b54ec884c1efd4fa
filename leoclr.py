"""The console command: `leoclr`, or `python -m leoclr`."""

from __future__ import annotations

import sys

from keras_leoclr.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
