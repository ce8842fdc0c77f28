"""
How pages come about: templates, what stands on each of them, and the headers that keep everybody else's script out.

Nothing is loaded from elsewhere, and nothing is written into a page that a template does not escape.
Source: Content Security Policy Level 3; Fetch Metadata; docs/design.md (console).
"""

from __future__ import annotations

import functools
import hashlib
import uuid
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from temppass import wire
from temppass.core.act import Act, actor_word, kind_word
from temppass.core.catalogue import is_environment_name
from temppass.core.operator import Role
from temppass.web.problems import CONTROL, CONTROL_HEADERS, FAULTS, RETRY_AFTER, Endpoint, Row, Surface, SurfaceRoute

if TYPE_CHECKING:
    from jinja2 import Environment

    from temppass.web.console.seat import Seat

SIGN_IN = "/console/sign-in"
#: where the pages of an environment are
IN = "/console/in/{environment}"
HEADERS = {
    **CONTROL_HEADERS,
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    # not no-referrer: a form would come with `Origin: null`
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_TYPES = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
#: environments are told apart by colour too; those that everybody knows have their own
_ENVIRONMENTS = {
    "release-production": "production",
    "release-staging": "staging",
    "prequal-production": "prequal",
    "prequal-staging": "prequal-staging",
}
_HUES = 6
#: the pages that have others below them: where, by which name, and from which role on
NAVIGATION = (
    ("", "Viewers", Role.VIEWER),
    ("/acts", "Acts", Role.VIEWER),
    ("/reset", "Resets", Role.OPERATOR),
    ("/approvals", "Approvals", Role.OPERATOR),
    ("/applications", "Applications", Role.VIEWER),
    ("/catalogue", "Catalogue", Role.VIEWER),
    ("/schedules", "Schedules", Role.VIEWER),
    ("/keys", "Keys", Role.VIEWER),
    ("/operators", "Operators", Role.ADMIN),
)


def page(template: str, seat: Seat | None, status: int = 200, **context: Any) -> Response:
    """Answer a page; without a `seat`, one for whoever has not signed in."""
    text = _templates().get_template(template).render(seat=seat, **context)
    return Response(text, status, HEADERS, "text/html")


def go(path: str, headers: Mapping[str, str] | None = None) -> Response:
    """Send a browser to another page, by GET (RFC 9110 §15.4.4); `path` is ours."""
    return RedirectResponse(path, HTTPStatus.SEE_OTHER, {**HEADERS, **(headers or {})})


@functools.cache
def _templates() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415 - start-up does without its 40 ms

    templates = Environment(
        loader=PackageLoader("temppass.web.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        "moment": moment,
        "machine": machine,
        "short": short,
        "act_short": act_short,
        "hue": hue,
        "plural": plural,
    }
    templates.filters |= {"done": done, "by": actor_word}
    templates.globals |= {"file": StaticFiles.path_of, "navigation": NAVIGATION, "once": lambda: str(uuid.uuid4())}
    return templates


# --- words of templates


def moment(at: int) -> str:
    """Write a moment, Unix milliseconds, for people."""
    return f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


def machine(at: int) -> str:
    """Write a moment, Unix milliseconds, as `<time datetime>` has it."""
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def short(digest: str) -> str:
    """Write as much of a digest as people tell apart."""
    return digest[:8]


def act_short(id_: str) -> str:
    """Write as much of the id of an act as people tell apart: it begins with the moment, which acts share."""
    return f"…{id_[-8:]}"


def hue(environment: str) -> str:
    """Answer the class of an environment, which has its colour."""
    return _ENVIRONMENTS.get(environment) or f"other-{zlib.crc32(environment.encode()) % _HUES}"


def plural(number: int, one: str, many: str | None = None) -> str:
    """Write a number with its noun."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


#: what was done, by the kind of the act
DONE = {
    "reset": "Reset of a viewer",
    "reset.everybody": "Reset of everybody",
    "reset.narrowed": "Reset of a part of everybody",
    "reset.narrowed.end": "End of a reset of a part of everybody",
    "reset.recurring": "Recurring reset",
    "undo": "Undo",
    "undo.end": "End of an undo",
    "grant": "Grant",
    "approval.ask": "Approval asked for",
    "approval.decline": "Approval declined",
    "catalogue.apply": "Catalogue applied",
    "statement.mint": "Statement minted",
    "statement.revoke": "Statement revoked",
    "client.revoke": "Client revoked",
    "keys.rotate": "Keys rotated",
    "schedule.pause": "Recurring reset paused",
    "schedule.resume": "Recurring reset resumed",
    "operator.create": "Operator created",
    "operator.revoke": "Operator revoked",
    "secret.rotate": "Secret rotated",
    "older": "Act of the first version",
}


def done(what: Act) -> str:
    """Write what was done."""
    return DONE[kind_word(what)]


# --- files


class _File(NamedTuple):
    content: bytes
    media_type: str
    version: str


@functools.cache
def _files() -> dict[str, _File]:
    folder = resources.files("temppass.web.console") / "static"
    found = {}
    for each in folder.iterdir():
        media_type = _TYPES.get(each.name.rpartition(".")[2])
        if media_type is not None:
            content = each.read_bytes()
            found[each.name] = _File(content, media_type, hashlib.sha256(content).hexdigest()[:16])
    return found


class StaticFiles:
    """Style and script, at an address that changes when they do."""

    def routes(self) -> list[SurfaceRoute]:
        return [console_route("/console/static/{version:id}/{name:id}", self.file, "GET", "console_file")]

    @staticmethod
    def path_of(name: str) -> str:
        return f"/console/static/{_files()[name].version}/{name}"

    async def file(self, request: Request) -> Response:
        found = _files().get(request.path_params["name"])
        if found is None:
            raise HTTPException(404, "There is no such file.")
        headers = {**HEADERS, "Cache-Control": "public, max-age=31536000, immutable"}
        return Response(found.content, 200, headers, found.media_type)


# --- how pages say no


def _refuse(request: Request, row: Row, detail: str) -> Response:
    if row.status == HTTPStatus.UNAUTHORIZED and request.method == "GET":
        return go(f"{SIGN_IN}?next={quote(request.scope['path'])}")
    return _told(request, row.status, detail)


def _fault(request: Request, status: int, trace: str) -> Response:
    response = _told(request, status, f"Something went wrong here; trace {trace}.")
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers.update(RETRY_AFTER)
    return response


def _told(request: Request, status: int, detail: str) -> Response:
    environment = request.path_params.get("environment", "")
    known = environment if is_environment_name(environment) else ""
    heading = HTTPStatus(status).phrase
    return page(
        "told.html", None, status, heading=heading, detail=detail, back=request.scope["path"], environment=known
    )


def not_there(status: int, _error: str, detail: str, headers: dict[str, str] | None = None) -> Response:
    """Say what is said without a refusal, e.g. that there is no such page."""
    heading = HTTPStatus(status).phrase
    response = page("told.html", None, status, heading=heading, detail=detail, back="/console", environment="")
    response.headers.update(headers or {})
    return response


CONSOLE_SURFACE = Surface(
    "Console", CONTROL, _refuse, _fault, wire.PlainError, "error", FAULTS, tuple(HEADERS), not_there, "text/html"
)


def console_route(path: str, endpoint: Endpoint, method: str, name: str) -> SurfaceRoute:
    return SurfaceRoute(CONSOLE_SURFACE, path, endpoint, [method], name)
