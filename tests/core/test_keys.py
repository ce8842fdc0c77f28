"""
The lives of signing keys: whoever keeps a copy of the key set for as long as it may takes every token of every node,
and nothing is good after its end.
"""

import base64
import itertools
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from temppass import MediaToken, MediaTokenStatus, MediaTokenVerifier
from temppass.core.keys import CLOCK_MS, Life, StoredKeys, added, begun, is_due, kept_up, replaced, shown
from temppass.core.keys import waits_until as waiting
from temppass.core.refusal import InvalidStatement, InvalidToken
from temppass.core.tokens import (
    Grant,
    Keyring,
    Statement,
    make_pair,
    read_access_token,
    read_statement,
    write_access_token,
    write_media_token,
    write_statement,
)

HERE, ISSUER = "release-production", "auth.adobe.com"
RANDOM: Any = {"pepper": b"p" * 32, "client_key": b"c" * 32, "chain_key": b"h" * 32}
T0 = 1_767_261_600_000
SECOND, MINUTE, HOUR = 1000, 60_000, 3_600_000
ACCESS_MS, MEDIA_MS, JWKS_MS = 6 * HOUR, 7 * MINUTE, 5 * MINUTE

_numbers = itertools.count()


def pair() -> Any:
    number = next(_numbers)
    return make_pair((f"rsa{number}", f"ec{number}"))


def none_held(_kid: str, _life: Life) -> bool:
    return False


def upkept(stored: StoredKeys, now: int, *, holds: Any = none_held, lasts_ms: int = ACCESS_MS) -> StoredKeys:
    return kept_up(stored, now, lasts_ms=lasts_ms, holds=holds)


def states(stored: StoredKeys, now: int) -> list[str]:
    return [f"{each.kind} {each.state}" for each in shown(stored, now)]


@pytest.fixture(scope="module")
def first() -> Any:
    return pair()


@pytest.fixture(scope="module")
def second() -> Any:
    return pair()


@pytest.fixture(scope="module")
def rotated(first: Any, second: Any) -> StoredKeys:
    """Two pairs, of which the second signs from T0 + 10 minutes on."""
    return added(begun(first, T0 - HOUR, **RANDOM), second, T0, signs_from=T0 + 10 * MINUTE)


# --- which key signs when


def kids(stored: StoredKeys, now: int) -> list[str]:
    """Answer which keys sign an access token and a media token."""
    ring = Keyring(stored, "ES256")
    access = ring.sign_access({}, now)
    media = base64.b64decode(ring.sign_media({}, now)).decode()
    return [next(kid for kid in ring.by_kid if f'"{kid}"'.encode() in head(token)) for token in (access, media)]


@pytest.mark.parametrize(
    ("at", "which"),
    [(T0, 0), (T0 + 10 * MINUTE - 1, 0), (T0 + 10 * MINUTE, 1), (T0 + 99 * HOUR, 1), (T0 - 99 * HOUR, 0)],
)
def test_the_next_key_signs_from_its_moment_on(
    rotated: StoredKeys, first: Any, second: Any, at: int, which: int
) -> None:
    """And a node whose clock is far behind signs all the same."""
    assert kids(rotated, at) == [jwk["kid"] for jwk in (first, second)[which]]


def test_keys_of_before_have_always_signed(first: Any, second: Any) -> None:
    """In the order of servers of before, which take the first of each kind."""
    assert kids(StoredKeys((*first, *second)), T0) == [jwk["kid"] for jwk in first]


def test_a_clock_behind_the_last_rotation_takes_the_only_key_that_can_sign(rotated: StoredKeys, second: Any) -> None:
    after = upkept(rotated, T0 + 11 * MINUTE)
    assert kids(after, T0) == [jwk["kid"] for jwk in second]


# --- how a key ends


