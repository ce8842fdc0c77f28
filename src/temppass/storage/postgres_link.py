"""
How the database is reached: what a connection is told, how long it is tried, and what is said of it when it is lost.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import asyncpg

if TYPE_CHECKING:
    Connection = asyncpg.Connection[asyncpg.Record]

#: a statement that takes longer is ended by the server, in milliseconds
STATEMENT_MS = 1_000
#: an ask is answered after this long at the latest, whatever the database does, in seconds
ANSWER_WAIT_S = 1.5
CONNECT_WAIT_S = 1.0
#: between two attempts to reach a database that is away, in seconds: at first, and at most
BACKOFF_S = (0.05, 1.0)

#: plans are made once a connection, always by the primary key: a table that grows by millions within minutes outruns
#: the statistics that would choose otherwise
_SETTINGS = {
    "application_name": "temppass 2",
    "statement_timeout": str(STATEMENT_MS),
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}


async def connect(url: str) -> Connection:
    """Connect, again and again with growing pauses until the caller's time is over."""
    pause_s = BACKOFF_S[0]
    while True:
        try:
            return await asyncpg.connect(url, timeout=CONNECT_WAIT_S, server_settings=_SETTINGS)
        except (OSError, asyncpg.CannotConnectNowError, asyncpg.TooManyConnectionsError, TimeoutError):
            await asyncio.sleep(pause_s * random.uniform(0.5, 1))  # noqa: S311 - so that nodes do not come all at once
            pause_s = min(2 * pause_s, BACKOFF_S[1])


def reason_of(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
