"""The console command: `leoclr`, or `python -m leoclr`.

Beside the package, so that what needs neither Keras nor TensorFlow answers at once, and answers when one of
them does not even import.
"""

from __future__ import annotations

import importlib.util
import sys

# These answer without the rest of the package.
LIGHT = ("recipes", "watch", "doctor")


def needs_keras(argv: list[str]) -> bool:
    """Whether a command line does more than `LIGHT` commands, help and complaints."""
    return len(argv) > 1 and not argv[1].startswith("-") and argv[1] not in LIGHT


def main(argv: list[str] | None = None) -> int:
    """Runs a command.

    Args:
        argv: program name and arguments; `sys.argv` by default.

    Returns:
        Exit status, see `leoclr --help`.
    """
    argv = sys.argv if argv is None else argv
    name = "keras_leoclr"
    if name not in sys.modules:  # its modules can be imported, and its `__init__` has not run
        sys.modules[name] = importlib.util.module_from_spec(importlib.util.find_spec(name))
    from keras_leoclr import cli

    package = sys.modules[name]
    if needs_keras(argv) and not hasattr(package, "__all__"):
        try:
            package.__spec__.loader.exec_module(package)
        except Exception as error:
            print(f"leoclr: {type(error).__name__}: {error}", file=sys.stderr)
            print("leoclr: a package that it needs cannot be used: see `leoclr doctor`", file=sys.stderr)
            return 1
    return cli.main(argv)


if __name__ == "__main__":
    sys.exit(main())
