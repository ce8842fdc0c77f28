"""
How commands are grouped: which are imported when they are called only, and what --help tells of each.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

EXIT_CODES = """\b
Exit codes: 0 done, 1 failed, 2 wrong usage or not confirmed, 4 not let in,
5 some lines of a file failed, 6 throttled, 130 interrupted."""

#: no sentence of --help is as long, in characters: click cuts what is longer
SENTENCE_MAX = 1_000

#: commands by heading and name: where each is in `temppass.commands`, as `module:name`, and what --help says of it
Table = Mapping[str, Mapping[str, tuple[str, str]]]


class Group(click.Group):
    """`--help` tells the first sentence of each command whole, over as many lines as it takes."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's shape
        told = [(name, command.get_short_help_str(SENTENCE_MAX)) for name, command in self.commands.items()]
        with formatter.section("Commands"):
            formatter.write_dl(told)


class TableGroup(click.Group):
    """Its commands are imported when they are called; --help lists them from `table`."""

    def __init__(self, *args: Any, table: Table, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's shape
        return [name for section in self.table.values() for name in section]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's shape
        for section in self.table.values():
            if cmd_name in section:
                module, _, name = section[cmd_name][0].partition(":")
                command: click.Command = getattr(import_module(f"temppass.commands.{module}"), name)
                return command
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's shape
        for heading, section in self.table.items():
            with formatter.section(heading):
                formatter.write_dl([(name, sentence) for name, (_, sentence) in section.items()])
