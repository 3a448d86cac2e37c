"""The command line as it is read: each command by its own module, and none forgotten."""

import argparse
import subprocess
import sys

import pytest

from app.cli import COMMANDS, parser_of


def offered(parser: argparse.ArgumentParser) -> set[str]:
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return set(commands.choices)


def test_every_command_is_offered_and_told_where_it_is() -> None:
    assert offered(parser_of()) == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_alone_is_read_as_among_all(command: str) -> None:
    assert command in offered(parser_of(command))
    assert {COMMANDS[each] for each in offered(parser_of(command))} == {COMMANDS[command]}


def test_what_a_command_does_not_need_is_not_loaded() -> None:
    code = "import sys; from app.cli import parser_of; parser_of('keys'); print('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
