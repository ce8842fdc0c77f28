"""
What was done: the records of an environment, their chain, and whether it holds.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial

from temppass.core import act, anchor
from temppass.core.anchor import Anchor
from temppass.core.model import Recorded
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

    async def forget(self, environment: str, before: int) -> int:
        """
        Forget up to a page of an environment's oldest records that are of before a moment; answer how many. What was
        meddled with stays, and all that follows it.
        """
        key = (await self._context.worlds.known(environment)).chain_key
        if not key:
            return 0
        return await self._context.store.forget(environment, partial(anchor.forgotten, key, before), PAGE)

    async def beginning(self, environment: str) -> Anchor:
        """Answer where the chain of an environment says that it begins."""
        return await self._context.store.anchor(environment)

    async def bare(self, environment: str) -> int:
        """Answer how many records the chain begins with that an earlier version kept nothing of to look for them by."""
        last, count = (await self.beginning(environment)).link.sequence, 0
        while page := await self._context.store.recorded(environment, last, PAGE):
            for link, found in page:
                if not act.is_bare(found):
                    return count
                last, count = link.sequence, count + 1
        return count

    async def faults(self, environment: str, kept: act.Link | None = None) -> AsyncIterator[str]:
        """
        Tell, a sentence each, what is wrong with the chain of an environment, and with what its records are looked for
        by; nothing where both hold. `kept` is a head of some time before that was kept elsewhere.
        """
        store, last, may_be_bare = self._context.store, act.NO_LINK, True
        key = (await self._context.worlds.load(environment)).chain_key
        if not anchor.is_good(key, await store.anchor(environment)):
            yield "where the chain begins was not written by this service"
        while True:
            head = await store.head(environment)  # first: so all that it covers is in this page or before it
            page = await store.recorded(environment, last.sequence, PAGE)
            if not page or page[0][0].sequence != last.sequence + 1:
                # only now: so what is not in the page because it was forgotten meanwhile lies before it
                begins = await store.anchor(environment)
                if begins.link.sequence > last.sequence and anchor.is_good(key, begins):
                    last = begins.link
                    for fault in act.misfit([act.Sealed(last, b"")], kept or last):
                        yield fault
                    continue
            if not page:
                break
            for link, found in page:
                may_be_bare = may_be_bare and act.is_bare(found)
                for fault in _wrong(key, last, (link, found), kept or link, may_be_bare=may_be_bare):
                    yield fault
                last = act.Link(link.sequence, link.hash or b"")  # a database lets somebody empty it
        for fault in act.loose_ends(last, head, kept):
            yield fault


def _wrong(
    key: bytes, after: act.Link, entry: tuple[act.Link, Recorded], kept: act.Link, *, may_be_bare: bool
) -> list[str]:
    """Answer, a sentence each, what is wrong with the record that follows `after`."""
    link, found = entry
    chain = [act.Sealed(link, found.document)]
    if wrong := [*act.faults(key, chain, after), *act.misfit(chain, kept)]:
        return wrong  # and what its document says is nothing to go by
    words = ", ".join(act.strayed(found, may_be_bare=may_be_bare))
    return [f"record {link.sequence} is not found by what was sealed: {words}"] if words else []
