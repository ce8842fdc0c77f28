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
        for document in await store.unsealed(environment, PAGE):
            yield None, act.read_record(document)

    async def seal(self) -> int:
        """Give every committed record of every environment its place in the chain; answer how many got one here."""
        context, count = self._context, 0
        for environment in await context.store.unsealed_environments():
            key = (await context.worlds.known(environment)).chain_key
            if not key:  # an environment of the first version, which nobody has brought over yet
                continue
            count += await context.store.seal(environment, partial(act.sealed, key), PAGE)
        return count

    async def faults(self, environment: str) -> list[str]:
        """Tell, a sentence each, what is wrong with the chain of an environment; nothing where it holds."""
        store, chain, after = self._context.store, list[act.Sealed](), 0
        key = (await self._context.worlds.load(environment)).chain_key
        head = await store.head(environment)
        while page := await store.records(environment, after, PAGE):
            chain += [sealed for sealed in page if sealed.link.sequence <= head.sequence]
            after = page[-1].link.sequence
        return list(act.faults(key, chain, head))
