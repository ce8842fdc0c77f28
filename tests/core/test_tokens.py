"""
Signed and hashed things: what one kind of token is never taken for, what a forger tries, and what the public
verifier of media tokens says.
"""

import base64
import contextlib
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any

import pytest
from joserfc.jwk import ECKey, RSAKey
from joserfc.jws import serialize_compact
from msgspec import to_builtins
from msgspec.structs import replace

from temppass import MediaToken, MediaTokenStatus, MediaTokenVerifier
from temppass.core.keys import StoredKeys, begun
from temppass.core.refusal import InvalidStatement, InvalidToken, Refusal
from temppass.core.tokens import (
    TOKEN_CHARACTERS_MAX,
    Grant,
    Keyring,
    Statement,
    hash_client_secret,
    make_pair,
    read_access_token,
    read_statement,
    same,
    write_access_token,
    write_media_token,
    write_statement,
)

NOW_S = 1_767_261_600
#: 32 bytes each, of which a test needs no others
RANDOM: Any = {"pepper": b"p" * 32, "client_key": b"c" * 32, "chain_key": b"h" * 32}
HERE, ELSEWHERE = "release-production", "prequal-staging"

GRANT = Grant("client", "ops", 3, frozenset(["api:client:v2", "temporary:passes:owner"]), (NOW_S + 21_600) * 1000)
STATEMENT = Statement("7b1c…", 3, "jti")
MEDIA = MediaToken(
    "temppass_14e8", "REF", "TempPassREF", "ACME-LIVE", NOW_S, NOW_S + 420, 420_000, "nonce", "auth.adobe.com", HERE
)
VALID, WRONG, LATE, UNKNOWN = (
    MediaTokenStatus.VALID_TOKEN,
    MediaTokenStatus.INVALID_RESOURCE_ID,
    MediaTokenStatus.TOKEN_EXPIRED,
    MediaTokenStatus.ERROR_UNKNOWN,
)


def access(keyring: Keyring, grant: Grant = GRANT, environment: str = HERE, now_s: int = NOW_S) -> str:
    return write_access_token(keyring, grant, environment, now_s, "jti", "auth.adobe.com")


def verified(
    keys: Keyring, serialized: str, *, channel: str = "REF", resource: str | None = None, wait_ms: int = 0
) -> tuple[MediaTokenStatus, MediaToken | None]:
    return MediaTokenVerifier(keys.jwks).verify(
        serialized, expected_channel=channel, expected_resource=resource, now_ms=NOW_S * 1000 + wait_ms
    )


