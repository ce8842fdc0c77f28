"""
What was done: the records of an environment, their chain, and whether it holds.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

from temppass.core import act
from temppass.service.context import Context

#: records that one seal or one page takes
PAGE = 500


class History:
    def __init__(self, context: Context) -> None:
        self._context = context

    async def records(self, environment: str) -> AsyncIterator[tuple[act.Link | None, act.Record]]:
        """Answer every record with its place in the chain, in that order; then those that have none yet."""
        store, after = self._context.store, 0
        while page := await store.records(environment, after, PAGE):
            for sealed in page:
                yield sealed.link, act.read_record(sealed.document)
            after = page[-1].link.sequence
        async for record in self.unsealed(environment):
            yield None, record

    async def unsealed(self, environment: str) -> AsyncIterator[act.Record]:
        """Answer the records that have no place in the chain yet, the oldest first."""
        after: tuple[int, str] | None = None
        while page := await self._context.store.unsealed(environment, PAGE, after):
            records = [act.read_record(document) for document in page]
            for record in records:
                yield record
            after = records[-1].at, records[-1].id

    async def seal(self) -> int:
        """Give every committed record of every environment its place in the chain; answer how many got one here."""
        return sum([await self._seal(name) for name in await self._context.store.unsealed_environments()])

    async def seal_all(self, environment: str) -> None:
        """Give every record of an environment that was committed before this call its place in the chain."""
        while await self._seal(environment) == PAGE:
            pass

    async def _seal(self, environment: str) -> int:
        key = (await self._context.worlds.known(environment)).chain_key
        if not key:  # an environment of the first version, which nobody has brought over yet
            return 0
        return await self._context.store.seal(environment, partial(act.sealed, key), PAGE)

    async def head(self, environment: str) -> act.Link:
        """Answer where the chain of an environment says that it ends."""
        return await self._context.store.head(environment)

    async def faults(self, environment: str, kept: act.Link | None = None) -> AsyncIterator[str]:
        """
        Tell, a sentence each, what is wrong with the chain of an environment; nothing where it holds. `kept` is a head
        of some time before that was kept elsewhere.
        """
        store, last = self._context.store, act.NO_LINK
        key = (await self._context.worlds.load(environment)).chain_key
        while True:
            head = await store.head(environment)  # first: so all that it covers is in this page or before it
            page = await store.records(environment, last.sequence, PAGE)
            if not page:
                break
            for fault in act.faults(key, page, last):
                yield fault
            for fault in act.misfit(page, kept) if kept is not None else ():
                yield fault
            last = page[-1].link
        for fault in act.loose_ends(last, head, kept):
            yield fault