@pytest.mark.parametrize(
    ("after_ms", "told"),
    [
        (0, ["RSA signing", "EC signing", "RSA next", "EC next"]),
        (10 * MINUTE - 1, ["RSA signing", "EC signing", "RSA next", "EC next"]),
        (10 * MINUTE, ["RSA signing", "EC signing", "RSA verifying", "EC verifying"]),
        (11 * MINUTE, ["RSA signing", "EC signing", "RSA verifying", "EC verifying"]),
    ],
)
def test_the_states_of_keys(rotated: StoredKeys, after_ms: int, told: list[str]) -> None:
    assert states(rotated, T0 + after_ms) == told


def private(stored: StoredKeys) -> list[str]:
    return [jwk["kid"] for jwk in stored.keys if "d" in jwk]


def test_a_key_loses_its_private_half_when_every_clock_says_that_its_successor_signs(
    rotated: StoredKeys, second: Any
) -> None:
    moment = T0 + 10 * MINUTE + CLOCK_MS
    assert [private(upkept(rotated, at)) for at in (moment - 1, moment)] == [
        private(rotated),
        [jwk["kid"] for jwk in second],
    ]


def test_what_is_left_of_a_key_is_public(rotated: StoredKeys, first: Any) -> None:
    after = upkept(rotated, T0 + HOUR)
    left = {jwk["kid"]: jwk for jwk in after.keys}
    assert [{*left[jwk["kid"]]} for jwk in first] == [
        {"kty", "kid", "use", "alg", "n", "e"},
        {"kty", "kid", "use", "alg", "crv", "x", "y"},
    ]


def test_a_key_that_stopped_verifies_until_its_last_token_has_ended_on_every_clock(
    rotated: StoredKeys, second: Any
) -> None:
    stopped = upkept(rotated, T0 + HOUR)
    end = T0 + HOUR + ACCESS_MS + 4 * CLOCK_MS
    assert [len(upkept(stopped, at).keys) for at in (end - 1, end)] == [4, 2]
    assert upkept(stopped, end) == replace(
        rotated, keys=second, lives={jwk["kid"]: rotated.lives[jwk["kid"]] for jwk in second}
    )


def test_a_key_verifies_as_long_as_a_statement_counts_that_it_signed(rotated: StoredKeys, first: Any) -> None:
    rsa, _ = first
    stopped = upkept(rotated, T0 + HOUR)
    after = upkept(stopped, T0 + 999 * HOUR, holds=lambda kid, _life: kid == rsa["kid"])
    assert [jwk["kid"] for jwk in after.keys if "d" not in jwk] == [rsa["kid"]]


def test_the_longest_lifetime_that_any_node_gave_counts(rotated: StoredKeys) -> None:
    """One that gives 12 hours looks after the keys, then one that gives an hour does."""
    longest = upkept(rotated, T0, lasts_ms=12 * HOUR)
    stopped = upkept(longest, T0 + HOUR, lasts_ms=HOUR)
    end = T0 + HOUR + 12 * HOUR + 4 * CLOCK_MS
    assert [len(upkept(stopped, at, lasts_ms=HOUR).keys) for at in (end - 1, end)] == [4, 2]


@pytest.mark.parametrize("at", [T0, T0 + 10 * MINUTE, T0 + 11 * MINUTE, T0 + 99 * HOUR])
def test_upkeep_that_is_done_is_done(rotated: StoredKeys, at: int) -> None:
    once = upkept(rotated, at)
    assert upkept(once, at) == once


def test_nothing_is_to_be_done_for_keys_of_before(first: Any) -> None:
    """They come without lives, and no version has to be written for that."""
    stored = StoredKeys(first, b"p" * 32, b"c" * 32, b"h" * 32)
    assert upkept(stored, T0) == stored


def test_compromised_keys_are_gone_at_once(rotated: StoredKeys) -> None:
    third = pair()
    after = replaced(rotated, third, T0)
    assert (after.keys, kids(after, T0 - CLOCK_MS), waiting(after, T0)) == (third, [jwk["kid"] for jwk in third], None)


