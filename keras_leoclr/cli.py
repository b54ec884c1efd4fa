"""The program `leoclr`: finds the command that was typed, runs it, and prints errors in a readable form."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import sys
import traceback

import keras_leoclr
from keras_leoclr import commands, nvidia, wording
from keras_leoclr.commands.command import Command
from keras_leoclr.commands.flags import UsageError, known
from keras_leoclr.gpu_errors import advice

STATUS = """Exit status:
  0    done
  1    failed: the reason is printed; damaged pictures (data), a fault (doctor), a run that failed (watch)
  2    wrong usage, or other settings than those of the run that is to go on
  130  stopped by Ctrl-C; 128 + n by signal n"""


def command_of(name: str) -> Command:
    """Returns the command with a name.

    Raises:
        UsageError: if there is no such command; the message suggests the nearest name.
    """
    return importlib.import_module(f"{commands.__name__}.{known('command', name, commands.NAMES)}").COMMAND


def usage() -> str:
    """Returns the text of `leoclr --help`."""
    known_commands = [command_of(name) for name in commands.NAMES]
    calls = {f"{each.name} {each.arguments}".rstrip(): each.summary for each in known_commands}
    width = max(map(len, calls)) + 2
    listed = "\n".join(f"  {call:{width}}{text}" for call, text in calls.items())
    return f"""leoclr COMMAND ... [--FLAG VALUE ...]

Self-supervised pretraining of image encoders. Commands:

{listed}

  leoclr COMMAND --help             its flags with their defaults
  leoclr pretrain RECIPE --help     all settings of a recipe, each of them a flag
  leoclr --version

The backend is the environment variable KERAS_BACKEND: tensorflow (default), jax or torch.
{STATUS}"""


def main(argv: list[str] | None = None) -> int:
    """Entry point of the console script.

    Args:
        argv: program name and arguments; `sys.argv` by default.

    Returns:
        The exit status, see `STATUS`.
    """
    _, *arguments = sys.argv if argv is None else argv
    try:
        if not arguments or arguments[0] in ("-h", "--help", "help"):
            print(usage())
            return 0 if arguments else 2
        if arguments[0] == "--version":
            print(f"keras-leoclr {importlib.metadata.version('keras-leoclr')}")
            return 0
        if keras_leoclr._own_log_level:
            nvidia.quieten_tensorflow()  # before any command imports it
        return command_of(arguments[0])(arguments[1:])
    except UsageError as error:
        print(f"leoclr: {wording.of_error(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # only outside of the training, which handles signals by itself
        return 130
    except Exception as error:
        message = _in_one_line(error)
        if message is None:
            raise
        print(f"leoclr: {message}", file=sys.stderr)
        return 1


def _in_one_line(error: Exception) -> str | None:
    """Returns the message of an error that the user can correct; None for errors of the program itself."""
    message = f"{type(error).__name__}: {wording.of_error(error)}"
    if found := advice(error):
        return f"{message.splitlines()[0]}\nleoclr: {found}"
    if _is_of_an_import(error):
        return f"{message}\nleoclr: a package that it needs cannot be used: see `leoclr doctor`"
    if isinstance(error, (ValueError, OSError, ArithmeticError, ImportError)):
        return message
    if type(error).__name__ == "WorkerLostError":  # compared by name, because its module imports Keras
        return message
    # TensorFlow wraps the message of `data.decode.raise_if` into text of its own; this takes it out again.
    found = re.search(r"assertion failed: \[(.*?)\]\s*$", str(error), re.S | re.M)
    if found is None or type(error).__name__ != "InvalidArgumentError":
        return None
    return wording.of_error(error, found[1])


def _is_of_an_import(error: Exception) -> bool:
    """Whether another package is missing, or raised an error of any kind while it was imported."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return True
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    modules = [each.f_globals.get("__name__", "") for each in frames if each.f_code.co_name == "<module>"]
    return any(name.partition(".")[0] != "keras_leoclr" for name in modules)


if __name__ == "__main__":
    sys.exit(main())
