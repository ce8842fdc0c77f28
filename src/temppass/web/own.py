"""
What we serve beside the vendor's wire: health, the public keys, the description of every route, the pages of codes.

Source: design §6, RFC 7517 §5 (keys).
"""

from collections.abc import Sequence

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from temppass import wire
from temppass.service import Service
from temppass.web import openapi
from temppass.web.metrics import Metrics
from temppass.web.problems import CODES, JSON, OWN_SURFACE, Endpoint, GuardedRoute

_WHAT = (
    "A temporary pass service for TV and streaming apps, wire-compatible with Adobe Pass Temp Pass. "
    "Applications register at /o/client/register, ask under /api/v2 and reset under /reset-tempass/v3; "
    "the folder docs of the source has the tutorial, the guide and the reference."
)
#: where a stranger goes on
_WHERE = {
    "/openapi.json": "every endpoint, described",
    "/.well-known/jwks.json": "the public keys of this environment",
    "/healthz": "whether the process is alive",
    "/readyz": "whether the store answers",
    "/metrics": "counters for Prometheus",
}


class Own:
    """Its routes; `described` are those that /openapi.json describes, known by the time that it is asked for."""

    def __init__(self, service: Service, metrics: Metrics, described: Sequence[GuardedRoute]) -> None:
        self._service = service
        self._metrics = metrics
        self._described = described
        self._openapi = b""

    def routes(self) -> list[GuardedRoute]:
        def route(path: str, endpoint: Endpoint) -> GuardedRoute:
            return GuardedRoute(OWN_SURFACE, path, endpoint, ["GET"])

        return [
            route("/healthz", self.healthz),
            route("/readyz", self.readyz),
            route("/metrics", self._metrics.metrics),
            route("/.well-known/jwks.json", self.jwks),
            route("/openapi.json", self.openapi),
            route("/help/{error:id}", self.help),
            route("/", self.front),
        ]

    async def healthz(self, _request: Request) -> Response:
        """Say that the process is alive."""
        return Response(b'{"status":"ok"}', media_type=JSON)

    async def readyz(self, _request: Request) -> Response:
        """Say that the store answers; 503 where it does not."""
        await self._service.context.store.ping()
        return Response(b'{"status":"ready"}', media_type=JSON)

    async def jwks(self, request: Request) -> Response:
        """Publish the environment's public keys (RFC 7517 §5)."""
        keyring = (await self._service.world(request.scope["environment"])).keyring
        document = keyring.jwks if keyring is not None else {"keys": []}
        return Response(wire.encode(document), 200, {"Cache-Control": "public, max-age=300"}, JSON)

    async def openapi(self, _request: Request) -> Response:
        """Describe every route (OpenAPI 3.1)."""
        if not self._openapi:
            self._openapi = openapi.document(self._described)
        return Response(self._openapi, media_type=JSON)

    async def front(self, request: Request) -> Response:
        """Say what this is and where to go: as a page to browsers, else as JSON."""
        headers = {"Vary": "Accept"}
        if "text/html" not in request.headers.get("accept", ""):
            return Response(wire.encode({"name": "temppass", "what": _WHAT, "links": _WHERE}), 200, headers, JSON)
        links = "".join(f'<li><a href="{path}">{path}</a>: {meaning}</li>' for path, meaning in _WHERE.items())
        page = f"<!doctype html><html lang=en><title>temppass</title><h1>temppass</h1><p>{_WHAT}</p><ul>{links}</ul>"
        return HTMLResponse(page, 200, headers)

    async def help(self, request: Request) -> Response:
        """Explain one enhanced error code."""
        name = request.path_params["error"]
        code = CODES.get(name)
        if code is None:
            raise HTTPException(404, "There is no such code.")
        return PlainTextResponse(f"{name}\nstatus {code.status}, action {code.action}\n\n{code.message}\n")
