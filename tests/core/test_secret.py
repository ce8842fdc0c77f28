"""
What everything is sealed under: what opens what, also while one secret takes the place of another.
"""

import hashlib
import hmac
import json

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec.structs import replace

from temppass.core.keys import StoredKeys
from temppass.core.secret import Secret, Source, WrongSecret

HERE, ELSEWHERE, HOUSE = "release-production", "prequal-staging", ""
OLD, NEW, OTHER = b"s" * 32, b"t" * 32, b"u" * 32
KEYS = StoredKeys(({"kty": "RSA"},), pepper=b"p" * 32, client_key=b"c" * 32, chain_key=b"h" * 32)
NONCE = b"n" * 12


def hkdf(value: bytes, info: str) -> bytes:
    """Derive 32 bytes as RFC 5869 §2 has it: extract without salt, expand by one block."""
    extracted = hmac.digest(bytes(32), value, hashlib.sha256)
    return hmac.digest(extracted, info.encode() + b"\x01", hashlib.sha256)


def sealed_before(value: bytes, environment: str, keys: bytes) -> bytes:
    """Seal as the first version of this program did."""
    key = hkdf(value, f"temppass:keys:{environment}")
    return NONCE + AESGCM(key).encrypt(NONCE, keys, environment.encode())


@pytest.mark.parametrize("environment", [HERE, ELSEWHERE])
def test_an_environment_of_before_keeps_what_was_derived_for_it(environment: str) -> None:
    """Its viewers stay who they are and its clients keep their secrets; every purpose and environment has its own."""
    opened = Secret(OLD).open(environment, sealed_before(OLD, environment, b'{"keys":[]}'))
    assert opened == StoredKeys(
        (), hkdf(OLD, f"temppass:pepper:{environment}"), hkdf(OLD, f"temppass:client-secret:{environment}")
    )


def test_an_environment_of_before_stays_readable_for_the_program_of_before() -> None:
    """It goes on serving beside this one, also once the environment has got more keys."""
    secret = Secret(OLD)
    keys = replace(secret.open(HERE, sealed_before(OLD, HERE, b'{"keys":[]}')), chain_key=b"h" * 32)
    sealed = secret.seal(HERE, keys, NONCE)
    plain = AESGCM(hkdf(OLD, f"temppass:keys:{HERE}")).decrypt(sealed[:12], sealed[12:], HERE.encode())
    assert (json.loads(plain)["keys"], secret.open(HERE, sealed)) == ([], keys)


def test_an_environment_with_random_keys_is_closed_to_the_program_of_before() -> None:
    """It would derive another pepper, and take every viewer for a new one."""
    sealed = Secret(OLD).seal(HERE, KEYS, NONCE)
    with pytest.raises(InvalidTag):
        AESGCM(hkdf(OLD, f"temppass:keys:{HERE}")).decrypt(sealed[:12], sealed[12:], HERE.encode())


@pytest.mark.parametrize("size", [0, 31])
def test_a_short_secret_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="at least 32 bytes"):
        Secret(b"s" * size)


def test_sealed_keys_open_with_the_secret_and_environment_they_were_sealed_with() -> None:
    secret = Secret(OLD)
    sealed = secret.seal(HERE, KEYS, NONCE)
    assert secret.open(HERE, sealed) == KEYS
    for other, environment, broken in [
        (Secret(NEW), HERE, sealed),
        (secret, ELSEWHERE, sealed),
        (secret, HERE, sealed[:-1]),
    ]:
        with pytest.raises(WrongSecret):
            other.open(environment, broken)


# --- while one takes the place of another


def test_each_of_several_secrets_opens_what_was_sealed_under_it() -> None:
    sealed = [Secret(value).seal(HERE, KEYS, NONCE) for value in (OLD, NEW, OTHER)]
    assert [Secret(NEW, OLD, OTHER).open(HERE, each) for each in sealed] == [KEYS] * 3


def test_nothing_is_sealed_under_a_secret_that_other_servers_may_lack() -> None:
    """It has opened nothing yet, so a server that was not restarted knows the one of before alone."""
    secret = Secret(NEW, OLD)
    secret.open(HERE, Secret(OLD).seal(HERE, KEYS, NONCE))
    assert Secret(OLD).open(ELSEWHERE, secret.seal(ELSEWHERE, KEYS, NONCE)) == KEYS