def segment(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def opened(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Answer header and claims of a compact JWS, unverified."""
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in token.split(".")[:2])
    return header, claims


def with_header(token: str, header: dict[str, Any], sign: Callable[[bytes], bytes] = lambda _signed: b"") -> str:
    signed = f"{segment(json.dumps(header).encode())}.{token.split('.')[1]}"
    return f"{signed}.{segment(sign(signed.encode()))}"


# --- what they say (contract §3.1, §3.4)


def test_an_access_token_says_what_the_vendors_say(keyring: Keyring) -> None:
    assert opened(access(keyring)) == (
        {"alg": "RS256", "kid": "rsa", "typ": "at+jwt"},
        {
            "sub": "client", "iss": "auth.adobe.com", "iat": NOW_S, "nbf": NOW_S, "exp": NOW_S + 21_600,
            "scopes": "api:client:v2,temporary:passes:owner", "aud": HERE, "jti": "jti", "app": "ops", "epoch": 3,
        },
    )  # fmt: skip


def test_a_statement_says_what_the_vendors_say_and_never_expires(keyring: Keyring) -> None:
    assert opened(write_statement(keyring, STATEMENT, HERE, NOW_S, "auth.adobe.com")) == (
        {"alg": "RS256", "kid": "rsa", "typ": "software-statement+jwt"},
        {
            "sub": STATEMENT.sub, "iss": "auth.adobe.com", "nbf": NOW_S, "iat": NOW_S,
            "aud": HERE, "jti": "jti", "epoch": 3, "listed": True,
        },
    )  # fmt: skip


@pytest.mark.parametrize(("algorithm", "kid"), [("ES256", "ec"), ("RS256", "rsa")])
def test_a_media_token_is_the_base64_of_a_jws(stored_keys: StoredKeys, algorithm: str, kid: str) -> None:
    serialized = write_media_token(Keyring(stored_keys, algorithm), MEDIA)
    assert opened(base64.b64decode(serialized, validate=True).decode()) == (
        {"alg": algorithm, "kid": kid, "typ": "media-token+jwt"},
        {
            "sub": "temppass_14e8", "requestor": "REF", "mvpd": "TempPassREF", "resource": "ACME-LIVE",
            "iat": NOW_S, "exp": NOW_S + 420, "ttl": 420_000, "jti": "nonce", "iss": "auth.adobe.com", "aud": HERE,
        },
    )  # fmt: skip


def test_what_is_written_is_read_again(keyring: Keyring) -> None:
    statement = write_statement(keyring, STATEMENT, HERE, NOW_S, "auth.adobe.com")
    assert (
        read_access_token(keyring, access(keyring), HERE, NOW_S),
        read_statement(keyring, statement, HERE, NOW_S + 10**9),
    ) == (GRANT, STATEMENT)


def test_the_key_set_holds_no_private_part(keyring: Keyring) -> None:
    shown = [
        (key["kid"], key["kty"], key["use"], key["alg"], {"d", "p", "q"} & key.keys()) for key in keyring.jwks["keys"]
    ]
    assert shown == [("rsa", "RSA", "sig", "RS256", set()), ("ec", "EC", "sig", "ES256", set())]


# --- what is refused


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
def test_no_kind_of_token_is_taken_for_another(stored_keys: StoredKeys, algorithm: str) -> None:
    """Not even where one key signs all three."""
    keyring = Keyring(stored_keys, algorithm)
    readers: dict[str, Callable[[str], object]] = {
        "statement": lambda token: read_statement(keyring, token, HERE, NOW_S),
        "access token": lambda token: read_access_token(keyring, token, HERE, NOW_S),
        "media token": lambda token: verified(keyring, token)[1],
    }
    tokens = {
        "statement": write_statement(keyring, STATEMENT, HERE, NOW_S, "auth.adobe.com"),
        "access token": access(keyring),
        "media token": base64.b64decode(write_media_token(keyring, MEDIA)).decode(),
    }
    taken = set()
    for reader, read in readers.items():
        for kind, token in tokens.items():
            with contextlib.suppress(Refusal):
                if read(base64.b64encode(token.encode()).decode() if reader == "media token" else token):
                    taken.add((reader, kind))
    assert taken == {(kind, kind) for kind in tokens}


@pytest.fixture(scope="module")
def forgeries(keyring: Keyring) -> dict[str, str]:
    """Answer what a forger could make of a good token without a private key, and with one of his own."""
    good = access(keyring)
    header, claims = opened(good)
    public = keyring.by_kid["rsa"].as_pem(private=False)
    der = keyring.by_kid["rsa"].as_der(private=False)

    def hs256(key: bytes) -> Callable[[bytes], bytes]:
        return lambda signed: hmac.digest(key, signed, hashlib.sha256)

    own, small = RSAKey.generate_key(2048, {"kid": "rsa"}), ECKey.generate_key("P-256", {"kid": "rsa"})
    inside = {**header, "alg": "ES256", "jwk": small.as_dict(private=False)}
    first, body, signature = good.split(".")
    claims["epoch"] = 4
    return {
        "nothing": "",
        "no JWT": "a.b.c",
        "no ASCII": "é.é.é",
        "a lone surrogate": "\ud800",
        "two parts": f"{first}.{body}",
        "four parts": f"{good}.x",
        "no signature": f"{first}.{body}.",
        "no algorithm": with_header(good, {**header, "alg": "none"}),
        "no algorithm, with the signature": with_header(good, {**header, "alg": "none"}) + signature,
        "HS256 with the public key as PEM": with_header(good, {**header, "alg": "HS256"}, hs256(public)),
        "HS256 with the public key as DER": with_header(good, {**header, "alg": "HS256"}, hs256(der)),
        "HS256 with nothing": with_header(good, {**header, "alg": "HS256"}, hs256(b"")),
        "RS256 under the name of the EC key": with_header(good, {**header, "kid": "ec"}) + signature,
        "ES256 under the name of the RSA key": with_header(good, {**header, "alg": "ES256"}) + signature,
        "another payload": f"{first}.{segment(json.dumps(claims).encode())}.{signature}",
        "another header": with_header(good, {**header, "x": 1}) + signature,
        "the last character": good[:-2] + ("A" if good[-2] != "A" else "B") + good[-1],
        "an own key of the same name": serialize_compact(header, json.dumps(claims), own),
        "an own key inside": serialize_compact(inside, json.dumps(claims), small),
        "a key nobody knows": with_header(good, {**header, "kid": "x"}) + signature,
        "no key named": with_header(good, {"alg": "RS256", "typ": "at+jwt"}) + signature,
        "no kind": with_header(good, {"alg": "RS256", "kid": "rsa"}) + signature,
        "a critical extension": with_header(good, {**header, "crit": ["x"], "x": 1}) + signature,
        "a deep header": f"{segment(b'[' * 5_000)}.{body}.{signature}",
    }  # fmt: skip


def test_forged_tokens_are_refused(keyring: Keyring, forgeries: dict[str, str]) -> None:
    taken = []
    for name, forged in forgeries.items():
        try:
            read_access_token(keyring, forged, HERE, NOW_S)
            taken.append(name)
        except InvalidToken:
            pass
    assert taken == []


@pytest.mark.parametrize(
    ("environment", "wait_s", "taken"),
    [
        (HERE, 0, True),
        (HERE, 21_599, True),
        (HERE, 21_600, False),  # expired: exp is the first moment when it is no good
        (HERE, -60, True),  # clocks of nodes that differ
        (HERE, -61, False),  # not yet
        (ELSEWHERE, 0, False),
        ("", 0, False),
    ],
)
def test_where_and_when_an_access_token_is_good(keyring: Keyring, environment: str, wait_s: int, taken: bool) -> None:  # noqa: FBT001
    token = access(keyring)
    try:
        read = read_access_token(keyring, token, environment, NOW_S + wait_s)
    except InvalidToken:
        read = None
    assert read == (GRANT if taken else None)


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"nbf": NOW_S},
        {"nbf": NOW_S, "aud": HERE, "sub": "client"},
        {"nbf": str(NOW_S), "aud": HERE, "sub": "client", "app": "ops", "epoch": 3, "scopes": "", "exp": NOW_S + 9},
        {"nbf": NOW_S, "aud": HERE, "sub": "client", "app": "ops", "epoch": 3, "scopes": "", "exp": "tomorrow"},
        {"nbf": NOW_S, "aud": [HERE], "sub": "client", "app": "ops", "epoch": 3, "scopes": "", "exp": NOW_S + 9},
    ],
)
def test_a_well_signed_token_without_its_claims_is_refused(keyring: Keyring, claims: dict[str, Any]) -> None:
    with pytest.raises(InvalidToken):
        read_access_token(keyring, keyring.sign_access(claims, NOW_S * 1000), HERE, NOW_S)


@pytest.mark.parametrize(
    "claims",
    [
        {"nbf": NOW_S, "aud": HERE, "sub": "s"},
        {"nbf": NOW_S, "aud": HERE, "epoch": 0},
        {"aud": HERE, "sub": "s", "epoch": 0},
        {"nbf": NOW_S, "sub": "s", "epoch": 0},
        {"nbf": NOW_S, "aud": ELSEWHERE, "sub": "s", "epoch": 0},
    ],
)
def test_a_well_signed_statement_without_its_claims_is_refused(keyring: Keyring, claims: dict[str, Any]) -> None:
    with pytest.raises(InvalidStatement):
        read_statement(keyring, keyring.sign_statement(claims, NOW_S * 1000), HERE, NOW_S)


def test_an_oversized_token_is_not_even_read(keyring: Keyring) -> None:
    """It is well signed, and all the same refused."""
    scopes = frozenset(f"{number:0128}" for number in range(TOKEN_CHARACTERS_MAX // 128))
    with pytest.raises(InvalidToken):
        read_access_token(keyring, access(keyring, Grant("client", "ops", 0, scopes, GRANT.expires_at)), HERE, NOW_S)


def test_a_foreign_environments_keys_sign_nothing_here(keyring: Keyring) -> None:
    foreign = Keyring(begun(make_pair(("rsa", "ec")), 0, **RANDOM), "ES256")
    with pytest.raises(InvalidToken):
        read_access_token(keyring, access(foreign), HERE, NOW_S)


# --- the media token verifier (contract §8)


@pytest.mark.parametrize(
    ("expected", "wait_ms", "status"),
    [
        ("ACME-LIVE", 0, VALID),
        (None, 0, VALID),
        (None, 419_999, VALID),
        (None, 420_000, LATE),
        ("ACME-KIDS", 420_000, LATE),
        ("ACME-KIDS", 0, WRONG),
        ("acme-live", 0, WRONG),
        ("", 0, WRONG),
    ],
)
@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
def test_statuses_of_a_well_signed_media_token(
    stored_keys: StoredKeys, algorithm: str, expected: str | None, wait_ms: int, status: MediaTokenStatus
) -> None:
    keyring = Keyring(stored_keys, algorithm)
    serialized = write_media_token(keyring, MEDIA)
    assert verified(keyring, serialized, resource=expected, wait_ms=wait_ms) == (status, MEDIA)


@pytest.mark.parametrize(
    ("channel", "resource", "wait_ms", "status"),
    [
        ("REF", "ACME-LIVE", 0, VALID),
        ("REF30", "ACME-LIVE", 0, WRONG),
        ("REF30", None, 0, WRONG),
        ("ref", None, 0, WRONG),
        ("", None, 0, WRONG),
        ("REF30", "ACME-LIVE", 420_000, LATE),
    ],
)
def test_a_media_token_of_another_channel_is_not_valid(
    keyring: Keyring, channel: str, resource: str | None, wait_ms: int, status: MediaTokenStatus
) -> None:
    """The vendor's verifier is made for one requestor; the claims tell which channel it was (contract §8)."""
    serialized = write_media_token(keyring, MEDIA)
    assert verified(keyring, serialized, channel=channel, resource=resource, wait_ms=wait_ms) == (status, MEDIA)


@pytest.mark.parametrize(
    ("expected", "of_now", "of_before"),
    [
        ({}, VALID, VALID),
        ({"issuer": "auth.adobe.com", "environment": HERE}, VALID, UNKNOWN),
        ({"issuer": "auth.adobe.com"}, VALID, UNKNOWN),
        ({"environment": HERE}, VALID, UNKNOWN),
        ({"issuer": "preview.example"}, UNKNOWN, UNKNOWN),
        ({"environment": ELSEWHERE}, UNKNOWN, UNKNOWN),
    ],
)
def test_issuer_and_environment_are_checked_where_they_are_expected(
    keyring: Keyring, expected: dict[str, str], of_now: MediaTokenStatus, of_before: MediaTokenStatus
) -> None:
    """A server of before wrote neither; its tokens are good beside those of now for a verifier that expects neither."""
    verifier = MediaTokenVerifier(keyring.jwks, **expected)
    _, claims = opened(base64.b64decode(write_media_token(keyring, MEDIA)).decode())
    before = {name: value for name, value in claims.items() if name not in {"iss", "aud"}}
    told = [
        verifier.verify(
            keyring.sign_media(written, NOW_S * 1000),
            expected_channel="REF",
            expected_resource=None,
            now_ms=NOW_S * 1000,
        )[0]
        for written in (claims, before)
    ]
    assert told == [of_now, of_before]


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({"resource": "ACME-LIVE"}, UNKNOWN),
        ({}, UNKNOWN),
        ({"sub": 5}, UNKNOWN),
        (to_builtins(MEDIA) | {"aud": [HERE]}, UNKNOWN),
        (to_builtins(MEDIA) | {"iss": 5}, UNKNOWN),
    ],
)
def test_a_media_token_without_its_claims_is_an_unknown_error(
    keyring: Keyring, claims: dict[str, Any], status: MediaTokenStatus
) -> None:
    assert verified(keyring, keyring.sign_media(claims, NOW_S * 1000)) == (status, None)


