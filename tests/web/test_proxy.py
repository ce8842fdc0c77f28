"""What proxies say of who comes by them is believed of those that are trusted, and of nobody else."""

from typing import Any

import pytest
from starlette.testclient import TestClient
from structlog.testing import capture_logs
from tests.web.conftest import CATALOGUE, SECRET, T0

from temppass.server import behind
from temppass.testing import build

PROXIES = ("10.0.0.0/8", "2001:db8::/32", "192.0.2.7/32")


@pytest.fixture(scope="module")
def application() -> Any:
    return build(CATALOGUE, now=T0, TEMPPASS_SECRET=SECRET).app


def told(application: Any, peer: str, *headers: tuple[str, str]) -> tuple[bool, str]:
    """Answer whether the cookie of a sign-in wants TLS, and who is said to have been refused."""
    client = TestClient(application, base_url="http://double.test", client=(peer, 4711))
    asked = [(name.encode(), value.encode()) for name, value in headers]
    page = client.get("/console/sign-in", headers=asked)
    form_token = page.cookies["temppass-sign-in"]
    with capture_logs() as logs:
        fields = {"token": "none", "form_token": form_token}
        client.post(
            "/console/sign-in", data=fields, headers=[*asked, (b"Cookie", b"temppass-sign-in=" + form_token.encode())]
        )
    (refused,) = [each["client"] for each in logs if each["event"] == "sign-in refused"]
    return "Secure" in page.headers["Set-Cookie"], refused


FOR, PROTO = "X-Forwarded-For", "X-Forwarded-Proto"


@pytest.mark.parametrize(
    ("peer", "headers", "secure", "client"),
    [
        ("10.1.2.3", [(PROTO, "https"), (FOR, "198.51.100.9")], True, "198.51.100.9"),
        ("2001:db8::1", [(PROTO, "https"), (FOR, "2001:4860::8")], True, "2001:4860::8"),
        ("192.0.2.7", [(PROTO, "http"), (FOR, "198.51.100.9")], False, "198.51.100.9"),
        # right to left, past those that are trusted: what a client says of itself stands further left
        ("10.1.2.3", [(PROTO, "https"), (FOR, "203.0.113.5, 198.51.100.9, 10.9.9.9")], True, "198.51.100.9"),
        ("10.1.2.3", [(PROTO, "https"), (FOR, "203.0.113.5"), (FOR, "198.51.100.9")], True, "198.51.100.9"),
        # nobody else is believed
        ("192.0.2.8", [(PROTO, "https"), (FOR, "10.1.2.3")], False, "192.0.2.8"),
        ("198.51.100.9", [(PROTO, "https"), (FOR, "10.1.2.3")], False, "198.51.100.9"),
        # what is none says nothing
        ("10.1.2.3", [(PROTO, "gopher")], False, "10.1.2.3"),
        ("10.1.2.3", [], False, "10.1.2.3"),
    ],
)
def test_a_trusted_proxy_says_how_a_client_came_and_from_where(
    application: Any,
    peer: str,
    headers: list[tuple[str, str]],
    secure: bool,  # noqa: FBT001 - a case
    client: str,
) -> None:
    assert told(behind(application, PROXIES), peer, *headers) == (secure, client)


def test_nobody_is_trusted_unless_it_is_said(application: Any) -> None:
    headers = [(PROTO, "https"), (FOR, "198.51.100.9")]
    assert told(behind(application, ()), "10.1.2.3", *headers) == (False, "10.1.2.3")
