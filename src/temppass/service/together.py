"""
Work that many requests have to do at the same time, done one right after another.

A signature reads 150 KB of tables. Where the rest of a request lies between two of them, the tables have left the
processor's cache, and each signature takes twice as long (docs/design.md, 2026-11-21, "signed together").
"""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

A = TypeVar("A")


class Together:
    """It serves one event loop at a time."""

    def __init__(self) -> None:
        self._due: list[tuple[asyncio.Future[Any], Callable[[], Any]]] = []
        self._loop: asyncio.AbstractEventLoop

    async def run(self, work: Callable[[], A]) -> A:
        """Answer, or raise, what `work` does, once all who are to run in this turn of the event loop have come here."""
        if not self._due:
            self._loop = asyncio.get_running_loop()
            self._loop.call_soon(self._run)
        answered: asyncio.Future[A] = self._loop.create_future()
        self._due.append((answered, work))
        return await answered

    def _run(self) -> None:
        due, self._due = self._due, []
        for answered, work in due:
            if answered.done():  # the one who asked has gone
                continue
            try:
                answered.set_result(work())
            except Exception as error:  # noqa: BLE001 - the one who asked is told, whatever it is
                answered.set_exception(error)