def test_forged_media_tokens(keyring: Keyring, forgeries: dict[str, str]) -> None:
    """What can be read as a JWS has a bad signature; the rest has no format."""
    formless = {"nothing", "no JWT", "two parts", "four parts", "a deep header"}
    wanted, told = {}, {}
    for name, forged in forgeries.items():
        if forged.isascii():
            wanted[name] = "INVALID_TOKEN_FORMAT" if name in formless else "INVALID_SIGNATURE"
            told[name] = verified(keyring, base64.b64encode(forged.encode()).decode())[0].name
    assert told == wanted


@pytest.mark.parametrize("serialized", ["", "***", "é", "\ud800", "AAA", "AAAA", "w6k=", "PHNpZ25hdHVyZUluZm8+"])
def test_what_is_no_media_token_has_no_format(keyring: Keyring, serialized: str) -> None:
    assert verified(keyring, serialized) == (MediaTokenStatus.INVALID_TOKEN_FORMAT, None)


def test_another_servers_media_token_has_a_bad_signature(keyring: Keyring) -> None:
    foreign = Keyring(begun(make_pair(("other-rsa", "other-ec")), 0, **RANDOM), "ES256")
    assert verified(keyring, write_media_token(foreign, MEDIA)) == (MediaTokenStatus.INVALID_SIGNATURE, None)


