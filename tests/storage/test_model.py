"""
Every adapter decides as the model does: whole services on the same clock, one on MemoryStore, go through the same
asks, resets and changes, and every answer is compared. A book that knows nothing of ledgers, floors or steps holds
both to the promise: no device and no user key ever gets more than its pass (design §3).
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from temppass.core import oauth
from temppass.core.act import ByShell
from temppass.core.catalogue import Application, Catalogue, Channel, Pass, Programmer
from temppass.core.model import PassKind, Permit, Profile, SubjectKind
from temppass.core.tokens import Secret
from temppass.core.world import SCOPE_RESET, SCOPE_V2, EnvironmentRecord
from temppass.service import serve_from
from temppass.service.context import Caller, Policy
from temppass.service.decisions import Viewer
from temppass.service.resets import EVERYBODY, Everybody, ResetAsk
from temppass.storage.memory import MemoryStore
from temppass.store import Store
from temppass.testing import Clock

if TYPE_CHECKING:
    from tests.storage.conftest import Place

A = TypeVar("A")

HERE = "release-production"
#: 2026-01-01T00:00:00Z
T0, HOUR, DAY = 1_767_225_600_000, 3_600_000, 86_400_000
SECRET = Secret(b"s" * 32)
DEVICES, KEYS, TITLES, APPS = (b"tv", b"phone"), ("anna", "bert"), "ABC", ("app 1", "app 2")


class Offered(NamedTuple):
    """One pass, and what it promises at most."""

    kind: PassKind
    ttl_ms: int
    resources_max: int | None
    resets: str | None = None


OFFERED = {
    "basic": Offered(PassKind.BASIC, HOUR, None),
    "promotional": Offered(PassKind.PROMOTIONAL, 2 * HOUR, 2),
    "daily": Offered(PassKind.PROMOTIONAL, 30 * HOUR, 2, "0 0 * * *"),
}


def catalogue(example: int, name: str) -> Catalogue:
    """Offer passes of this example's own, so that it begins with nobody known."""
    passes = [
        Pass(
            f"{id_}-{example}", offered.kind, name, offered.ttl_ms, {"REF": True},
            offered.resources_max, "email" if offered.resources_max else None, resets=offered.resets,
        )
        for id_, offered in OFFERED.items()
    ]  # fmt: skip
    return Catalogue(
        {"acme": Programmer("acme", "Acme")},
        {"REF": Channel("REF", "acme", "Reference")},
        {entry.id: entry for entry in passes},
        {"ops": Application("ops", "Support", None, (SCOPE_V2, SCOPE_RESET))},
    )


class Party:
    """A service on one store, and a token to ask it with."""

    def __init__(self, store: Store, clock: Clock) -> None:
        policy = Policy(access_token_ms=3_650 * DAY)
        self.service = serve_from(store, SECRET, policy, clock, pause_s=0)
        self.caller = Caller(HERE, None, "REF")

    async def enter(self, keys: EnvironmentRecord | None = None) -> None:
        """Begin; with the keys of another party its subjects are the same."""
        if keys is not None:
            await self.service.context.store.amend(HERE, lambda _old: (None, keys, None))
        await self.apply(catalogue(0, "first"))
        credentials = self.service.credentials
        statement = await credentials.mint(HERE, "ops", ByShell())
        client = await credentials.register(HERE, oauth.RegistrationRequest(statement, None))
        request = oauth.TokenRequest(client.client_id, client.client_secret, frozenset())
        self.caller = Caller(HERE, (await credentials.issue_token(HERE, request)).access_token, "REF")

    async def apply(self, new: Catalogue) -> None:
        await self.service.catalogues.apply(HERE, new, "", ByShell())


class Seen(NamedTuple):
    """What the book knows of one subject: when it was first permitted, for which application, and its titles."""

    at: int
    app: str | None
    titles: set[str]


_ids, _devices, _keys = st.sampled_from(list(OFFERED)), st.sampled_from(DEVICES), st.sampled_from(KEYS)
_titles = st.lists(st.sampled_from(TITLES), min_size=1, max_size=2)
_apps = st.none() | st.sampled_from(APPS)


