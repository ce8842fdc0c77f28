"""
What somebody could send in place of a token: signed with a key that signs no more, not yet, not here or never did; with
a public key taken for a secret; with another algorithm, or with none; or a good token of another kind. Every door
refuses each of them as the contract has it, and takes the good one.

Source: RFC 8725 §2.1, §3.1-3.3 and §3.11; contract §3.2, §5.3, §7.1 and §8.
"""

import base64
import hmac
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from joserfc.jwk import ECKey, RSAKey
from joserfc.jws import JWSRegistry, serialize_compact
from starlette.testclient import TestClient
from tests.web.conftest import CATALOGUE, SECRET, T0

from temppass import MediaTokenVerifier
from temppass.core.keys import StoredKeys
from temppass.core.tokens import Keyring
from temppass.service.signing import Rotation
from temppass.testing import ACTOR, Double, build

HOUR, MINUTE = 3_600_000, 60_000
HERE, THERE = "release-production", "acme"
KINDS = {"statement": "software-statement+jwt", "access token": "at+jwt", "media token": "media-token+jwt"}
PAIR = {"requestor_id": "ACME1", "mvpd_id": "TempPassBasic30m", "device_id": "tv"}
DEVICE = {"AP-Device-Identifier": "fingerprint dHY="}


class Scene(NamedTuple):
    """A service whose keys have come and gone, a good token of each kind (compact), and who forges others."""

    double: Double
    http: TestClient
    good: dict[str, str]
    credentials: dict[str, str]
    #: the keys of each stage of their life, with their private halves
    keys: dict[str, StoredKeys]


def stored(double: Double, environment: str = HERE) -> StoredKeys:
    context = double.application.service.context
    world = double._run(context.worlds.load(environment))
    return context.secret.open(environment, world.record.sealed_keys)


def rotate(double: Double, *, compromised: bool = False) -> None:
    double._run(double.application.service.signing.rotate_here(HERE, Rotation(compromised), ACTOR))


def pass_time(double: Double, ms: int) -> None:
    double.clock.advance(ms)
    double._run(double.application.service.upkeep.tick())


@pytest.fixture(scope="module")
def scene() -> Scene:
    double = build(CATALOGUE, now=T0, TEMPPASS_SECRET=SECRET)
    double.apply(CATALOGUE, THERE)
    keys = {"compromised": stored(double), "of another environment": stored(double, THERE)}
    rotate(double, compromised=True)
    keys["retired"] = stored(double)
    rotate(double)
    for wait_ms in (11 * MINUTE, 7 * HOUR):
        pass_time(double, wait_ms)
    keys["present"] = stored(double)
    double.apply(CATALOGUE, "elsewhere")
    keys["never published"] = stored(double, "elsewhere")
    rotate(double)
    coming = [jwk for jwk in stored(double).keys if jwk not in keys["present"].keys]
    keys["to come"] = StoredKeys(tuple(coming))
    http = TestClient(double.app)
    statement = double.mint("ops")
    made = http.post("/o/client/register", json={"software_statement": statement}).json()
    credentials = {name: made[name] for name in ("client_id", "client_secret")}
    form = {**credentials, "grant_type": "client_credentials"}
    access = http.post("/o/client/token", data=form).json()["access_token"]
    decisions = watch(http, access).json()["decisions"]
    media = base64.b64decode(decisions[0]["token"]["serializedToken"]).decode()
    good = {"statement": statement, "access token": access, "media token": media}
    return Scene(double, http, good, credentials, keys)


def watch(http: TestClient, token: str) -> Any:
    headers = {**DEVICE, "Authorization": f"Bearer {token}"}
    return http.post("/api/v2/ACME1/decisions/authorize/TempPassBasic30m", headers=headers, json={"resources": ["R1"]})


# --- what is sent


def segment(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def opened(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "===")) for part in token.split(".")[:2])
    return header, claims


def by(keys: StoredKeys, scene: Scene, kind: str, claims: dict[str, Any] | None = None) -> str:
    """Sign the claims of the good token of this kind as a server with these keys would."""
    ring, now = Keyring(keys, "ES256"), scene.double.clock()
    said = opened(scene.good[kind])[1] | (claims or {})
    if kind == "media token":
        return base64.b64decode(ring.sign_media(said, now)).decode()
    return ring.sign_statement(said, now) if kind == "statement" else ring.sign_access(said, now)


def under(token: str, kid: str) -> str:
    """Say that another key signed it."""
    header, body, signature = token.split(".")
    return f"{segment(json.dumps(opened(f'{header}.{body}')[0] | {'kid': kid}).encode())}.{body}.{signature}"


