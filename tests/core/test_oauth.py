"""
Registration (RFC 7591) and the client credentials grant (RFC 6749 §4.4), values in, values out.
"""

from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from temppass.core.catalogue import Application, Catalogue, Channel
from temppass.core.model import Client, Listed
from temppass.core.oauth import (
    FIELD_CHARACTERS_MAX,
    URL_CHARACTERS_MAX,
    Registration,
    RegistrationRequest,
    TokenRequest,
    grant,
    is_within,
    leads_to,
    read_registration,
    read_token_request,
    register,
)
from temppass.core.refusal import (
    InvalidClient,
    InvalidRedirect,
    InvalidRequest,
    InvalidStatement,
    InvalidToken,
    MissingScope,
    Refusal,
    RevokedApplication,
    UnapprovedStatement,
    UnassignedChannel,
    UnauthorizedClient,
    UnknownChannel,
    UnsupportedGrant,
)
from temppass.core.tokens import Grant, Keyring, Statement, hash_client_secret, write_access_token, write_statement
from temppass.core.world import SCOPE_RESET, SCOPE_V2, Environment, EnvironmentRecord, World, application_sub

T0 = 1_767_261_600_000
HOUR = 3_600_000
SIX_HOURS = 6 * HOUR
ENVIRONMENT = "release-production"
BOTH = (SCOPE_V2, SCOPE_RESET)

OPS = Application("ops", "Support desk", ("REF",), BOTH, ("acme.example", "tv.acme.example"))
BARE = Application("bare", "No domain", None, (SCOPE_V2,))
MUTE = Application("mute", "No scope", None, ())
CATALOGUE = Catalogue(applications={entry.id: entry for entry in (OPS, BARE, MUTE)})


def world_of(
    keyring: Keyring | None, *, epochs: dict[str, int] | None = None, catalogue: Catalogue = CATALOGUE
) -> World:
    record = EnvironmentRecord(1, catalogue, {}, epochs or {}, b"")
    listed = tuple(Listed(id_, id_, record.epochs.get(id_, 0), "kid", T0, "shell:") for id_ in catalogue.applications)
    return World(ENVIRONMENT, Environment(record, listed), keyring=keyring, pepper=b"p" * 32, client_key=b"c" * 32)


@pytest.fixture
def world(keyring: Keyring) -> World:
    return world_of(keyring)


