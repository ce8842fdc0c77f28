"""
A walk past every door of the server, on the wire, byte for byte. It is recorded in tests/examples/walk.json, so that no
change of the wire can happen unseen.

    make walk        records it anew: after a change of the wire that is meant, and what differs is read in review

It drives the server from outside and knows nothing of it but temppass.testing, so that it outlives any move within.
"""

from pathlib import Path

from tests.web.walk.control import control
from tests.web.walk.doors import (
    away,
    changes,
    environments,
    every_operation,
    heads,
    introspection,
    origins,
    own,
    registration,
    tokens,
)
from tests.web.walk.recording import Exchange, pretty, recording
from tests.web.walk.viewers import basic, four_weeks_later, promotional, recurring, resets, sessions
from tests.web.walk.walker import CATALOGUE, SECRET, T0, Walker

from temppass.testing import serving

RECORDED = Path(__file__).parent.parent.parent / "examples" / "walk.json"


def walk() -> list[Exchange]:
    """Go past every door, in one order, on a clock that stands where the walk sets it."""
    exchanges: list[Exchange] = []
    with serving(CATALOGUE, now=T0, TEMPPASS_SECRET=SECRET, TEMPPASS_SESSIONS_PER_SECOND="1") as double:
        double.apply(CATALOGUE.replace('ttl = "30m"', 'ttl = "1h"'), "acme")
        walker = Walker(double, exchanges)
        document = own(walker)
        registration(walker)
        ops = walker.bearer("ops")
        tokens(walker)
        every_operation(walker, document, ops)
        basic(walker, ops)
        promotional(walker, ops)
        sessions(walker, ops)
        resets(walker, ops)
        origins(walker, ops)
        heads(walker, ops)
        environments(walker, ops)
        recurring(walker)
        changes(walker)
        four_weeks_later(walker)
        control(walker)
        introspection(walker)
        walker.ask("metrics", "GET /metrics")
    return exchanges + away(document)


if __name__ == "__main__":
    RECORDED.write_text(pretty(recording(walk())), "utf-8")
