"""
The document at `/openapi.json`: true of the routes and of the tables of problems.py, and, as schemathesis sees it, of
every answer. Its examples run on the demo catalogue.
"""

import functools
import json
import re
from collections.abc import Callable, Iterator
from importlib import resources
from typing import Any

import pytest
import schemathesis
from hypothesis import assume, settings
from schemathesis import checks
from schemathesis.python import asgi
from schemathesis.specs.openapi import checks as openapi_checks
from starlette.testclient import TestClient

from temppass.core.model import DenyCode
from temppass.core.world import SCOPE_RESET, SCOPE_V2
from temppass.testing import build
from temppass.web import problems
from temppass.web.openapi import document

#: the catalogue of the examples, and an application for each scope
CATALOGUE = (resources.files("temppass") / "demo.toml").read_text("utf-8") + "".join(
    f'\n[[application]]\nid = "{name}"\nchannels = "all"\nscopes = ["{scope}"]\n'
    for name, scope in (("player", SCOPE_V2), ("resetter", SCOPE_RESET))
)
DOUBLE = build(CATALOGUE, now=1_767_261_600_000)
ROUTES = DOUBLE.app.routes
DOCUMENT: dict[str, Any] = json.loads(document(ROUTES))
SCHEMA = schemathesis.openapi.from_asgi("/openapi.json", DOUBLE.app)
OPERATIONS = [
    pytest.param(path, method, operation, id=f"{method} {path}")
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]
#: what every answer keeps to, whatever was asked
CHECKS = [
    checks.not_a_server_error,
    openapi_checks.status_code_conformance,
    openapi_checks.content_type_conformance,
    openapi_checks.response_headers_conformance,
    openapi_checks.response_schema_conformance,
]
#: ids of the demo catalogue, in the place of those that schemathesis makes up
KNOWN = {"service_provider": "REF", "mvpd": "flexibleTempPass", "requestor_id": "REF", "mvpd_id": "TempPassREF"}


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with TestClient(DOUBLE.app, follow_redirects=False) as client:
        yield client


@pytest.fixture(scope="module")
def bearer(client: TestClient) -> Callable[[str], dict[str, str]]:
    """Answer the header with an access token of an application."""

    @functools.cache
    def header(application_id: str) -> dict[str, str]:
        made = client.post("/o/client/register", json={"software_statement": DOUBLE.mint(application_id)}).json()
        form = {"grant_type": "client_credentials"} | {name: made[name] for name in ("client_id", "client_secret")}
        return {"Authorization": f"Bearer {client.post('/o/client/token', data=form).json()['access_token']}"}

    return header


def test_it_is_openapi_3_1() -> None:
    SCHEMA.validate()  # raises


def test_the_server_serves_it(client: TestClient) -> None:
    answer = client.get("/openapi.json")
    assert (answer.headers["content-type"], answer.json()) == ("application/json;charset=UTF-8", DOCUMENT)


def test_every_route_is_described_and_nothing_else() -> None:
    described = {(path, method.upper()) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert described == {(route.path_format, method) for route in ROUTES for method in route.methods or ()} - {
        (route.path_format, "HEAD") for route in ROUTES
    }


def test_every_endpoint_has_one_path_of_its_own_and_the_others_are_deprecated() -> None:
    named = [
        operation.get("operationId")
        for methods in DOCUMENT["paths"].values()
        for operation in methods.values()
        if not operation.get("deprecated")
    ]
    assert sorted(named) == sorted({route.name for route in ROUTES} - {"retired"})


def test_every_component_is_used_and_every_reference_leads_to_one() -> None:
    components = {
        f"#/components/{kind}/{name}"
        for kind, entries in DOCUMENT["components"].items()
        for name in entries
        if kind != "securitySchemes"
    }
    assert set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(DOCUMENT))) == components


def described_codes(tag: str) -> set[tuple[int, str]]:
    """Answer (status, code) of every no that the operations of `tag` describe."""
    answers = [
        (int(status), DOCUMENT["components"]["responses"].get(answer.get("$ref", "").rpartition("/")[2], answer))
        for methods in DOCUMENT["paths"].values()
        for operation in methods.values()
        if tag in operation["tags"]
        for status, answer in operation["responses"].items()
    ]
    return {
        (status, code)
        for status, answer in answers
        for part in answer.get("content", {}).get("application/json", {}).get("schema", {}).get("allOf", [])[1:]
        for word in part["properties"].values()
        for code in word["enum"]
    }


V2_FAULTS = {(500, "internal_server_error"), (503, "internal_server_error")}
FAULTS = set(problems.FAULTS.items())
PLAIN = {(405, "method_not_allowed")}
TOO_MANY = {(429, "too_many_requests")}
READING = PLAIN | {(408, "request_timeout"), (413, "content_too_large")}
TRIAL = {(problems.CODES[code].status, code.value) for code in DenyCode}


