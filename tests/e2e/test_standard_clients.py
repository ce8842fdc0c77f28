"""
Standard OAuth clients, as they are installed from the registry, at a real server over TLS: from its address alone they
find the endpoints, register, get a token, use it, and ask what it is good for.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest
import requests
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession  # type: ignore[import-untyped]
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url  # type: ignore[import-untyped]
from oauthlib.oauth2 import BackendApplicationClient  # type: ignore[import-untyped]
from requests_oauthlib import OAuth2Session  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from tests.e2e.conftest import Certificate, Folder

Session = TypeVar("Session", bound=requests.Session)

DEVICE = {"AP-Device-Identifier": "fingerprint dHZib3gtNGYxOWMyYTA="}
WATCH = "/api/v2/ACME1/decisions/authorize/Basic"
SCOPE = "api:client:v2 temporary:passes:owner"


class Found:
    """What a client knows that was told nothing but an address and handed a software statement."""

    def __init__(self, issuer: str, statement: str, chain: Path) -> None:
        self._chain = str(chain)
        http = self.trusting(requests.Session())
        self.told: Mapping[str, Any] = http.get(get_well_known_url(issuer, external=True)).json()
        made = http.post(self.told["registration_endpoint"], json={"software_statement": statement}).json()
        self.client_id, self.client_secret = made["client_id"], made["client_secret"]

    def trusting(self, session: Session) -> Session:
        """Let a session trust this server alone, whatever the surroundings say."""
        session.trust_env, session.verify = False, self._chain
        return session

    def uses(self, session: requests.Session) -> bool:
        """Tell whether a title may be watched by the token of a session."""
        answer = session.post(self.told["issuer"] + WATCH, json={"resources": ["R1"]}, headers=DEVICE)
        return bool(answer.json()["decisions"][0]["authorized"])


@pytest.fixture(scope="module")
def found(shared: "Folder", certificate: "Certificate") -> Iterator[Found]:
    shared.declare()
    server = shared.serve("--tls-cert", str(certificate.chain), "--tls-key", str(certificate.key))
    yield Found(server.url, shared.temppass("statement", "mint", "ops").out.strip(), certificate.chain)
    server.end()


def test_authlib_finds_nothing_wrong_but_that_there_is_nothing_to_redirect(found: Found) -> None:
    """RFC 8414 §2 requires `response_types_supported`; without an authorization endpoint there is none of them."""
    told, wrong = AuthorizationServerMetadata(found.told), dict[str, str]()
    for name in told.REGISTRY_KEYS:
        try:
            getattr(told, f"validate_{name}")()
        except ValueError as error:
            wrong[name] = str(error)
    assert wrong == {"response_types_supported": '"response_types_supported" is required'}


def test_authlib_gets_a_token_uses_it_and_asks_about_it(found: Found) -> None:
    method = found.told["token_endpoint_auth_methods_supported"][0]
    session = found.trusting(AuthlibSession(found.client_id, found.client_secret, token_endpoint_auth_method=method))
    token = session.fetch_token(found.told["token_endpoint"], grant_type=found.told["grant_types_supported"][0])
    told = session.introspect_token(found.told["introspection_endpoint"], token=token["access_token"]).json()
    assert (found.uses(session), told["active"], told["client_id"], told["scope"]) == (
        True,
        True,
        found.client_id,
        SCOPE,
    )


def test_requests_oauthlib_gets_a_token_uses_it_and_asks_about_it(found: Found) -> None:
    session = found.trusting(OAuth2Session(client=BackendApplicationClient(found.client_id)))
    token = session.fetch_token(found.told["token_endpoint"], client_secret=found.client_secret, include_client_id=True)
    asked = {"client_id": found.client_id, "client_secret": found.client_secret, "token": token["access_token"]}
    told = session.post(found.told["introspection_endpoint"], data=asked).json()
    assert (found.uses(session), told["active"], told["client_id"], told["scope"]) == (
        True,
        True,
        found.client_id,
        SCOPE,
    )
