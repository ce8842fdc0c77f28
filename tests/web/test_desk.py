"""
The walk of a support agent over HTTP, on every store: why a viewer was denied, giving the preview back, taking that
back, and who did it.
"""

import base64
from pathlib import Path

import httpx2
import pytest

from temppass.testing import Double, serving

T0, MINUTE = 1_767_261_600_000, 60_000
CATALOGUE = """
programmer = [{ id = "acme" }]
channel = [{ id = "REF", programmer = "acme" }]
pass = [{ id = "P", kind = "basic", ttl = "30m", channels = ["REF"] }]
application = [{ id = "ops", channels = "all", scopes = ["api:client:v2"] }]
"""
HERE, DEVICE = "/control/v1/environments/release-production", "tvbox-1"


@pytest.fixture(params=["memory", "sqlite", pytest.param("postgres", marks=pytest.mark.process)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        url: str = request.getfixturevalue("postgres")
        return url
    return "memory:" if request.param == "memory" else f"sqlite:///{tmp_path}/store.db"


def test_a_preview_is_given_back_and_taken_back_and_all_of_it_is_on_record(store: str) -> None:
    with (
        serving(store=store, now=T0, TEMPPASS_SECRET="s" * 32) as double,
        httpx2.Client(base_url=double.url) as client,
    ):
        double.apply(CATALOGUE)
        assert walked(double, client) == [True, False, True, True, 1, True, False, True, []]


def walked(double: Double, client: httpx2.Client) -> list[object]:
    """Answer what was seen on the way."""
    made = client.post("/o/client/register", json={"software_statement": double.mint("ops")}).json()
    form = {"grant_type": "client_credentials", **{name: made[name] for name in ("client_id", "client_secret")}}
    viewer = {
        "Authorization": f"Bearer {client.post('/o/client/token', data=form).json()['access_token']}",
        "AP-Device-Identifier": f"fingerprint {base64.b64encode(DEVICE.encode()).decode()}",
    }
    anna = {"Authorization": f"Bearer {double.operator('anna', 'support', channels=['REF'])}"}
    named = {"channel": "REF", "pass": "P", "device": DEVICE}

    def may_watch() -> bool:
        double.clock.advance(1)
        path = "/api/v2/REF/decisions/authorize/P"
        answer = client.post(path, json={"resources": ["R1"]}, headers=viewer).json()
        return bool(answer["decisions"][0]["authorized"])

    def desk(path: str, **body: object) -> dict[str, object]:
        double.clock.advance(1)
        answer: dict[str, object] = client.post(f"{HERE}/{path}", json=body, headers=anna).json()
        return answer

    seen: list[object] = [may_watch()]
    double.clock.advance(31 * MINUTE)
    seen.append(may_watch())
    told = desk("explain", **named)
    denied = {"authorized": False, "code": "temporary_access_duration_limit_exceeded"}
    seen += ["ended" in str(told["because"]), told["next"] == denied]
    reset = desk("resets", **named, reason="the stream broke off")
    seen += [reset["matched"], may_watch()]
    undone = desk(f"resets/{reset['id']}/undo", reason="the wrong viewer", replace=True)
    seen.append(may_watch())
    found = desk("acts/search", device=DEVICE)["records"]
    assert isinstance(found, list)
    on_record = [(each["id"], each["kind"], each["actor"]["name"], each["reason"]) for each in found]
    done = [(undone["id"], "undo", "anna", "the wrong viewer"), (reset["id"], "reset", "anna", "the stream broke off")]
    seen.append(on_record == done)

    async def faults() -> list[str]:
        return [fault async for fault in double.application.service.history.faults(double.environment)]

    return [*seen, double._run(faults())]
