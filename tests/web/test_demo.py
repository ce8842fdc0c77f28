"""
The requests of the vendor's samples, as documented but for token and headers, against the demo catalogue.

Source: docs/sources.md, "Temp Pass" and "REST API v2"; contract §5 and §6.
"""

import base64
import json
from importlib import resources

import pytest
from starlette.testclient import TestClient

from temppass.testing import Double, build

T0 = 1_767_261_600_000
RESET = "DELETE /reset-tempass/v3/reset"
KEY = "f7ee5ec7312165148b69fcca1d29075b14b8aef0b5048a332b18b88d09069fb7"
AUTHORIZE = "POST /api/v2/apasstest1/decisions/authorize"
BACK = "redirectUrl=https%3A%2F%2Fadobe.com"
FORM = "application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def demo() -> Double:
    return build((resources.files("temppass") / "demo.toml").read_text("utf-8"), now=T0)


@pytest.fixture(scope="module")
def application(demo: Double) -> TestClient:
    """A client of the demo's application, on the device and with the user of the samples."""
    client = TestClient(demo.app, base_url="http://double.test", follow_redirects=False)
    made = client.post("/o/client/register", json={"software_statement": demo.mint("demo")}).json()
    fields = {name: made[name] for name in ("client_id", "client_secret")} | {"grant_type": "client_credentials"}
    client.headers = {
        "Authorization": f"Bearer {client.post('/o/client/token', data=fields).json()['access_token']}",
        "AP-Device-Identifier": f"fingerprint {base64.b64encode(b'ba23d141-d715-561c-94f4-e9e4c966b1eb').decode()}",
        "AP-TempPass-Identity": base64.b64encode(json.dumps({"email": KEY}).encode()).decode(),
    }
    return client


@pytest.mark.parametrize(
    ("line", "body", "status"),
    [
        (f"{RESET}?requestor_id=REF30&mvpd_id=TempPass&device_id=ba23d141-d715-561c-94f4-e9e4c966b1eb", "", 204),
        (f"{RESET}?requestor_id=REF30&mvpd_id=TempPass&device_id=all", "", 204),
        (f"{RESET}/generic?requestor_id=REF30&mvpd_id=TempPass&key={KEY}", "", 204),
        (f"{RESET}/generic?requestor_id=REF30&mvpd_id=TempPass&key=all", "", 204),
        (f"{RESET}/generic?key={KEY}&requestor_id=REF&mvpd_id=FlexibleTempPass", "", 204),
        ("GET /api/v2/REF30/configuration", "", 200),
        ("GET /api/v2/REF30/profiles/TempPass_TEST40", "", 200),
        ("GET /api/v2/REF30/profiles/flexibleTempPass", "", 200),
        ("POST /api/v2/REF30/sessions", f"mvpd=TempPass_TEST40&domainName=adobe.com&{BACK}", 200),
        (f"GET /api/v2/logout/REF30/TempPass_5mins?{BACK}", "", 200),
        (f"{AUTHORIZE}/TempPass_TEST40", '{"resources":["REF30"]}', 200),
        (f"{AUTHORIZE}/flexibleTempPass", '{"resources":["REF30"]}', 200),
    ],
)  # fmt: skip
def test_the_demo_takes_a_documented_request(application: TestClient, line: str, body: str, status: int) -> None:
    method, _, target = line.partition(" ")
    media_type = {"Content-Type": FORM if "=" in body else "application/json"} if body else {}
    assert application.request(method, target, content=body, headers=media_type).status_code == status
