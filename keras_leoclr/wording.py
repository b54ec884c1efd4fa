"""Names of arguments in messages: flags such as `--overwrite` on the command line, arguments in Python."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterator

_flags: Collection[str] = ()  # names of the flags of the command that runs; empty in Python


@contextlib.contextmanager
def of_a_command(flags: Collection[str]) -> Iterator[None]:
    """A context in which messages name arguments as flags, also those of errors that leave it.

    Args:
        flags: names of the flags that the command has, without the dashes.
    """
    global _flags
    before, _flags = _flags, flags
    try:
        yield
    except Exception as error:
        error.flags = flags  # type: ignore[attr-defined]  # `of_error` reads it
        raise
    finally:
        _flags = before


@contextlib.contextmanager
def pictures_called(name: str) -> Iterator[None]:
    """A context whose errors call the pictures by the argument of a function that hands them to `data.load`.

    Args:
        name: name of the argument, which `data.load` calls `name_or_path`.
    """
    try:
        yield
    except Exception as error:
        if error.args and isinstance(error.args[0], str):
            error.args = (error.args[0].replace("`name_or_path`", f"`{name}`"), *error.args[1:])
        raise


def of_flags() -> bool:
    """Whether a command runs, so that settings are typed as flags."""
    return bool(_flags)


def named(text: str) -> str:
    """Returns a message in which arguments that are flags of the running command are named as such.

    Args:
        text: the message, with names of arguments as in Python: "`overwrite` runs it again".
    """
    return _named(text, _flags)


def of_error(error: Exception, message: str | None = None) -> str:
    """The message of an error that has left `of_a_command`, with the names of flags.

    Args:
        error: the error.
        message: a part of its message that is returned instead; None for all of it.
    """
    return _named(str(error) if message is None else message, getattr(error, "flags", ()))


def settings(**values: str | float) -> str:
    """Settings as one types them: `--epochs 20` on the command line, `epochs=20` in Python.

    Args:
        **values: values by the name of their setting.
    """
    if _flags:
        return "`" + " ".join(f"--{name} {_typed(value)}" for name, value in values.items()) + "`"
    return "`" + ", ".join(f"{name}={_quoted(value)}" for name, value in values.items()) + "`"


def _named(text, flags):
    if "dataset" in flags:  # `data.load` calls it by the name of its own argument.
        text = text.replace("`name_or_path`", "`dataset`")
    return re.sub(r"`(\w+)`", lambda found: f"`--{found[1]}`" if found[1] in flags else found[0], text)


def _typed(value):
    return f'"{value}"' if re.search(r"[^\w.,-]", str(value)) else str(value)


def _quoted(value):
    return f'"{value}"' if isinstance(value, str) else f"{value}"