@pytest.mark.parametrize(
    ("tag", "table", "others"),
    [
        ("REST v2", problems.V2, V2_FAULTS | READING | TRIAL | TOO_MANY),
        ("Reset", problems.RESET, FAULTS | PLAIN | {(410, "gone")}),
        ("Registration", problems.REGISTRATION, FAULTS | READING | TOO_MANY),
        ("Introspection", problems.INTROSPECTION, FAULTS | READING),
        ("Service", problems.OWN_SURFACE.table, FAULTS | PLAIN | {(404, "not_found")}),
    ],
)
def test_every_row_of_a_surface_is_described(
    tag: str, table: dict[type[Exception], problems.Row], others: set[tuple[int, str]]
) -> None:
    assert described_codes(tag) == {(row.status, row.code) for row in table.values()} | others


def test_every_enhanced_error_code_is_described_on_a_whole_answer_or_on_one_title() -> None:
    error = DOCUMENT["components"]["schemas"]["DecisionShape"]["properties"]["error"]
    on_a_title = set(error["allOf"][1]["properties"]["code"]["enum"])
    assert {code for _, code in described_codes("REST v2") - READING - TOO_MANY} | on_a_title == set(problems.CODES)


def example_of(path: str, operation: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Answer the URL and the parts of a request that the document's examples make."""
    parts: dict[str, dict[str, Any]] = {"path": {}, "query": {}, "header": {}}
    for reference in operation["parameters"]:
        parameter = DOCUMENT["components"]["parameters"][reference["$ref"].rpartition("/")[2]]
        if "example" in parameter:
            parts[parameter["in"]][parameter["name"]] = parameter["example"]
        elif parameter["required"]:
            parts[parameter["in"]][parameter["name"]] = parameter["schema"]["enum"][0]
    request: dict[str, Any] = {"params": parts["query"], "headers": parts["header"]}
    if "application/json" in operation.get("requestBody", {}).get("content", {}):
        titles = DOCUMENT["components"]["schemas"]["AuthorizeBody"]["properties"]["resources"]["examples"][0]
        request["json"] = {"resources": titles}
    return path.format_map(parts["path"]), request


@pytest.mark.parametrize(("path", "method", "operation"), OPERATIONS)
def test_exactly_the_operations_that_name_a_scope_want_a_token(
    path: str, method: str, operation: dict[str, Any], client: TestClient
) -> None:
    url, request = example_of(path, operation)
    assert (client.request(method, url, **request).status_code == 401) == bool(operation["security"])


#: by an access token; the control API's roles are in test_control.py
GUARDED = [param for param in OPERATIONS if "accessToken" in str(param.values[2]["security"])]  # type: ignore[index]


@pytest.mark.parametrize(("path", "method", "operation"), GUARDED)
def test_the_scope_that_is_named_opens_an_operation_and_the_other_does_not(
    path: str, method: str, operation: dict[str, Any], client: TestClient, bearer: Callable[[str], dict[str, str]]
) -> None:
    url, request = example_of(path, operation)
    named = operation["security"][0]["accessToken"]

    def status_for(application_id: str) -> int:
        return client.request(
            method, url, **request | {"headers": request["headers"] | bearer(application_id)}
        ).status_code

    opens = min(int(status) for status in operation["responses"]) if "{code}" not in path else 400
    assert (status_for("player"), status_for("resetter")) == ((opens, 401) if named == [SCOPE_V2] else (403, opens))


@pytest.fixture(scope="module")
def session() -> Iterator[asgi.ASGIClient]:
    """One for all cases; its own would each begin and end the application, and read every variable for a proxy."""
    app: Any = DOUBLE.app
    with asgi.get_client(app) as session:
        session.trust_env = False
        yield session


@schemathesis.serializer("application/toml")
def as_toml(_context: Any, value: Any) -> bytes:
    """Whatever it is: what is no TOML is refused, not a surprise."""
    return str(value).encode(errors="surrogatepass")


#: a channel of such a name would make the path one of another operation
WORDS = {word for route in ROUTES for word in route.path.split("/") if word.isalpha()}
#: a retired path answers every method alike; test_walk.py has each
ASKED = SCHEMA.exclude(method=["POST", "PUT", "PATCH", "DELETE"], path_regex=r"^/(reset-tempass/v[12][./]|oauth2/)")


@pytest.mark.broad
@ASKED.parametrize()
@settings(max_examples=20, derandomize=True, database=None, deadline=None)
def test_no_answer_is_a_surprise(
    case: schemathesis.Case[Any], session: asgi.ASGIClient, bearer: Callable[[str], dict[str, str]]
) -> None:
    assume(case.path_parameters.get("service_provider") not in WORDS)
    case.call_and_validate(checks=CHECKS, session=session)
    headers = bearer("demo")
    case.call_and_validate(checks=CHECKS, session=session, headers=headers)
    for part in (case.path_parameters, case.query):
        part |= {name: KNOWN[name] for name in part if name in KNOWN}
    case.call_and_validate(checks=CHECKS, session=session, headers=headers)
