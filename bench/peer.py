"""
Decisions a second against peers/fastapi_peer.py, the same endpoint on the same kind of store as one would write it
with FastAPI, SQLAlchemy and PyJWT. Both servers are up, each alone on the server's core while it is measured.

The peer signs media tokens with RS256, as it is common; we sign with ES256 by default. What remains of the ratio where
both sign with RS256, and where both sign with ES256, is said too.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from harness import HERE, STORES, Served, claim, folder, in_turn, migrate, postgres, ratio, run, serving, temppass, wrk
from traffic import authorize, check_permit

BOUND = 12
KINDS = ("known", "new")


@contextmanager
def two_stores(kind: str) -> Iterator[tuple[str, str]]:
    """Answer the URL of a store for us, and that of one for the peer, as SQLAlchemy writes it."""
    if kind == "sqlite":
        with folder() as path:
            yield f"sqlite:///{path}/ours.db", f"sqlite+aiosqlite:///{path}/theirs.db"
        return
    with postgres("ours", "theirs") as (ours, theirs):
        migrate(ours)
        yield ours, theirs.replace("postgresql://", "postgresql+asyncpg://")


@contextmanager
def peer(database: str, algorithm: str) -> Iterator[tuple[Served, str]]:
    """Run the peer; answer it and its access token."""
    command = [sys.executable, str(HERE / "peers/fastapi_peer.py"), "--database", database]
    with serving([*command, "--media-algorithm", algorithm]) as served:
        (token,) = re.findall(r"^TOKEN='(.+)'$", served.output, re.MULTILINE)
        yield served, token


def measure(store: str, algorithms: dict[str, str], rounds: dict[str, int]) -> dict[str, float]:
    """Answer the ratio for known and for new subjects; `algorithms` are those of media tokens, by side."""
    with ExitStack() as stack:
        our_store, their_store = stack.enter_context(two_stores(store))
        ours = stack.enter_context(temppass(our_store, {"TEMPPASS_MEDIA_ALGORITHM": algorithms["ours"]}))
        theirs, their_token = stack.enter_context(peer(their_store, algorithms["theirs"]))
        variants = {}
        for kind in KINDS:
            for side, served, token in (("ours", ours.served, ours.token), ("theirs", theirs, their_token)):
                requests = [authorize(token, f"@{kind.upper()}@")]
                variants[f"{side}, {kind}"] = lambda served=served, requests=requests: wrk(served, requests)
        for warm_up in variants.values():
            warm_up()
        figures = in_turn(variants, **rounds)
        check_permit(ours.served, ours.token)
        check_permit(theirs, their_token)
    return {kind: ratio(figures[f"ours, {kind}"], figures[f"theirs, {kind}"]) for kind in KINDS}


def main() -> None:
    for store in STORES:
        print(f"decisions a second, {store}; media tokens: ours ES256, theirs RS256")
        for kind, times in measure(store, {"ours": "ES256", "theirs": "RS256"}, {}).items():
            claim(f"{kind} subjects, times the FastAPI peer, {store}", times, BOUND, " x")
    for algorithm in ("RS256", "ES256"):
        print(f"decisions a second, sqlite; media tokens: both {algorithm}")
        for kind, times in measure("sqlite", {"ours": algorithm, "theirs": algorithm}, {"rounds": 1}).items():
            claim(f"{kind} subjects, times the peer, both {algorithm}, sqlite", times, None, " x")


if __name__ == "__main__":
    run(main)