def statement(
    keyring: Keyring, application_id: str = "ops", epoch: int = 0, environment: str = ENVIRONMENT, minted_at: int = T0
) -> str:
    said = Statement(application_sub(ENVIRONMENT, application_id), epoch, application_id)
    return write_statement(keyring, said, environment, minted_at // 1000, "auth.adobe.com")


def registered(world: World, software_statement: str, redirect_uri: str | None = None) -> tuple[Registration, Client]:
    request = RegistrationRequest(software_statement, redirect_uri)
    return register(world, request, T0, client_id="id", client_secret="secret")


# --- registration


def test_a_statement_is_exchanged_for_credentials(world: World, keyring: Keyring) -> None:
    assert registered(world, statement(keyring)) == (
        Registration("id", "secret", T0, ("https://acme.example", "https://tv.acme.example"), BOTH),
        Client("id", "ops", 0, hash_client_secret("secret", b"c" * 32), T0, "ops"),
    )


@pytest.mark.parametrize(
    ("application_id", "redirect_uri", "redirect_uris"),
    [
        ("ops", "https://play.acme.example/cb?x=1", ("https://play.acme.example/cb?x=1",)),
        ("bare", None, ()),
    ],
)
def test_redirect_uris_are_the_given_one_or_the_domains(
    world: World, keyring: Keyring, application_id: str, redirect_uri: str | None, redirect_uris: tuple[str, ...]
) -> None:
    registration, _ = registered(world, statement(keyring, application_id), redirect_uri)
    assert registration.redirect_uris == redirect_uris


@pytest.mark.parametrize(
    ("application_id", "redirect_uri"),
    [("ops", "https://evil.example/"), ("ops", ""), ("ops", "http://acme.example/"), ("bare", "https://acme.example/")],
)
def test_a_redirect_uri_elsewhere_is_refused(
    world: World, keyring: Keyring, application_id: str, redirect_uri: str
) -> None:
    with pytest.raises(InvalidRedirect):
        registered(world, statement(keyring, application_id), redirect_uri)


@pytest.mark.parametrize(
    ("url", "leads"),
    [
        ("https://acme.example", True),
        ("https://acme.example:8443/cb", True),
        ("https://ACME.example/cb", True),
        ("HTTPS://acme.example/cb", True),
        ("https://a.b.acme.example/cb#", False),
        ("https://a.b.acme.example/cb", True),
        ("https://notacme.example/cb", False),
        ("https://acme.example.evil.example/cb", False),
        ("https://acme.example@evil.example/", False),
        ("https://evil.example#acme.example", False),
        ("https://evil.example/acme.example", False),
        ("https://evil.example\\acme.example", False),
        ("https://user@acme.example/", False),
        ("https://user:pass@acme.example/", False),
        ("https://acme.example/#fragment", False),
        ("https://acme.example/a b", False),
        ("https://acme.example/a\nb", False),
        ("https://acme.example/\x00", False),
        ("https://acm\N{LATIN SMALL LETTER E WITH ACUTE}.example/", False),
        ("https://acme.example:0/", False),
        ("https://acme.example:99999/", False),
        ("https://acme.example:x/", False),
        ("https://[::1", False),
        ("https:///cb", False),
        ("https:acme.example", False),
        ("//acme.example/cb", False),
        ("acme.example", False),
        ("http://acme.example/", False),
        ("javascript:alert(1)//acme.example", False),
        ("https://acme.example/" + "a" * URL_CHARACTERS_MAX, False),
        ("\ud800", False),
    ],
)
def test_where_a_url_leads(url: str, leads: bool) -> None:  # noqa: FBT001
    assert leads_to(url, {"acme.example"}, ("https",)) is leads


@pytest.mark.parametrize(
    ("host", "within"),
    [("acme.example", True), ("tv.acme.example", True), ("acmeXexample", False), ("eacme.example", False), ("", False)],
)
def test_hosts_within_a_domain(host: str, within: bool) -> None:  # noqa: FBT001
    assert is_within(host, ["acme.example"]) is within


def test_a_statement_that_was_not_minted_here_is_invalid(world: World, keyring: Keyring) -> None:
    """No statement, one of another environment, one not yet valid, and an access token in its place."""
    token = write_access_token(keyring, Grant("id", "ops", 0, frozenset(BOTH), T0 + HOUR), ENVIRONMENT, T0, "j", "i")
    minted = [statement(keyring, environment="prequal-staging"), statement(keyring, minted_at=T0 + HOUR)]
    for foreign in ["", "no.jwt.here", token, *minted]:
        with pytest.raises(InvalidStatement):
            registered(world, foreign)


def test_an_environment_that_does_not_exist_minted_nothing(keyring: Keyring) -> None:
    with pytest.raises(InvalidStatement):
        registered(world_of(None), statement(keyring))


@pytest.mark.parametrize(("application_id", "epoch"), [("gone", 0), ("ops", 0), ("ops", 2)])
def test_an_unknown_or_revoked_application_is_unapproved(keyring: Keyring, application_id: str, epoch: int) -> None:
    with pytest.raises(UnapprovedStatement):
        registered(world_of(keyring, epochs={"ops": 1}), statement(keyring, application_id, epoch))


def test_a_statement_of_another_environments_application_is_unapproved(world: World, keyring: Keyring) -> None:
    """The subject is the UUIDv5 of environment and application, so that one name is two applications."""
    said = Statement(application_sub("prequal-staging", "ops"), 0, "ops")
    with pytest.raises(UnapprovedStatement):
        registered(world, write_statement(keyring, said, ENVIRONMENT, T0 // 1000, "auth.adobe.com"))


@pytest.mark.parametrize(
    ("fields", "request_read"),
    [
        ({"software_statement": "s"}, RegistrationRequest("s", None)),
        ({"software_statement": "s", "redirect_uri": "u", "grant_types": 5}, RegistrationRequest("s", "u")),
    ],
)
def test_registrations_that_can_be_read(fields: dict[str, Any], request_read: RegistrationRequest) -> None:
    assert read_registration(fields) == request_read


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"software_statement": ""},
        {"software_statement": 5},
        {"software_statement": None},
        {"software_statement": "s", "redirect_uri": ["u"]},
    ],
)
def test_registrations_that_cannot_be_read(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        read_registration(fields)


# --- tokens

_GOOD = {"client_id": "id", "client_secret": "secret", "grant_type": "client_credentials"}


@pytest.mark.parametrize(
    ("more", "scopes"),
    [
        ({"refresh_token": 5}, set()),
        ({"scope": None}, set()),
        ({"scope": ""}, set()),
        ({"scope": "x"}, {"x"}),
        ({"scope": " api:client:v2  x "}, {"api:client:v2", "x"}),
    ],
)
def test_token_requests_that_can_be_read(more: dict[str, Any], scopes: set[str]) -> None:
    assert read_token_request({**_GOOD, **more}) == TokenRequest("id", "secret", frozenset(scopes))


@pytest.mark.parametrize(
    ("changed", "refusal"),
    [
        *[({name: value}, InvalidRequest) for name in _GOOD for value in ("", None, 5, ["a"])],
        *[({"scope": value}, InvalidRequest) for value in (5, ["api:client:v2"], False)],
        ({"client_id": "a" * (FIELD_CHARACTERS_MAX + 1)}, InvalidRequest),
        ({"client_secret": "a" * (FIELD_CHARACTERS_MAX + 1)}, InvalidRequest),
        # what cannot be read is told before the grant (design decision 8.11)
        ({"grant_type": "password", "client_secret": ""}, InvalidRequest),
        ({"grant_type": "password"}, UnsupportedGrant),
        ({"grant_type": "CLIENT_CREDENTIALS"}, UnsupportedGrant),
        ({"grant_type": "a" * 1000}, UnsupportedGrant),
    ],
)
def test_token_requests_that_are_refused(changed: dict[str, Any], refusal: type[Refusal]) -> None:
    with pytest.raises(Refusal) as caught:
        read_token_request({**_GOOD, **changed})
    assert caught.type is refusal


def client(application_id: str = "ops", epoch: int = 0) -> Client:
    return Client("id", application_id, epoch, hash_client_secret("secret", b"c" * 32), T0)


@pytest.mark.parametrize(
    ("named", "scopes"),
    [
        ([], BOTH),
        ([SCOPE_RESET], [SCOPE_RESET]),
        ([SCOPE_V2, "x"], [SCOPE_V2]),
        (BOTH, BOTH),
        (["x", SCOPE_V2.upper()], BOTH),
    ],
)
def test_a_token_carries_those_scopes_of_the_application_that_were_named_or_all(
    world: World, named: Sequence[str], scopes: Sequence[str]
) -> None:
    granted = grant(world, client(), TokenRequest("id", "secret", frozenset(named)), T0, SIX_HOURS)
    assert granted == Grant("id", "ops", 0, frozenset(scopes), T0 + SIX_HOURS)


@pytest.mark.parametrize(
    ("known", "secret", "refusal"),
    [
        (None, "secret", InvalidClient),
        (client(), "wrong", InvalidClient),
        (client("gone"), "secret", InvalidClient),
        (client("ops", epoch=1), "secret", InvalidClient),
        (client("mute"), "wrong", InvalidClient),  # a stranger does not learn what the client may do
        (client("mute"), "secret", UnauthorizedClient),
    ],
)
def test_who_gets_no_token(world: World, known: Client | None, secret: str, refusal: type[Refusal]) -> None:
    with pytest.raises(Refusal) as caught:
        grant(world, known, TokenRequest("id", secret, frozenset([SCOPE_V2])), T0, SIX_HOURS)
    assert caught.type is refusal


# --- what a token admits to


@pytest.mark.parametrize(
    ("changed", "scope", "now", "refusal"),
    [
        ({}, SCOPE_RESET, T0 + SIX_HOURS, InvalidToken),
        ({"epoch": 1}, SCOPE_RESET, T0, RevokedApplication),
        ({"application_id": "gone"}, SCOPE_RESET, T0, RevokedApplication),
        ({"epoch": 1, "scopes": frozenset()}, SCOPE_RESET, T0, RevokedApplication),
        ({"scopes": frozenset([SCOPE_V2])}, SCOPE_RESET, T0, MissingScope),
        # the catalogue has taken the scope from the application since the token was issued
        ({"application_id": "bare"}, SCOPE_RESET, T0, MissingScope),
    ],
)
def test_what_a_token_does_not_admit_to(
    world: World, changed: dict[str, Any], scope: str, now: int, refusal: type[Refusal]
) -> None:
    given = replace(Grant("id", "ops", 0, frozenset(BOTH), T0 + SIX_HOURS), **changed)
    with pytest.raises(Refusal) as caught:
        world.admit(given, scope, now)
    assert caught.type is refusal


def test_a_token_admits_until_its_last_millisecond(world: World) -> None:
    given = Grant("id", "ops", 0, frozenset(BOTH), T0 + SIX_HOURS)
    assert [world.admit(given, scope, T0 + SIX_HOURS - 1) for scope in BOTH] == [OPS, OPS]


def test_an_application_speaks_for_its_channels_only(keyring: Keyring) -> None:
    channels = {id_: Channel(id_, "acme", id_) for id_ in ("REF", "REF30")}
    world = world_of(keyring, catalogue=replace(CATALOGUE, channels=channels))
    assert (world.channel_for(OPS, "REF"), world.channel_for(BARE, "REF30")) == (channels["REF"], channels["REF30"])
    for channel_id, refusal in [("REF30", UnassignedChannel), ("REF31", UnknownChannel)]:
        with pytest.raises(refusal):
            world.channel_for(OPS, channel_id)
