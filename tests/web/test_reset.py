"""
The reset API: whom each call makes new again.

Source: contract §4.6 and §5.1-5.3, design §3 and decisions 8.1, 8.2, 8.5 and 8.14.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from temppass.testing import Double

DEVICE = b"tvbox-4f19c2a0-77d3-4b1e-8c55-90ab31de6f02"
RESET, GENERIC = "/reset-tempass/v3/reset", "/reset-tempass/v3/reset/generic"
BASIC = "requestor_id=ACME1&mvpd_id=TempPassBasic30m"
PROMO = "requestor_id=ACME1&mvpd_id=TempPassPromo1"
#: the SHA-256 of user@domain.com (contract §4.5)
USER = "f7ee5ec7312165148b69fcca1d29075b14b8aef0b5048a332b18b88d09069fb7"

Header = Callable[[bytes], dict[str, str]]
Identity = Callable[..., dict[str, str]]


def done(client: TestClient, target: str) -> tuple[int, str | None]:
    """Reset, and answer the status and how many ledgers matched."""
    answer = client.delete(target)
    assert answer.content == b""
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", answer.headers["TempPass-Reset-Id"])
    return answer.status_code, answer.headers.get("TempPass-Matched")


# --- whom a reset means


@pytest.mark.parametrize(
    ("target", "matched", "renewed"),
    [
        (f"device_id={DEVICE.decode()}", "1", {DEVICE}),
        ("device_id=another", "1", {b"another"}),
        ("device_id=nobody", "0", set()),
        ("device_id=ALL", "0", set()),
        (f"device_id={DEVICE.decode().upper()}", "0", set()),
        (f"device_id=%20{DEVICE.decode()}", "0", set()),
        ("device_id=all", None, {DEVICE, b"another"}),
        ("device_id=%61ll", None, {DEVICE, b"another"}),
        ("device_id=", None, {DEVICE, b"another"}),
        ("device_id", None, {DEVICE, b"another"}),
        ("", None, {DEVICE, b"another"}),
        (f"device_id={DEVICE.decode()}&key=x&key=y&unknown", "1", {DEVICE}),
        (f"&&device_id={DEVICE.decode()}&", "1", {DEVICE}),
    ],
)
def test_a_device_reset_renews_whom_it_names(
    client: TestClient,
    double: Double,
    device: Header,
    watch: Callable[..., bool],
    target: str,
    matched: str | None,
    renewed: set[bytes],
) -> None:
    everybody = {DEVICE, b"another"}
    assert all(watch(**device(each)) for each in everybody)
    double.clock.advance(1_800_000)
    assert done(client, f"{RESET}?{BASIC}&{target}") == (204, matched)
    assert {each for each in everybody if watch(**device(each))} == renewed


@pytest.mark.parametrize(
    ("device_id", "spelling"),
    [
        (b"a b", "a+b"),
        (b"a b", "a%20b"),
        (b"a+b", "a%2Bb"),
        (b"a&b=c#d", "a%26b%3Dc%23d"),
        (b"a=b", "a=b"),
        (b"a%41", "a%2541"),
        (b"a%zz", "a%zz"),
        (b"\xff\xfe\x00\x80", "%ff%FE%00%80"),
        ("gerät-✓".encode(), quote("gerät-✓")),
        (b"al", "al"),
        (b"x" * 1024, "x" * 1024),
    ],
)
def test_a_device_id_is_the_decoded_bytes_of_the_header(
    client: TestClient,
    double: Double,
    device: Header,
    watch: Callable[..., bool],
    device_id: bytes,
    spelling: str,
) -> None:
    watch(**device(device_id))
    double.clock.advance(1_800_000)
    assert done(client, f"{RESET}?{BASIC}&device_id={spelling}") == (204, "1")
    assert watch(**device(device_id))


@pytest.mark.parametrize(
    ("sent", "key", "matched"),
    [
        (USER, USER, "1"),
        (USER, USER.upper(), "1"),
        (USER.upper(), USER, "1"),
        (USER, "user@domain.com", "1"),
        ("user@domain.com", USER, "1"),
        ("user@domain.com", "user%40domain.com", "1"),
        ("user@domain.com", "User@domain.com", "0"),
        ("user@domain.com", "+user@domain.com", "0"),
        ("a b", "a+b", "1"),
        ("a+b@domain.com", "a%2Bb@domain.com", "1"),
        ("ünïcode", quote("ünïcode"), "1"),
        *(
            (digest(b"viewer").hexdigest(), digest(b"viewer").hexdigest().upper(), "1")
            for digest in (hashlib.sha224, hashlib.sha384, hashlib.sha512)
        ),
        (hashlib.sha1(b"viewer").hexdigest(), hashlib.sha1(b"viewer").hexdigest().upper(), "0"),
        (hashlib.sha1(b"v").hexdigest(), hashlib.sha256(hashlib.sha1(b"v").hexdigest().encode()).hexdigest(), "1"),
        (USER, "ALL", "0"),
        (USER, DEVICE.decode(), "0"),
        (USER, "all", None),
        (USER, "", None),
    ],
)
def test_a_user_key_raw_or_hashed_names_the_same_viewer(
    client: TestClient, identity: Identity, watch: Callable[..., bool], sent: str, key: str, matched: str | None
) -> None:
    assert watch("TempPassPromo1", **identity(sent))
    assert done(client, f"{GENERIC}?{PROMO}&key={key}") == (204, matched)


def test_an_omitted_key_means_every_key(
    client: TestClient, device: Header, identity: Identity, watch: Callable[..., bool]
) -> None:
    for user in "abc":
        watch("TempPassPromo1", **device(b"of " + user.encode()), **identity(user))
    assert done(client, f"{GENERIC}?{PROMO}") == (204, None)
    again = [watch("TempPassPromo1", "R2", **device(b"new " + user.encode()), **identity(user)) for user in "abc"]
    assert again == [True, True, True]


@pytest.mark.parametrize(
    ("resets", "known_device_new_user", "new_device_known_user"),
    [
        ([], False, False),
        ([f"{RESET}?{PROMO}&device_id=first"], True, False),
        ([f"{RESET}?{PROMO}&device_id=all"], True, False),
        ([f"{GENERIC}?{PROMO}&key=viewer"], False, True),
        ([f"{GENERIC}?{PROMO}&key=all"], False, True),
        ([f"{RESET}?{PROMO}&device_id=first", f"{GENERIC}?{PROMO}&key=viewer"], True, True),
    ],
)
def test_a_promotional_viewer_needs_both_resets(
    client: TestClient,
    device: Header,
    identity: Identity,
    watch: Callable[..., bool],
    resets: list[str],
    known_device_new_user: bool,  # noqa: FBT001
    new_device_known_user: bool,  # noqa: FBT001
) -> None:
    """Contract §4.6: each call unties only its own kind of subject."""
    assert watch("TempPassPromo1", **device(b"first"), **identity("viewer"))
    for target in resets:
        done(client, target)
    assert (
        watch("TempPassPromo1", "R2", **device(b"first"), **identity("somebody else")),
        watch("TempPassPromo1", "R2", **device(b"second"), **identity("viewer")),
    ) == (known_device_new_user, new_device_known_user)


@pytest.mark.parametrize("target", ["key=viewer", "key=all", "", f"key={DEVICE.decode()}"])
def test_a_generic_reset_of_a_basic_pass_matches_nothing(
    client: TestClient, double: Double, watch: Callable[..., bool], target: str
) -> None:
    watch()
    double.clock.advance(1_800_000)
    assert (done(client, f"{GENERIC}?{BASIC}&{target}"), watch()) == ((204, "0"), False)


def test_a_reset_is_idempotent_and_begins_nothing(
    client: TestClient, double: Double, watch: Callable[..., bool]
) -> None:
    watch()
    target = f"{RESET}?{BASIC}&device_id={DEVICE.decode()}"
    assert [done(client, target) for _ in range(3)] == [(204, "1"), (204, "0"), (204, "0")]
    double.clock.advance(1_800_000)
    assert watch()


def test_a_reset_keeps_to_its_channel_and_pass(
    client: TestClient, double: Double, identity: Identity, watch: Callable[..., bool]
) -> None:
    asks: list[tuple[str, str, str]] = [
        ("TempPassBasic30m", "R1", "ACME1"),
        ("TempPassBasic30m", "R1", "ACME2"),
        ("TempPassPromo1", "R1", "ACME1"),
    ]
    assert all(watch(*ask, **identity("viewer")) for ask in asks)
    double.clock.advance(3_600_000)
    done(client, f"{RESET}?{BASIC}")
    assert [watch(*ask, **identity("viewer")) for ask in asks] == [True, False, False]


# --- narrowed by origin


def info(app_id: object) -> dict[str, str]:
    return {"X-Device-Info": base64.b64encode(json.dumps({"applicationId": app_id}).encode()).decode()}


@pytest.mark.parametrize(
    ("target", "matched", "renewed"),
    [
        ("device_id=tv&appId=com.acme.tv", "1", {b"tv"}),
        ("device_id=tv&appId=com.acme.phone", "0", set()),
        ("device_id=tv&appId=com.acme.TV", "0", set()),
        ("device_id=tv&appId=", "1", {b"tv"}),
        ("device_id=tv&deviceUser=anna", "0", set()),
        ("device_id=tv&appId=com.acme.tv&deviceUser=anna", "0", set()),
        ("device_id=tv&appId=com.acme.tv&deviceUser=", "1", {b"tv"}),
        ("device_id=plain&appId=com.acme.tv", "0", set()),
        ("device_id=all&appId=com.acme.tv", "2", {b"tv", b"tv 2"}),
        ("device_id=&appId=com.acme.tv", "2", {b"tv", b"tv 2"}),
        ("appId=com.acme.tv", "2", {b"tv", b"tv 2"}),
        ("appId=7", "1", {b"phone"}),
        ("appId=nobody", "0", set()),
        ("deviceUser=anna", "0", set()),
        ("appId=com.acme.tv&deviceUser=anna", "0", set()),
        ("appId=&deviceUser=", None, {b"tv", b"tv 2", b"phone", b"plain"}),
    ],
)
def test_app_id_and_device_user_narrow_a_device_reset(
    client: TestClient,
    double: Double,
    device: Header,
    watch: Callable[..., bool],
    target: str,
    matched: str | None,
    renewed: set[bytes],
) -> None:
    viewers: dict[bytes, dict[str, str]] = {b"tv": info("com.acme.tv"), b"tv 2": info("com.acme.tv"), b"phone": info(7)}
    viewers[b"plain"] = {}
    assert all(watch(**device(each), **told) for each, told in viewers.items())
    double.clock.advance(1_800_000)
    assert done(client, f"{RESET}?{BASIC}&{target}") == (204, matched)
    assert {each for each in viewers if watch(**device(each))} == renewed


def test_an_origin_is_recorded_when_the_ledger_is_created(client: TestClient, watch: Callable[..., bool]) -> None:
    watch(**info("first"))
    watch(**info("second"))
    matched = [done(client, f"{RESET}?{BASIC}&device_id=all&appId={name}")[1] for name in ("second", "first", "first")]
    assert matched == ["0", "1", "0"]


def test_a_generic_reset_ignores_app_id_and_device_user(
    client: TestClient, identity: Identity, watch: Callable[..., bool]
) -> None:
    watch("TempPassPromo1", **identity("viewer"), **info("com.acme.tv"))
    target = f"{GENERIC}?{PROMO}&key=viewer&appId=other&appId=another&deviceUser=%ff"
    assert done(client, target) == (204, "1")