def test_once_something_is_sealed_under_the_present_secret_all_is() -> None:
    secret = Secret(NEW, OLD)
    secret.open(HERE, Secret(OLD).seal(HERE, KEYS, NONCE))
    secret.open(HERE, Secret(NEW).seal(HERE, KEYS, NONCE))
    assert Secret(NEW).open(ELSEWHERE, secret.seal(ELSEWHERE, KEYS, NONCE)) == KEYS


def test_what_comes_first_is_sealed_under_the_present_secret() -> None:
    assert Secret(NEW).open(HERE, Secret(NEW, OLD).seal(HERE, KEYS, NONCE)) == KEYS


def test_what_is_sealed_anew_opens_with_the_present_secret_alone() -> None:
    renewed = Secret(NEW, OLD).renewed(HERE, Secret(OLD).seal(HERE, KEYS, NONCE), b"m" * 12)
    assert renewed is not None
    with pytest.raises(WrongSecret):
        Secret(OLD).open(HERE, renewed)
    assert Secret(NEW).open(HERE, renewed) == KEYS


def test_what_is_sealed_under_the_present_secret_is_not_sealed_anew() -> None:
    assert Secret(NEW, OLD).renewed(HERE, Secret(NEW).seal(HERE, KEYS, NONCE), b"m" * 12) is None


def test_an_environment_of_before_is_sealed_anew_with_what_was_derived_for_it() -> None:
    """Its viewers stay who they are; the program of before, which would derive others, cannot read it any more."""
    before = sealed_before(OLD, HERE, b'{"keys":[]}')
    renewed = Secret(NEW, OLD).renewed(HERE, before, b"m" * 12)
    assert renewed is not None
    with pytest.raises(InvalidTag):
        AESGCM(hkdf(NEW, f"temppass:keys:{HERE}")).decrypt(renewed[:12], renewed[12:], HERE.encode())
    assert Secret(NEW).open(HERE, renewed) == Secret(OLD).open(HERE, before)


def test_of_an_environment_of_before_the_secret_of_before_still_derives_what_it_derived() -> None:
    """Its pepper and client key, and nothing that is sealed: docs/operate.md says so."""
    renewed = Secret(NEW, OLD).renewed(HERE, sealed_before(OLD, HERE, b'{"keys":[]}'), b"m" * 12)
    assert renewed is not None
    kept = Secret(NEW).open(HERE, renewed)
    assert (kept.pepper, kept.client_key) == tuple(
        hkdf(OLD, f"temppass:{purpose}:{HERE}") for purpose in ("pepper", "client-secret")
    )


def test_secrets_are_read_again_where_a_seal_does_not_open() -> None:
    secret = Secret(OLD, source=Source("here", lambda: [NEW, OLD]))
    assert (secret.open(HERE, Secret(NEW).seal(HERE, KEYS, NONCE)), secret.fingerprints()) == (
        KEYS,
        Secret(NEW, OLD).fingerprints(),
    )


def test_secrets_are_not_read_again_where_a_seal_opens() -> None:
    asked: list[str] = []
    secret = Secret(OLD, source=Source("here", lambda: asked.append("again") or [OLD]))  # type: ignore[func-returns-value]
    secret.open(HERE, Secret(OLD).seal(HERE, KEYS, NONCE))
    assert asked == []


def test_secrets_are_told_apart_by_their_fingerprints_and_by_nothing_else() -> None:
    """In public: so they are made of a key that opens nothing."""
    assert Secret(NEW, OLD).fingerprints() == tuple(
        hkdf(value, "temppass:fingerprint:")[:8].hex() for value in (NEW, OLD)
    )


@pytest.mark.parametrize(
    ("values", "environment", "told"),
    [
        ((NEW,), HERE, "the keys of environment 'release-production' were stored under another TEMPPASS_SECRET"),
        ((NEW,), HOUSE, "the keys of the store itself were stored under another TEMPPASS_SECRET"),
        (
            (NEW, OTHER),
            HERE,
            "the keys of environment 'release-production' were stored under none of the secrets that are known here",
        ),
    ],
)
def test_a_wrong_secret_says_what_it_does_not_open(values: tuple[bytes, ...], environment: str, told: str) -> None:
    with pytest.raises(WrongSecret) as refused:
        Secret(*values).open(environment, Secret(OLD).seal(environment, KEYS, NONCE))
    assert str(refused.value) == told