@pytest.mark.parametrize(("after_ms", "told"), [(0, T0 + 10 * MINUTE), (10 * MINUTE, None)])
def test_a_next_key_waits_until_its_moment(rotated: StoredKeys, after_ms: int, told: int | None) -> None:
    assert waiting(rotated, T0 + after_ms) == told


@pytest.mark.parametrize(
    ("after_ms", "every_ms", "due"),
    [
        (24 * HOUR - 1, 24 * HOUR, False),
        (24 * HOUR, 24 * HOUR, True),
        (5 * MINUTE, MINUTE, False),  # the next one waits
        (10 * MINUTE, MINUTE, True),
    ],
)
def test_a_rotation_is_due_when_the_newest_key_is_old(
    rotated: StoredKeys,
    after_ms: int,
    every_ms: int,
    due: bool,  # noqa: FBT001
) -> None:
    assert is_due(rotated, T0 + after_ms, every_ms) == due


# --- the law


class Written(NamedTuple):
    """A token: its kind, when it was signed and when it ends by true time (None: never)."""

    kind: str
    token: str
    at: int
    ends_at: int | None

    def is_good(self, now: int) -> bool:
        return self.ends_at is None or now < self.ends_at


#: which of the nodes is a server of before
BEFORE = 2


class Version(NamedTuple):
    since: int
    ring: Keyring
    #: as a server of before reads the same keys
    before: Keyring
    back_end: MediaTokenVerifier


def version_of(since: int, stored: StoredKeys) -> Version:
    ring = Keyring(stored, "ES256")
    for kind in ("RSA", "EC"):
        assert "d" in next(jwk for jwk in stored.keys if jwk["kty"] == kind), "a server of before could not sign"
    return Version(since, ring, Keyring(replace(stored, lives={}), "ES256"), MediaTokenVerifier(ring.jwks))


