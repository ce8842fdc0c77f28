"""
Every adapter decides as the model does: whole services on the same clock, one on MemoryStore, go through the same
asks, resets, grants, undos and changes. Every answer is compared, also with what a book says that knows nothing of
ledgers, floors or steps (book.py) and that holds all of them to the promise: no device and no user key ever gets more
than its pass, and what it was given on top (design §4). At the end so is all that the stores remember.
"""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from tests.storage.book import DAY, HOUR, OFFERED, Book, Given, Torn

from temppass.core import oauth
from temppass.core.act import ByShell, recurring_id
from temppass.core.catalogue import Application, Catalogue, Channel, Pass, Programmer
from temppass.core.grant import Gift
from temppass.core.identity import canonical_user_key
from temppass.core.identity import device as device_subject
from temppass.core.model import Floors, Permit, Profile, SubjectKind
from temppass.core.operator import Role
from temppass.core.refusal import Refusal
from temppass.core.secret import Secret
from temppass.core.world import SCOPE_RESET, SCOPE_V2, EnvironmentRecord
from temppass.service import serve_from
from temppass.service.context import Caller, Policy
from temppass.service.corrections import GrantWanted, Receipt, ResetWanted, UndoWanted, Whom
from temppass.service.decisions import Viewer
from temppass.service.desk import Call
from temppass.service.operators import NewOperator
from temppass.service.plans import ApplyWanted, PlanWanted, Wanted
from temppass.service.resets import EVERYBODY, Done, Everybody, ResetAsk
from temppass.storage.memory import MemoryStore
from temppass.store import IntegrationKey, Store
from temppass.testing import Clock

if TYPE_CHECKING:
    from tests.storage.conftest import Place

A = TypeVar("A")

HERE = "release-production"
#: 2026-01-01T00:00:00Z
T0 = 1_767_225_600_000
SECRET, SHELL = Secret(b"s" * 32), ByShell()
DEVICES, KEYS, TITLES, APPS = (b"tv", b"phone"), ("anna", "bert"), "ABC", ("app 1", "app 2")


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
    """A service on one store, a token to ask it with, an operator's, and the ids of what was done, in order."""

    def __init__(self, store: Store, clock: Clock) -> None:
        policy = Policy(access_token_ms=3_650 * DAY)
        self.service = serve_from(store, SECRET, policy, clock, pause_s=0)
        self.caller = Caller(HERE, None, "REF")
        self.operator = Call(HERE, None)
        self.done: list[str] = []

    async def enter(self, keys: EnvironmentRecord | None = None) -> None:
        """Begin; with the keys of another party its subjects are the same."""
        if keys is not None:
            await self.service.context.store.amend(HERE, lambda _old: (None, keys, None))
        await self.apply(catalogue(0, "first"))
        credentials = self.service.credentials
        statement = (await self.service.statements.mint(HERE, "ops", ByShell())).statement
        client = await credentials.register(HERE, oauth.RegistrationRequest(statement, None))
        request = oauth.TokenRequest(client.client_id, client.client_secret, frozenset())
        self.caller = Caller(HERE, (await credentials.issue_token(HERE, request)).access_token, "REF")
        created = await self.service.operators.create_here(NewOperator("anna", Role.OPERATOR), SHELL)
        self.operator = Call(HERE, created.token)

    async def apply(self, new: Catalogue) -> None:
        await self.service.catalogues.apply(HERE, new, "", SHELL)

    async def remembered(self, example: int) -> dict[IntegrationKey, object]:
        """Answer floors, the resets that stand and all ledgers of an example's integrations, but for ids."""
        store, told = self.service.context.store, dict[IntegrationKey, object]()
        for key, standing in await store.integrations():
            ledgers = [await store.ledgers(key, kind, b"", 100) for kind in SubjectKind]
            if key[2].endswith(f"-{example}") and (any(ledgers) or standing.floors != Floors()):
                raises = [(each.kind, each.generation, each.floor_before, each.at) for each in standing.raises]
                told[key] = standing.floors, raises, ledgers
        return told


_ids, _devices, _keys = st.sampled_from(list(OFFERED)), st.sampled_from(DEVICES), st.sampled_from(KEYS)
_titles = st.lists(st.sampled_from(TITLES), min_size=1, max_size=2)
_apps = st.none() | st.sampled_from(APPS)
_kinds = st.sampled_from([(SubjectKind.DEVICE,), (SubjectKind.USER_KEY,), tuple(SubjectKind)])
#: a device, a user key, or both
_viewers = st.tuples(st.none() | _devices, st.none() | _keys).filter(any)


