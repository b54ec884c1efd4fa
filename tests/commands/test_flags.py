"""Flags as data: their text, how they are read, and what is said of a value that is not allowed."""

import dataclasses

import pytest
from absl import flags

from keras_leoclr import cli, commands
from keras_leoclr.commands.command import ONE, Command, workdir
from keras_leoclr.commands.flags import Flag, UsageError, fields_of, flags_of, read, text_of
from keras_leoclr.training.recipe import Recipe

pytestmark = pytest.mark.backend_free
DECLARED = (
    Flag("count", int, 7, "how many, " + "words " * 20, "first", low=1),
    Flag("on", bool, True, "a switch", "first"),
    Flag("sizes", tuple[int, ...], (1, 2), "of something, pixels", "second"),
    Flag("shares", tuple[float, ...], None, "of something", "second"),
    Flag("way", str, None, "which", "second", choices=("a", "b")),
)


@dataclasses.dataclass(frozen=True)
class Settings:
    name: str | None = dataclasses.field(default=None, metadata={"help": "of it", "group": "data"})
    widths: tuple[int, ...] = dataclasses.field(default=(), metadata={"help": "of it", "group": "model"})
    rate: float = dataclasses.field(default=0.1, metadata={"help": "of it", "group": "model"})


def test_flags_are_grouped_wrapped_and_show_kind_and_default():
    lines = text_of(DECLARED, width=60).splitlines()
    assert lines[1] == "First:" and "Second:" in lines
    assert lines[2].startswith("  --count N                     how many,")
    assert all(len(line) <= 60 for line in lines) and "7)" in "".join(lines)
    assert "  --[no]on                      a switch (on by default)" in lines
    assert (
        "  --sizes A,B                   of something, pixels" in lines
        and " " * 32 + "(default 1,2)" in lines
    )
    assert "  --way a|b                     which" in lines


def test_flags_without_a_group_stand_under_the_name_of_the_command():
    assert text_of([Flag("k", int, 1, "pictures")], "search").splitlines()[1:2] == ["Search:"]


def test_values_have_their_kinds_and_what_was_typed_is_known():
    given = read(DECLARED, ["one", "--sizes=3,4", "--noon", "--shares", "0.5,1", "two"])
    assert given["sizes"] == (3, 4) and given["on"] is False and given["shares"] == (0.5, 1.0)
    assert given["count"] == 7 and given["way"] is None
    assert given.rest == ["one", "two"] and given.typed == {"sizes", "on", "shares"}
    assert given.some("count", "on") == {"count": 7, "on": False}
    assert read(DECLARED, [])["sizes"] == (1, 2)


def test_a_name_may_be_typed_with_dashes():
    declared = [Flag("with_head", bool, False, ""), Flag("file_name", str, "", "")]
    given = read(declared, ["--with-head", "--file-name=a-b", "x-y"])
    assert given["with_head"] and given["file_name"] == "a-b" and given.rest == ["x-y"]


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_is_no_value(flag):
    assert read(DECLARED, ["--count", "3", flag]) is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--sizes", "1,a"], "`--sizes` must be comma-separated whole numbers. Received: 1,a"),
        (["--shares", "x"], "`--shares` must be comma-separated numbers. Received: x"),
        (["--count", "0"], "--count=0"),
        (["--way", "c"], "<a|b>"),
        (["--cuont", "1"], "Did you mean: count"),
    ],
)
def test_what_is_not_allowed_is_an_error_of_usage(arguments, words):
    with pytest.raises(UsageError) as raised:
        read(DECLARED, arguments)
    assert words in str(raised.value)
    assert isinstance(raised.value, flags.Error)  # who catches those of absl catches ours


def test_fields_of_settings_are_flags_under_their_headings():
    declared = flags_of(Settings(widths=(8, 16)))
    assert [flag.group for flag in declared] == ["data", "model", "model"]
    given = read(declared, ["--widths", "4", "--name", "x"])
    assert fields_of(given, Settings()) == {"name": "x", "widths": (4,)}
    assert read(declared, [])["widths"] == (8, 16)


def test_a_command_checks_what_it_cannot_do_without(capsys):
    command = Command(
        *("make", "NAME", "makes it", "leoclr make NAME", lambda given: len(given.rest)),
        flags=(workdir("where", "a folder for the run"),),
        takes="one name",
        count=ONE,
    )
    for arguments, words in (
        ([], "`make` takes one name. Received: none"),
        (["a", "b"], "`make` takes one name. Received: a b"),
        (["a"], "`--workdir` must name a folder for the run. Received: no --workdir"),
    ):
        with pytest.raises(UsageError, match=words):
            command(arguments)
    assert command(["a", "--workdir", "d"]) == 1
    assert command(["a", "--help"]) == 0
    assert capsys.readouterr().out.startswith("leoclr make NAME\n\nMake:\n  --workdir TEXT")


def test_the_text_of_a_flag_names_the_thing_before_it_says_more():
    texts = {field.name: field.metadata["help"] for field in dataclasses.fields(Recipe)}
    for name in commands.NAMES:
        texts |= {f"{name} --{flag.name}": flag.help for flag in cli.command_of(name).flags}
    assert len(texts) > 120
    began = ("of ", "that ", "per ", "after ", "between ", "at ", "from ", "also ", "some ")
    assert {name: text for name, text in texts.items() if text.startswith(began)} == {}
