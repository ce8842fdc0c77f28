"""
What names a viewer or opens a door is neither logged, nor measured, nor stored: design §3 and §4.2, decision 8.18.
"""

import asyncio
import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
import structlog
from starlette.testclient import TestClient

from temppass.core.act import ByApplication, EverybodyReset, Record, SubjectReset
from temppass.testing import Double, build

T0 = 1_767_261_600_000
DEVICE = b"tvbox of a viewer/4f19c2a0"
EMAIL = "viewer@example.net"
HASH = hashlib.sha256(EMAIL.encode()).hexdigest()
APP_ID, DEVICE_USER, ADDRESS = "com.acme.secretive", "anna of the living room", "203.0.113.24"

Header = Callable[..., dict[str, str]]


def walk(double: Double, device: Header, identity: Header) -> list[str]:
    """Use every part of the wire, well and badly; answer all that must not be found anywhere afterwards."""
    client = TestClient(double.app, base_url="http://double.test", follow_redirects=False)
    statement = double.mint("ops")
    made = client.post("/o/client/register", json={"software_statement": statement}).json()
    credentials = {name: made[name] for name in ("client_id", "client_secret")} | {"grant_type": "client_credentials"}
    token = client.post("/o/client/token", params=credentials).json()["access_token"]
    client.post("/o/client/token", params=credentials | {"client_secret": made["client_secret"] + "x"})
    client.post("/o/client/token", data=credentials | {"grant_type": made["client_secret"]})
    client.post("/o/client/register", json={"software_statement": statement, "redirect_uri": f"https://{EMAIL}/"})
    told = base64.b64encode(json.dumps({"applicationId": APP_ID}).encode()).decode()
    client.headers.update({"Authorization": f"Bearer {token}", "X-Device-Info": told, "X-Forwarded-For": ADDRESS})
    client.headers.update(device(DEVICE))
    media = []
    for headers in (
        identity(EMAIL),
        identity(HASH),
        {"AP-TempPass-Identity": EMAIL},
        {"Authorization": "Bearer " + HASH},
    ):
        for mvpd in ("TempPassBasic30m", "TempPassPromo5"):
            body = {"resources": ["R1"]}
            for kind in ("authorize", "preauthorize"):
                answer = client.post(f"/api/v2/ACME1/decisions/{kind}/{mvpd}", json=body, headers=headers)
                media += [
                    item["token"]["serializedToken"] for item in answer.json().get("decisions", []) if "token" in item
                ]
            client.get(f"/api/v2/ACME1/profiles/{mvpd}", headers=headers)
    client.post("/api/v2/ACME1/sessions", data={"domainName": "acme.example"})
    client.get("/api/v2/ACME1/configuration", params={"device": DEVICE.decode()})
    pass_ = "requestor_id=ACME1&mvpd_id=TempPassPromo5"
    for target in (
        f"reset?{pass_}&device_id={quote(DEVICE)}&appId={APP_ID}&deviceUser={quote(DEVICE_USER)}",
        f"reset?{pass_}&appId={APP_ID}",
        f"reset?{pass_}&device_id={quote(DEVICE)}&device_id=x",
        f"reset/generic?{pass_}&key={EMAIL}",
        f"reset/generic?{pass_}&key={HASH}",
        f"reset/generic?{pass_}",
    ):
        client.delete(f"/reset-tempass/v3/{target}")
    client.get(f"/nothing?device_id={quote(DEVICE)}&key={EMAIL}")
    operator = double.operator("anna", "viewer")
    questions = [
        {"device": DEVICE.decode(), "email": EMAIL},
        {"device": device(DEVICE)["AP-Device-Identifier"], "key": HASH, "channel": "ACME1", "pass": "TempPassPromo5"},
        {"key": identity(EMAIL)["AP-TempPass-Identity"]},
        {"device": EMAIL * 100},
        {EMAIL: HASH},
    ]
    for question in questions:
        client.post(
            "/control/v1/environments/release-production/explain",
            json=question,
            headers={"Authorization": f"Bearer {operator}"},
        )
    secrets = [statement, operator, made["client_secret"], token, token.rpartition(".")[2], *media, told]
    viewer = [DEVICE.decode(), quote(DEVICE), base64.b64encode(DEVICE).decode(), hashlib.sha256(DEVICE).hexdigest()]
    return [*secrets, *viewer, EMAIL, quote(EMAIL), HASH, identity(EMAIL)["AP-TempPass-Identity"], APP_ID, DEVICE_USER]


def test_logs_and_metrics_name_no_viewer_and_hold_no_secret(catalogue: str, device: Header, identity: Header) -> None:
    double = build(catalogue, now=T0, TEMPPASS_LOG_REQUESTS="1")
    with structlog.testing.capture_logs() as lines:
        secrets = walk(double, device, identity)
    metrics = TestClient(double.app).get("/metrics").text
    logged = json.dumps(lines, default=repr)
    assert [secret for secret in [*secrets, ADDRESS] if secret in logged or secret in metrics] == []
    assert {line["event"] for line in lines} == {"request"}
    assert {"method": "DELETE", "path": "/reset-tempass/v3/reset", "status": 204}.items() <= next(
        line for line in lines if line["method"] == "DELETE"
    ).items()


def test_nothing_is_logged_unless_asked_for(catalogue: str, device: Header, identity: Header) -> None:
    double = build(catalogue, now=T0)
    with structlog.testing.capture_logs() as lines:
        walk(double, device, identity)
    assert lines == []


def test_the_store_keeps_digests_only(catalogue: str, device: Header, identity: Header, tmp_path: Path) -> None:
    file = tmp_path / "double.db"
    double = build(catalogue, now=T0, store=f"sqlite:///{file}")
    secrets = walk(double, device, identity)
    asyncio.run(double.application.store.close())
    kept = b"".join(each.read_bytes() for each in tmp_path.iterdir() if each.name.startswith("double.db"))
    assert b"TempPassPromo5" in kept
    # a session shows the application that opened it (contract §6.8), which names no viewer
    assert [secret for secret in secrets if secret.encode() in kept] == [APP_ID]


async def _resets(double: Double) -> list[Record]:
    """Answer the records of what came over the wire."""
    history = double.application.service.history
    return [
        record async for _, record in history.records(double.environment) if isinstance(record.actor, ByApplication)
    ]


@pytest.mark.parametrize("kind", ["device", "generic"])
def test_the_audit_trail_names_the_subject_by_its_digest(
    client: TestClient, double: Double, identity: Header, kind: str
) -> None:
    path = "reset" if kind == "device" else "reset/generic"
    name = "device_id" if kind == "device" else "key"
    pass_ = "requestor_id=ACME1&mvpd_id=TempPassPromo5"
    done = []
    for value in (quote(DEVICE), "all"):
        done.append(client.delete(f"/reset-tempass/v3/{path}?{pass_}&{name}={value}"))
        double.clock.advance(1)
    one, everybody = asyncio.run(_resets(double))
    assert [one.id, everybody.id] == [answer.headers["TempPass-Reset-Id"] for answer in done]
    assert isinstance(one.act, SubjectReset)
    assert (one.at, one.act.matched, [len(subject.digest) for subject in one.act.subjects]) == (T0, 0, [16])
    assert isinstance(everybody.act, EverybodyReset)
    assert (everybody.act.kinds, everybody.actor) == ((one.act.subjects[0].kind,), one.actor)
