"""
The numbered schema files, one folder a database: read in order, each run once.
"""

import sqlite3
from collections.abc import Iterator
from importlib import resources


def migrations(database: str) -> list[tuple[int, str]]:
    """Answer (number, script) of every schema file of `sqlite` or `postgres`, in order."""
    folder = resources.files("temppass.storage") / "schema" / database
    return sorted((int(file.name.partition("_")[0]), file.read_text("utf-8")) for file in folder.iterdir())


def statements(script: str) -> Iterator[str]:
    """Answer the statements of a script one by one, for a driver that takes no more at once."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
