"""
When clients and statements were used last: noted in memory and brought to the store every few seconds, so that a token
costs no write. What a process that is killed had not brought yet is noted again by the next token.
"""

from __future__ import annotations

from itertools import islice

from temppass.core.model import OLDER, Client, Use
from temppass.core.oauth import last_use
from temppass.store import Store

DAY_MS = 86_400_000
#: clients that wait while the store is away, and statements whose day is known; more are noted by their next token
WAITING_MAX = 50_000
#: rows that one flush writes at once
CHUNK = 250

#: environment and id
_Key = tuple[str, str]


class Uses:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._clients: dict[_Key, int] = {}
        self._statements: dict[_Key, int] = {}
        #: the day on which this process noted a statement last
        self._noted: dict[_Key, int] = {}

    def note(self, environment: str, client: Client, now: int) -> None:
        """Keep that a client got a token. Costs nobody a wait."""
        at = last_use(client, now)
        if at is not None and len(self._clients) < WAITING_MAX:
            self._clients[environment, client.id] = at
        if client.statement_id == OLDER:  # which is on no list
            return
        statement, day = (environment, client.statement_id), now // DAY_MS * DAY_MS
        if self._noted.get(statement, 0) < day:
            if len(self._noted) >= WAITING_MAX:  # then some are written a second time
                self._noted.clear()
            self._noted[statement] = self._statements[statement] = day

    async def flush(self) -> None:
        """Bring to the store what waits. Raises StoreUnavailable, and it is brought the next time."""
        while self._clients or self._statements:
            clients, statements = _some(self._clients), _some(self._statements)
            await self._store.use(clients, statements)
            _forget(self._clients, clients)
            _forget(self._statements, statements)


def _some(waiting: dict[_Key, int]) -> list[Use]:
    return [Use(*key, at) for key, at in islice(waiting.items(), CHUNK)]


def _forget(waiting: dict[_Key, int], brought: list[Use]) -> None:
    for use in brought:
        key = (use.environment, use.id)
        if waiting[key] == use.at:  # else it was used once more meanwhile
            del waiting[key]