def attacks(scene: Scene, kind: str) -> dict[str, str]:
    """Answer what is sent in place of a token of this kind, by name."""
    header, claims = opened(scene.good[kind])
    found = {f"a key {stage}": by(keys, scene, kind) for stage, keys in scene.keys.items() if stage != "present"}
    if kind == "media token":
        del found["a key to come"]  # it is in the key set already, and says nothing of when
    for stage in ("of another environment", "retired", "never published"):
        found[f"a key {stage}, under the present one's name"] = under(by(scene.keys[stage], scene, kind), header["kid"])
    ring, body = Keyring(stored(scene.double), "ES256"), json.dumps(claims).encode()
    for number, jwk in enumerate(ring.jwks["keys"]):
        kid, name = str(jwk["kid"]), f"{jwk['kty']} {number}"
        key = ring.by_kid[kid]
        secrets = {
            "PEM": key.as_pem(private=False),
            "PEM without its last line end": key.as_pem(private=False).strip(),
            "DER": key.as_der(private=False),
            "JWK": json.dumps(jwk).encode(),
            "JWK, compact": json.dumps(jwk, separators=(",", ":")).encode(),
            "number": str(jwk.get("n", jwk.get("x"))).encode(),
            "nothing": b"",
        }
        for how, secret in secrets.items():
            for bits in (256, 384, 512):
                first = segment(json.dumps(header | {"alg": f"HS{bits}", "kid": kid}).encode())
                signature = hmac.digest(secret, f"{first}.{segment(body)}".encode(), f"sha{bits}")
                found[f"HS{bits} with {name} as {how}"] = f"{first}.{segment(body)}.{segment(signature)}"
        unsigned = segment(json.dumps(header | {"alg": "none", "kid": kid}).encode())
        found[f"none, in the name of {name}"] = f"{unsigned}.{segment(body)}."
    signers = Keyring(scene.keys["present"], "ES256").by_kid.values()
    rsa = next(each for each in signers if isinstance(each, RSAKey))
    ec = next(each for each in signers if isinstance(each, ECKey))
    # that know nothing of what they are for
    bare_rsa, bare_ec = RSAKey(rsa.raw_value, rsa.raw_value), ECKey(ec.raw_value, ec.raw_value)
    for algorithm, signer, named in (
        ("RS384", bare_rsa, rsa),
        ("RS512", bare_rsa, rsa),
        ("PS256", bare_rsa, rsa),
        ("RS256", bare_rsa, ec),
        ("ES256", bare_ec, rsa),
    ):
        told = header | {"alg": algorithm, "kid": named.kid}
        registry = JWSRegistry(algorithms=[algorithm])
        found[f"{algorithm} in the name of {named.key_type}"] = serialize_compact(told, body, signer, registry=registry)
    for other in KINDS.keys() - {kind}:
        first, rest = scene.good[other].split(".", 1)
        posing = segment(json.dumps(opened(scene.good[other])[0] | {"typ": KINDS[kind]}).encode())
        found |= {f"a good {other}": f"{first}.{rest}", f"a good {other} that poses": f"{posing}.{rest}"}
    return found


# --- where it is sent


def register(scene: Scene, token: str) -> tuple[int, str]:
    answer = scene.http.post("/o/client/register", json={"software_statement": token})
    return answer.status_code, answer.json().get("error", "")


def v2(scene: Scene, token: str) -> tuple[int, str]:
    answer = watch(scene.http, token)
    return answer.status_code, answer.json().get("code", "")


def reset(scene: Scene, token: str) -> tuple[int, str]:
    path, headers = "/reset-tempass/v3/reset", {"Authorization": f"Bearer {token}"}
    answer = scene.http.delete(path, params=PAIR, headers=headers)
    return answer.status_code, answer.json().get("error", "") if answer.content else ""


def introspect(scene: Scene, token: str) -> tuple[int, str]:
    answer = scene.http.post("/o/client/introspect", data={**scene.credentials, "token": token})
    return answer.status_code, f"active: {answer.json()['active']}"


def verify(scene: Scene, token: str) -> tuple[int, str]:
    jwks = scene.http.get("/.well-known/jwks.json").json()
    serialized, now_ms = base64.b64encode(token.encode()).decode(), scene.double.clock()
    told = MediaTokenVerifier(jwks).verify(serialized, expected_channel="ACME1", expected_resource="R1", now_ms=now_ms)
    return 0, told[0].name


Door = Callable[[Scene, str], tuple[int, str]]
DOORS: dict[str, tuple[str, Door, int, str, tuple[int, str]]] = {
    "register": ("statement", register, 400, "invalid_software_statement", (201, "")),
    "REST v2": ("access token", v2, 401, "invalid_access_token_client_application", (200, "")),
    "reset": ("access token", reset, 401, "access_denied", (204, "")),
    "introspect": ("access token", introspect, 200, "active: False", (200, "active: True")),
    "back end": ("media token", verify, 0, "INVALID_SIGNATURE", (0, "VALID_TOKEN")),
}


@pytest.mark.parametrize("name", DOORS)
def test_every_door_refuses_every_forgery_as_contracted(scene: Scene, name: str) -> None:
    kind, door, status, word, _ = DOORS[name]
    sent = attacks(scene, kind)
    assert {each: door(scene, token) for each, token in sent.items()} == dict.fromkeys(sent, (status, word))


@pytest.mark.parametrize("name", DOORS)
def test_every_door_takes_a_good_token(scene: Scene, name: str) -> None:
    kind, door, *_, taken = DOORS[name]
    assert door(scene, scene.good[kind]) == taken


@pytest.mark.parametrize("name", DOORS)
def test_the_forger_can_sign(scene: Scene, name: str) -> None:
    """What the present keys sign so is taken; a forgery is not refused for another reason."""
    kind, door, *_, taken = DOORS[name]
    assert door(scene, by(scene.keys["present"], scene, kind)) == taken


def test_there_are_as_many_forgeries_as_there_should_be(scene: Scene) -> None:
    """Four keys are published, each of which could be taken for a secret in seven forms and three lengths."""
    assert [len([name for name in attacks(scene, kind) if name.startswith("HS")]) for kind in KINDS] == [84] * 3


def test_a_key_to_come_is_known_from_its_moment_on(scene: Scene) -> None:
    """By a clock that is two minutes behind that of whoever signed: each may be one minute off."""
    token = by(scene.keys["to come"], scene, "statement")
    ring, now = Keyring(stored(scene.double), "ES256"), scene.double.clock()
    moments = [10 * MINUTE - 2 * MINUTE - 1, 10 * MINUTE - 2 * MINUTE]
    read = [ring.read(KINDS["statement"], token, now + at) is not None for at in moments]
    assert read == [False, True]