class Both(RuleBasedStateMachine):
    """`model` and `other` are asked the same; `clock` is theirs, `run` waits for what they answer."""

    model: Party
    other: Party
    clock: Clock
    run: Callable[[Coroutine[Any, Any, Any]], Any]
    examples = itertools.count(1)

    def __init__(self) -> None:
        super().__init__()
        self.clock.now = T0
        self.example = next(self.examples)
        self.book: dict[tuple[str, SubjectKind, bytes | str], Seen] = {}
        self.declare("first")

    def both(self, ask: Callable[[Party], Coroutine[Any, Any, A]]) -> A:
        """Ask both, and hold the answers against each other."""
        told: A = self.run(ask(self.model))
        assert self.run(ask(self.other)) == told
        return told

    def seen(self, id_: str) -> dict[tuple[str, SubjectKind, bytes | str], Seen]:
        """Answer the pages of one pass; those that a midnight has closed are torn out."""
        midnight = self.clock.now - self.clock.now % DAY
        if OFFERED[id_].resets:
            self.book = {whose: seen for whose, seen in self.book.items() if whose[0] != id_ or seen.at >= midnight}
        return {whose: seen for whose, seen in self.book.items() if whose[0] == id_}

    # --- asks

    # three rules, so that there are as many asks as there is everything else

    @rule(device=_devices, key=_keys, titles=_titles, app=_apps)
    def authorize_basic(self, device: bytes, key: str, titles: list[str], app: str | None) -> None:
        self.authorize("basic", device, key, titles, app)

    @rule(device=_devices, key=_keys, titles=_titles, app=_apps)
    def authorize_promotional(self, device: bytes, key: str, titles: list[str], app: str | None) -> None:
        self.authorize("promotional", device, key, titles, app)

    @rule(device=_devices, key=_keys, titles=_titles, app=_apps)
    def authorize_daily(self, device: bytes, key: str, titles: list[str], app: str | None) -> None:
        self.authorize("daily", device, key, titles, app)

    def authorize(self, id_: str, device: bytes, key: str, titles: list[str], app: str | None) -> None:
        async def ask(party: Party) -> list[object]:
            viewer = Viewer(device, identity(key), app)
            decided = await party.service.decisions.authorize(party.caller, self.mvpd(id_), (viewer, titles))
            return [verdict for verdict, _ in decided.verdicts]

        self.seen(id_)
        permits = [verdict for verdict in self.both(ask) if isinstance(verdict, Permit)]
        subjects: list[tuple[SubjectKind, bytes | str]] = [(SubjectKind.DEVICE, device)]
        if OFFERED[id_].kind is PassKind.PROMOTIONAL:
            subjects.append((SubjectKind.USER_KEY, key))
        for permit in permits:
            assert self.clock.now < permit.expires_at
            for subject in subjects:
                seen = self.book.setdefault((id_, *subject), Seen(self.clock.now, app, set()))
                seen.titles.add(permit.resource)
                assert self.clock.now < seen.at + OFFERED[id_].ttl_ms

    @rule(id_=_ids, device=_devices, key=st.none() | _keys)
    def look(self, id_: str, device: bytes, key: str | None) -> None:
        """Preauthorize and profile: the answers agree, and what follows shows that nothing was written."""
        viewer = Viewer(device, identity(key) if key else None)

        async def ask(party: Party) -> tuple[object, object]:
            decisions, asked = party.service.decisions, (party.caller, self.mvpd(id_))
            return await decisions.preauthorize(*asked, (viewer, [*TITLES])), await decisions.profile(*asked, viewer)

        _, shown = self.both(ask)
        state = getattr(shown, "state", None)
        if isinstance(state, Profile) and state.remaining is not None:
            assert state.remaining + len(state.used) == OFFERED[id_].resources_max

    # --- resets

    @rule(id_=_ids, whom=_devices | st.just(EVERYBODY), app=_apps)
    def reset_devices(self, id_: str, whom: bytes | Everybody, app: str | None) -> None:
        self.reset(id_, SubjectKind.DEVICE, whom, app)

    @rule(id_=_ids, whom=_keys | st.just(EVERYBODY))
    def reset_keys(self, id_: str, whom: str | Everybody) -> None:
        self.reset(id_, SubjectKind.USER_KEY, whom, None)

    def reset(self, id_: str, kind: SubjectKind, target: bytes | str | Everybody, app: str | None) -> None:
        async def ask(party: Party) -> int | None:
            asked = ResetAsk("REF", self.mvpd(id_), kind, target, app)
            return (await party.service.resets.reset(HERE, party.caller.token, asked)).matched

        meant = [
            whose
            for whose, seen in self.seen(id_).items()
            if whose[1] is kind and target in {whose[2], EVERYBODY} and app in {seen.app, None}
        ]
        counted = target is not EVERYBODY or app is not None or (kind is SubjectKind.USER_KEY and id_ == "basic")
        assert self.both(ask) == (len(meant) if counted else None)
        for whose in meant:
            del self.book[whose]

    # --- time and change

    @rule(ms=st.sampled_from([1, HOUR - 1, HOUR, 2 * HOUR, 12 * HOUR]))
    def wait(self, ms: int) -> None:
        self.clock.advance(ms)

    @rule(name=st.sampled_from(["first", "second", None]))
    def upkeep(self, name: str | None) -> None:
        """Tick, or declare another version of the environment; neither moves anybody's trial."""
        if name is None:
            self.both(lambda party: party.service.upkeep.tick())
        else:
            self.declare(name)

    def declare(self, name: str) -> None:
        self.both(lambda party: party.apply(catalogue(self.example, name)))

    @invariant()
    def nobody_has_more_titles_than_the_pass(self) -> None:
        for whose, seen in self.book.items():
            assert len(seen.titles) <= (OFFERED[whose[0]].resources_max or len(TITLES))

    def mvpd(self, id_: str) -> str:
        return f"{id_}-{self.example}"


def identity(key: str) -> str:
    return base64.b64encode(json.dumps({"email": key}).encode()).decode()


@pytest.mark.parametrize("place", ["sqlite", "postgres"], indirect=True)
def test_every_adapter_decides_as_the_model_does(place: Place) -> None:
    clock = Clock(T0)
    with asyncio.Runner() as runner:
        opened = place.open()
        store = runner.run(opened.__aenter__())
        try:
            Both.clock, Both.run = clock, staticmethod(runner.run)
            Both.model, Both.other = Party(MemoryStore(), clock), Party(store, clock)
            runner.run(Both.model.enter())
            runner.run(Both.other.enter(runner.run(Both.model.service.context.store.load(HERE))))
            run_state_machine_as_test(
                Both,
                settings=settings(
                    max_examples=30,
                    stateful_step_count=40,
                    deadline=None,
                    suppress_health_check=[HealthCheck.too_slow],
                ),
            )
        finally:
            runner.run(opened.__aexit__(None, None, None))
