"""
What we serve beside the vendor's wire: health, the public keys, the description of every route, the pages of codes.

Source: design §6, RFC 7517 §5 (keys).
"""

from collections.abc import Sequence
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from temppass import wire
from temppass.service import Service
from temppass.web.dcr import JWKS_PATH
from temppass.web.metrics import Metrics
from temppass.web.openapi import STRING, TEXT_TYPE, GuardedRoute, Json, Operation, document, object_of
from temppass.web.problems import CODES, JSON, OWN_SURFACE, Endpoint

_WHAT = (
    "A temporary pass service for TV and streaming apps, wire-compatible with Adobe Pass Temp Pass. "
    "Applications register at /o/client/register, ask under /api/v2 and reset under /reset-tempass/v3; "
    "the folder docs of the source has the tutorial, the guide and the reference."
)
#: where a stranger goes on
_WHERE = {
    "/openapi.json": "every endpoint, described",
    JWKS_PATH: "the public keys of this environment",
    "/healthz": "whether the process is alive",
    "/readyz": "whether the store answers",
    "/metrics": "counters for Prometheus",
}


def _operation(
    name: str,
    description: str,
    answer: Json | str,
    *,
    plain: tuple[int, ...] = (400, 405),
    faults: tuple[int, ...] = (),
    **more: Any,
) -> Operation:
    return Operation(name, description, 200, answer, plain=plain, faults=faults, **more)


_HEALTHZ = _operation("healthz", "Say that the process is alive.", object_of(["status"], status={"const": "ok"}))
_WHEREABOUTS = object_of(
    ["primary", "timeline", "seconds", "moves", "standby", "hosts", "away"],
    primary={"type": ["string", "null"]},
    timeline={"type": ["integer", "null"]},
    seconds={"type": ["integer", "null"]},
    moves={"type": "integer"},
    standby={"enum": ["attached", "missing", "not waited for", "unknown"]},
    hosts={"type": "object", "additionalProperties": STRING},
    away={"type": "array", "items": STRING},
)
_READYZ = _operation(
    "readyz",
    "Say that the store answers, and where it is if it moves from host to host; 503 where it does not.",
    object_of(["status"], status={"const": "ready"}, store=_WHEREABOUTS),
    faults=(500, 503),
)
_METRICS = _operation("metrics", "Show the metrics in Prometheus' text format.", TEXT_TYPE)
_JWKS = _operation(
    "jwks",
    "Publish the environment's public keys (RFC 7517 §5).",
    object_of(["keys"], keys={"type": "array", "items": {"type": "object"}}),
    headers=("Cache-Control",),
    faults=(500, 503),
)
_OPENAPI = _operation("openapi", "Describe every route (OpenAPI 3.1).", {"type": "object"})
_HELP = _operation("help", "Explain one enhanced error code.", TEXT_TYPE, plain=(400, 404, 405))
_FRONT = _operation(
    "front",
    "Say what this is and where to go: as a page to browsers, else as JSON.",
    object_of(["name", "what", "links"], name={"const": "temppass"}, what=STRING, links={"type": "object"}),
    headers=("Vary",),
    also=("text/html",),
)


class Own:
    """Its routes; `described` are those that /openapi.json describes, known by the time that it is asked for."""

    def __init__(self, service: Service, metrics: Metrics, described: Sequence[GuardedRoute]) -> None:
        self._service = service
        self._metrics = metrics
        self._described = described
        self._openapi = b""

    def routes(self) -> list[GuardedRoute]:
        def route(path: str, endpoint: Endpoint, operation: Operation) -> GuardedRoute:
            return GuardedRoute(OWN_SURFACE, path, endpoint, ["GET"], operation)

        return [
            route("/healthz", self.healthz, _HEALTHZ),
            route("/readyz", self.readyz, _READYZ),
            route("/metrics", self._metrics.metrics, _METRICS),
            route(JWKS_PATH, self.jwks, _JWKS),
            route("/openapi.json", self.openapi, _OPENAPI),
            route("/help/{error:id}", self.help, _HELP),
            route("/", self.front, _FRONT),
        ]

    async def healthz(self, _request: Request) -> Response:
        return Response(b'{"status":"ok"}', media_type=JSON)

    async def readyz(self, _request: Request) -> Response:
        store = self._service.context.store
        await store.ping()
        where = {"store": store.whereabouts} if store.whereabouts is not None else {}
        return Response(wire.encode({"status": "ready", **where}), media_type=JSON)

    async def jwks(self, request: Request) -> Response:
        keyring = (await self._service.world(request.scope["environment"])).keyring
        document = keyring.jwks if keyring is not None else {"keys": []}
        max_age_s = self._service.context.policy.jwks_ms // 1000
        return Response(wire.encode(document), 200, {"Cache-Control": f"public, max-age={max_age_s}"}, JSON)

    async def openapi(self, _request: Request) -> Response:
        if not self._openapi:
            self._openapi = document(self._described)
        return Response(self._openapi, media_type=JSON)

    async def front(self, request: Request) -> Response:
        headers = {"Vary": "Accept"}
        if "text/html" not in request.headers.get("accept", ""):
            return Response(wire.encode({"name": "temppass", "what": _WHAT, "links": _WHERE}), 200, headers, JSON)
        links = "".join(f'<li><a href="{path}">{path}</a>: {meaning}</li>' for path, meaning in _WHERE.items())
        page = f"<!doctype html><html lang=en><title>temppass</title><h1>temppass</h1><p>{_WHAT}</p><ul>{links}</ul>"
        return HTMLResponse(page, 200, headers)

    async def help(self, request: Request) -> Response:
        name = request.path_params["error"]
        code = CODES.get(name)
        if code is None:
            raise HTTPException(404, "There is no such code.")
        return PlainTextResponse(f"{name}\nstatus {code.status}, action {code.action}\n\n{code.message}\n")