@pytest.mark.parametrize("character", ["a", '"', "\x01", "\N{EURO SIGN}"])
def test_the_longest_title_fits_into_a_media_token(keyring: Keyring, character: str) -> None:
    """2 KiB of UTF-8 (design decision 8.5), also where JSON writes each of them as six characters."""
    title = character * (2048 // len(character.encode()))
    token = replace(MEDIA, channel_id="R" * 128, pass_id="P" * 128, resource=title, environment="e" * 64)
    assert verified(keyring, write_media_token(keyring, token), channel="R" * 128, resource=title) == (VALID, token)


# --- secrets of clients


def test_client_secrets_are_kept_as_a_keyed_hash() -> None:
    kept = hash_client_secret("secret", b"c" * 32)
    assert [same(kept, hash_client_secret(*offered)) for offered in [
        ("secret", b"c" * 32), ("Secret", b"c" * 32), ("secret", b"d" * 32), ("", b"c" * 32)
    ]] == [True, False, False, False]  # fmt: skip


def test_a_verifier_ignores_keys_that_it_does_not_understand() -> None:
    strangers: list[dict[str, Any]] = [
        {"kty": "OKP", "kid": "o", "crv": "Ed25519", "x": "AA"},
        {"kty": "moon"},
        {"kid": "none"},
    ]
    ring = Keyring(begun(make_pair(("rsa", "ec")), 0, **RANDOM), "ES256")
    ring.jwks = {"keys": [*strangers, *ring.jwks["keys"]]}
    assert verified(ring, write_media_token(ring, MEDIA)) == (VALID, MEDIA)
