"""The console command: `leoclr`, or `python -m leoclr`.

Beside the package, so that what needs neither Keras nor TensorFlow answers at once, and answers when one of
them does not even import.
"""

from __future__ import annotations

import importlib.util
import sys
import types


def main(argv: list[str] | None = None) -> int:
    """Runs a command.

    Args:
        argv: program name and arguments; `sys.argv` by default.

    Returns:
        Exit status, see `leoclr --help`.
    """
    argv = sys.argv if argv is None else argv
    _without_imports("keras_leoclr")
    from keras_leoclr import cli

    if not cli.needs_keras(argv):
        return cli.main(argv)
    for name in [name for name in sys.modules if name.partition(".")[0] == "keras_leoclr"]:
        del sys.modules[name]  # now with all that it imports
    try:
        from keras_leoclr import cli
    except Exception as error:
        print(f"leoclr: {type(error).__name__}: {error}", file=sys.stderr)
        print("leoclr: a package that it needs cannot be used; `leoclr doctor` says more", file=sys.stderr)
        return 1
    return cli.main(argv)


def _without_imports(name: str) -> None:
    """Makes a package whose modules can be imported, and whose `__init__` is not run."""
    package = types.ModuleType(name)
    package.__path__ = list(importlib.util.find_spec(name).submodule_search_locations)
    sys.modules[name] = package


if __name__ == "__main__":
    sys.exit(main())
