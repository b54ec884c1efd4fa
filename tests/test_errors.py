"""A catalogue of the errors: the words of every error of the package are read by a test.

An error counts as read if a test holds some words of its message that hardly any other message has.
"""

import ast
import collections
import pathlib
import re

import pytest

pytestmark = pytest.mark.backend_free
ROOT = pathlib.Path(__file__).parent.parent
HOLE = "\0"  # in place of a value in a message
SIZES = (2, 3, 4)  # words in a row
OTHERS = 2  # messages that may have the same words

# Messages, by their beginning, whose words no test reads, each with the reason.
UNREAD: dict[str, str] = {
    "`{}_labels` must be >= 0.": "test_error_words.py reads it; the name of the argument is put together",
    "`split` must be one of {} of {}, or a slice.": "data/test_tfds.py reads it with the names of the splits",
}


def text_of(node: ast.AST) -> str:
    """The text of a string in the source, with a hole for each value."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) if isinstance(part, ast.Constant) else HOLE for part in node.values)
    if isinstance(node, ast.BinOp):
        return text_of(node.left) + text_of(node.right)
    if isinstance(node, ast.IfExp):
        return text_of(node.body) + HOLE + text_of(node.orelse)
    return HOLE


def words_in_a_row(text: str) -> set[tuple[str, ...]]:
    """All runs of two to four words of a message, or of a regular expression that is compared with it."""
    text = re.sub(r"\\(.)", r"\1", text)
    found = set()
    for part in re.split(rf"\.\*|\.\+|\(\?s\)|{HOLE}", text):
        words = [word for found_word in re.findall(r"[\w`'-]+", part) if (word := found_word.strip("`'_"))]
        for size in SIZES:
            found |= {tuple(words[start : start + size]) for start in range(len(words) - size + 1)}
    return found


def messages() -> dict[str, str]:
    """The place of each message that is raised in the package."""
    found = {}
    for room in ("keras_leoclr", "callbacks", "recipes"):
        for path in sorted((ROOT / room).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if name.startswith(("keras_leoclr/callbacks/", "keras_leoclr/recipes/")):
                continue  # links to the folders of these names
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
                    found[text_of(node.exc.args[0])] = f"{name}:{node.lineno}"
    return found


def words_of_tests() -> set[tuple[str, ...]]:
    """All runs of words of the strings in the tests, but for the docstrings of modules."""
    found = set()
    for path in (ROOT / "tests").rglob("*.py"):
        if path != pathlib.Path(__file__):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, (ast.Constant, ast.JoinedStr)):
                    found |= words_in_a_row(text_of(node))
    return found


def unread() -> dict[str, str]:
    """Messages that no test reads, with their places."""
    known = messages()
    rows = {message: words_in_a_row(message) for message in known}
    used = collections.Counter(row for found in rows.values() for row in found)
    tested = words_of_tests()
    return {
        message: known[message]
        for message, found in rows.items()
        if any(used[row] <= OTHERS for row in found)  # it has words of its own
        and not any(used[row] <= OTHERS and row in tested for row in found)
    }


def test_the_words_of_every_error_are_read_by_a_test():
    missing = {
        message.replace(HOLE, "{}"): place
        for message, place in unread().items()
        if not any(message.replace(HOLE, "{}").startswith(beginning) for beginning in UNREAD)
    }
    assert len(messages()) > 300
    assert not missing, "\n".join(f"{place}: {message}" for message, place in missing.items())


def test_every_exception_of_the_catalogue_is_still_raised():
    known = [message.replace(HOLE, "{}") for message in messages()]
    for beginning in UNREAD:
        assert any(message.startswith(beginning) for message in known), beginning