class Both(RuleBasedStateMachine):
    """`model` and `other` are asked the same; `clock` is theirs, `run` waits for what they answer."""

    model: Party
    other: Party
    clock: Clock
    run: Callable[[Coroutine[Any, Any, Any]], Any]
    id_: str
    book: Book
    examples = itertools.count(1)

    def __init__(self) -> None:
        super().__init__()
        self.clock.now = T0
        self.example = next(self.examples)
        for party in (self.model, self.other):
            party.done.clear()
        self.declare("first")

    @initialize(id_=_ids)
    def choose(self, id_: str) -> None:
        """Keep to one pass, and begin with trials, so that what is done meets somebody."""
        self.id_ = id_
        self.book = Book(id_, T0)
        for device, key in zip(DEVICES, KEYS, strict=True):
            self.watch(device, key, ["A"], APPS[0])

    def both(self, ask: Callable[[Party], Coroutine[Any, Any, A]]) -> A:
        """Ask both, and hold the answers against each other."""
        told: A = self.run(ask(self.model))
        assert self.run(ask(self.other)) == told
        return told

    def teardown(self) -> None:
        self.both(lambda party: party.remembered(self.example))

    # --- asks

    # two rules, so that there are more asks

    @rule(device=_devices, key=_keys, titles=_titles, app=_apps)
    def authorize(self, device: bytes, key: str, titles: list[str], app: str | None) -> None:
        self.watch(device, key, titles, app)

    @rule(device=_devices, key=_keys, title=st.sampled_from(TITLES))
    def authorize_one(self, device: bytes, key: str, title: str) -> None:
        self.watch(device, key, [title], None)

    def watch(self, device: bytes, key: str, titles: list[str], app: str | None) -> None:
        async def ask(party: Party) -> list[object]:
            viewer = Viewer(device, identity(key), app)
            decided = await party.service.decisions.authorize(party.caller, self.mvpd(), (viewer, titles))
            return [
                (verdict.resource, verdict.started_at, verdict.expires_at)
                if isinstance(verdict, Permit)
                else verdict.code
                for verdict, _ in decided.verdicts
            ]

        assert self.both(ask) == self.book.authorize(device, key, titles, app)

    @rule(device=_devices, key=st.none() | _keys)
    def look(self, device: bytes, key: str | None) -> None:
        """Preauthorize and profile: the answers agree, and what follows shows that nothing was written."""
        viewer = Viewer(device, identity(key) if key else None)

        async def ask(party: Party) -> tuple[object, object]:
            decisions, asked = party.service.decisions, (party.caller, self.mvpd())
            return await decisions.preauthorize(*asked, (viewer, [*TITLES])), await decisions.profile(*asked, viewer)

        _, shown = self.both(ask)
        state = getattr(shown, "state", None)
        if isinstance(state, Profile):
            at, until, used, most = self.book.shown(device, key)
            left = most - len(used) if OFFERED[self.id_].resources_max else None
            assert (state.started_at, state.expires_at, [*state.used], state.remaining) == (at, until, used, left)

    # --- what is done over the vendor's wire, and at the desk

    @rule(kind=st.sampled_from(SubjectKind), number=st.sampled_from([0, 1, None]), is_narrow=st.booleans())
    def reset(self, kind: SubjectKind, number: int | None, is_narrow: bool) -> None:  # noqa: FBT001 - hypothesis gives it
        """One viewer, or everybody; of devices, those of one application."""
        app = APPS[0] if is_narrow and kind is SubjectKind.DEVICE else None
        target = EVERYBODY if number is None else (DEVICES if kind is SubjectKind.DEVICE else KEYS)[number]
        asked = ResetAsk("REF", self.mvpd(), kind, target, app)
        done = self.does(lambda party: party.service.resets.reset(HERE, party.caller.token, asked))
        if isinstance(target, Everybody):
            assert done == self.book.reset_everybody(kind, app)
        else:
            assert done == self.book.reset([(kind, target)], app)

    @rule(viewer=_viewers, is_list=st.booleans())
    def reset_at_the_desk(self, viewer: tuple[bytes | None, str | None], is_list: bool) -> None:  # noqa: FBT001 - as above
        """One viewer by device, user key or both, or a list of all devices."""
        pepper = self.run(self.model.service.world(HERE)).pepper
        everyone = tuple(device_subject(each, pepper).digest for each in DEVICES)
        asked = ResetWanted("REF", self.mvpd(), everyone if is_list else whom(viewer))
        done = self.does(lambda party: party.service.corrections.reset(party.operator, asked))
        listed = [(SubjectKind.DEVICE, each) for each in DEVICES]
        assert done == self.book.reset(listed if is_list else named(viewer))

    @rule(kinds=_kinds, over=st.booleans())
    def reset_by_plan(self, kinds: tuple[SubjectKind, ...], over: bool) -> None:  # noqa: FBT001 - as above
        """Everybody, or all whose time is over; what is planned is what is there."""
        kinds = kinds if OFFERED[self.id_].resources_max else (SubjectKind.DEVICE,)
        target = Wanted("REF", self.mvpd(), kinds, over)

        async def ask(party: Party) -> Receipt:
            planned = await party.service.plans.plan(party.operator, PlanWanted(target))
            assert (planned.running, planned.over) == self.book.count(kinds, over=over)
            return await party.service.plans.apply(party.operator, ApplyWanted(target, planned.id))

        assert self.does(ask) == self.book.reset_by_plan(kinds, over=over)

    @rule(viewer=_viewers, minutes=st.sampled_from([1, 30, 90]), titles=st.integers(0, 2))
    def grant(self, viewer: tuple[bytes | None, str | None], minutes: int, titles: int) -> None:
        gift = Gift(minutes, titles) if OFFERED[self.id_].resources_max else Gift(minutes)
        asked = GrantWanted("REF", self.mvpd(), whom(viewer), gift)
        done = self.does(lambda party: party.service.corrections.grant(party.operator, asked))
        assert done == attempt(lambda: self.book.grant(named(viewer), gift.minutes, gift.titles))

    def does(self, ask: Callable[[Party], Coroutine[Any, Any, Receipt | Done]]) -> int | type[Refusal] | None:
        """Let both do an act, and remember what they call it; each act has a moment of its own."""
        self.wait(1)

        async def asked(party: Party) -> int | type[Refusal] | None:
            try:
                receipt = await ask(party)
            except Refusal as refusal:
                return type(refusal)
            party.done.append(receipt.id)
            return receipt.matched

        return self.both(asked)

    @rule()
    def undo_the_last(self) -> None:
        self.take_back(0, replacing=False)

    @rule(back=st.integers(0, 4), replacing=st.booleans())
    def undo(self, back: int, replacing: bool) -> None:  # noqa: FBT001 - hypothesis gives it
        self.take_back(back, replacing=replacing)

    def take_back(self, back: int, *, replacing: bool) -> None:
        self.wait(1)
        if back < len(self.book.acts):
            done, wanted = self.book.acts[-1 - back], UndoWanted(None, replacing)

            async def ask(party: Party) -> int | type[Refusal] | None:
                corrections = party.service.corrections
                take_back = corrections.undo_grant if isinstance(done, Given) else corrections.undo_reset
                try:
                    return (await take_back(party.operator, self.named_by(party, done), wanted)).matched
                except Refusal as refusal:
                    return type(refusal)

            assert self.both(ask) == attempt(lambda: self.book.undo(done, replacing=replacing))

    def named_by(self, party: Party, done: Torn | Given) -> str:
        """Answer the id that a party gave to an act; of recurring resets it is the same everywhere."""
        if isinstance(done, Torn) and done.due is not None:
            return recurring_id(HERE, "REF", self.mvpd(), done.due)
        by_hand = [each for each in self.book.acts if isinstance(each, Given) or each.due is None]
        return party.done[next(n for n, each in enumerate(by_hand) if each is done)]

    # --- time and change

    @rule(ms=st.sampled_from([1, HOUR - 1, HOUR, 2 * HOUR, 12 * HOUR, 25 * HOUR]))
    def wait(self, ms: int) -> None:
        self.clock.advance(ms)
        self.book.now = self.clock.now

    @rule(name=st.sampled_from(["first", "second", None]))
    def upkeep(self, name: str | None) -> None:
        """Tick, or declare another version of the environment; neither moves anybody's trial."""
        if name is None:
            self.both(lambda party: party.service.upkeep.tick())
            self.book.fire()
        else:
            self.declare(name)

    def declare(self, name: str) -> None:
        self.both(lambda party: party.apply(catalogue(self.example, name)))

    def mvpd(self) -> str:
        return f"{self.id_}-{self.example}"


def identity(key: str) -> str:
    return base64.b64encode(json.dumps({"email": key}).encode()).decode()


def whom(viewer: tuple[bytes | None, str | None]) -> Whom:
    device, key = viewer
    return Whom(device, canonical_user_key(key) if key is not None else None)


def named(viewer: tuple[bytes | None, str | None]) -> list[tuple[SubjectKind, bytes | str]]:
    return [(kind, name) for kind, name in zip(SubjectKind, viewer, strict=True) if name is not None]


def attempt(ask: Callable[[], A]) -> A | type[Refusal]:
    try:
        return ask()
    except Refusal as refusal:
        return type(refusal)


@pytest.mark.timeout(240)  # ten seconds of work, and others may work as well
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
            model = runner.run(Both.model.service.context.store.load(HERE))
            runner.run(Both.other.enter(model.record if model else None))
            run_state_machine_as_test(
                Both,
                settings=settings(
                    max_examples=80,
                    stateful_step_count=40,
                    deadline=None,
                    # to shrink what fails takes longer than a test may; forty steps can be read
                    phases=[Phase.explicit, Phase.generate],
                    suppress_health_check=[HealthCheck.too_slow],
                ),
            )
        finally:
            runner.run(opened.__aexit__(None, None, None))