class Bench:
    """
    An environment that two nodes look after beside a server of before, on clocks that differ, and back ends that keep
    the key set.
    """

    def __init__(self, first: Any, skews: tuple[int, int, int], jwks_ms: int) -> None:
        self.now = T0
        self.skews = skews
        self.jwks_ms = jwks_ms
        self.stored = begun(first, T0 - HOUR, **RANDOM)
        #: every version of the keys, made ready, with the moment that it began to hold
        self.versions = [version_of(T0 - 99 * HOUR, self.stored)]
        self.written: list[Written] = []
        #: kids of keys whose statements count
        self.held: set[str] = set()

    def clock(self, node: int) -> int:
        return self.now + self.skews[node]

    def upkeep(self, node: int) -> None:
        self._write(upkept(self.stored, self.clock(node % BEFORE), holds=lambda kid, _life: kid in self.held))

    def rotate(self, node: int) -> None:
        now = self.clock(node % BEFORE)
        if waiting(self.stored, now) is None:
            self._write(added(self.stored, pair(), now, signs_from=now + 2 * self.jwks_ms))

    def compromised(self, node: int) -> None:
        self._write(replaced(self.stored, pair(), self.clock(node % BEFORE)))
        self.written.clear()
        self.held.clear()
        del self.versions[:-1]  # a back end fetches the key set anew
        self.versions[0] = self.versions[0]._replace(since=T0 - 99 * HOUR)

    def sign(self, node: int) -> None:
        now_s, version = self.clock(node) // 1000, self.versions[-1]
        ring = version.before if node == BEFORE else version.ring
        media = MediaToken("u", "REF", "P", "T", now_s, now_s + MEDIA_MS // 1000, MEDIA_MS, "n", ISSUER, HERE)
        grant = Grant("client", "ops", 0, frozenset(["api:client:v2"]), (now_s * 1000) + ACCESS_MS)
        statement = write_statement(ring, Statement("app", 0, "jti"), HERE, now_s, ISSUER)
        access = write_access_token(ring, grant, HERE, now_s, "jti", ISSUER)
        self.held.add(next(kid for kid in ring.by_kid if f'"{kid}"'.encode() in head(statement)))
        self.written += [
            Written("statement", statement, self.now, None),
            Written("access token", access, self.now, now_s * 1000 + ACCESS_MS),
            Written("media token", write_media_token(ring, media), self.now, now_s * 1000 + MEDIA_MS),
        ]

    def _write(self, after: StoredKeys) -> None:
        if after != self.stored:
            self.stored = after
            self.versions.append(version_of(self.now, after))

    def faults(self) -> list[str]:
        """Tell what is refused that is good, and what is taken that has ended."""
        nodes = [self.versions[-1].ring]
        fetched = [self.now - self.jwks_ms, self.now]
        back_ends = [next(each.back_end for each in reversed(self.versions) if each.since <= at) for at in fetched]
        return [
            f"{each.kind} of {each.at - T0} at {self.now - T0}: {'refused' if each.is_good(self.now) else 'taken'}"
            for each in self.written
            for judge in (back_ends if each.kind == "media token" else nodes)
            if self.taken(each, judge) != each.is_good(self.now)
        ]

    def taken(self, each: Written, by: Keyring | MediaTokenVerifier) -> bool:
        if isinstance(by, MediaTokenVerifier):
            status, _ = by.verify(each.token, expected_channel="REF", expected_resource="T", now_ms=self.now)
            return status is MediaTokenStatus.VALID_TOKEN
        read = read_statement if each.kind == "statement" else read_access_token
        try:
            read(by, each.token, HERE, self.now // 1000)
        except (InvalidStatement, InvalidToken):
            return False
        return True


def head(token: str) -> bytes:
    return base64.urlsafe_b64decode(token.partition(".")[0] + "==")


_STEPS = st.tuples(
    st.sampled_from([*["rotate", "sign"] * 5, "compromised"]),
    st.integers(0, BEFORE),
    st.sampled_from([0, SECOND, 30 * SECOND, MINUTE, JWKS_MS - 1, MEDIA_MS - SECOND, 10 * MINUTE, 11 * MINUTE, HOUR]),
)


@settings(deadline=None, max_examples=25)
@given(
    steps=st.lists(_STEPS, max_size=14),
    skews=st.tuples(*[st.integers(-60, 60).map(lambda s: s * SECOND)] * 3),
    jwks_ms=st.sampled_from([2 * MINUTE, JWKS_MS]),
)
def test_every_token_of_every_node_lives_its_life(
    first: Any, steps: list[tuple[str, int, int]], skews: tuple[int, int, int], jwks_ms: int
) -> None:
    """Upkeep runs at every step; in the end time goes on past all that was signed."""
    bench, told = Bench(first, skews, jwks_ms), []
    for what, node, gap in [*steps, ("rotate", 0, 2 * jwks_ms), ("sign", BEFORE, 3 * MINUTE)]:
        getattr(bench, what)(node)
        told += bench.faults()
        bench.now += gap
        bench.upkeep(node)
        told += bench.faults()
    ends = sorted({each.ends_at for each in bench.written if each.ends_at is not None})
    for end in ends:
        for at in (end - SECOND, end):
            if at > bench.now:
                bench.now = at
                bench.upkeep(at % 2)
                told += bench.faults()
    assert told == []


@settings(deadline=None, max_examples=20)
@given(steps=st.lists(_STEPS.filter(lambda step: step[0] != "compromised"), max_size=10))
def test_in_the_end_one_pair_is_left(first: Any, steps: list[tuple[str, int, int]]) -> None:
    """Where no statement counts that another one signed."""
    bench = Bench(first, (0, 0, 0), JWKS_MS)
    for what, node, gap in steps:
        getattr(bench, what)(node)
        bench.now += gap
    bench.held.clear()
    for _ in range(2):
        bench.now += 24 * HOUR
        bench.upkeep(0)
    assert states(bench.stored, bench.now) == ["RSA signing", "EC signing"]
