"""
The whole edge as one ASGI application: the routes in one list, and around them what holds for every request: its
environment, CORS, a JSON answer to what no route takes, one metric.

Source: design §6, contract §6.10 (CORS), design decision 8.17.
"""

import re
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any
from urllib.parse import urlsplit

import structlog
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Match

from temppass import wire
from temppass.core.oauth import is_within
from temppass.core.refusal import InvalidRequest
from temppass.core.world import World
from temppass.service import Service
from temppass.store import StoreUnavailable
from temppass.web import openapi
from temppass.web.dcr import Registrar
from temppass.web.host import RELEASE_PRODUCTION, environment_of_host, host_of, read_host
from temppass.web.problems import CODES, JSON, OWN_SURFACE, PLAIN, Endpoint, GuardedRoute, answer, plain
from temppass.web.reset import Resetter
from temppass.web.v2 import RestV2

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_log = structlog.get_logger("temppass.web")

_ALLOWED_HEADERS = (
    "authorization, content-type, accept, AP-Device-Identifier, AP-Session-Identifier, AP-SDK-Identifier, "
    "AP-TempPass-Identity, AP-Visitor-Identifier, X-Device-Info, X-Forwarded-For, pass_sfp"
)
_EXPOSED_HEADERS = (
    "pass_sfp, Authzf-Error-Code, Authzf-Sub-Error-Code, Authzf-Error-Details, TempPass-Reset-Id, TempPass-Matched, "
    "TempPass-Trial, TempPass-Titles"
)
#: a browser may remember a preflight this long, in seconds
_PREFLIGHT_AGE_S = "600"
_LOOPBACK = ("localhost", "127.0.0.1")
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


class _Segment(Convertor[str]):
    """One path segment, which may be empty: the contract has an error code for an empty id (§7.1)."""

    regex = "[^/]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


register_url_convertor("id", _Segment())


class Own:
    """What we serve beside the vendor's wire."""

    def __init__(self, service: Service, registry: CollectorRegistry) -> None:
        self._service = service
        self._registry = registry
        self._openapi = b""
        self.described: list[GuardedRoute] = []

    def routes(self) -> list[GuardedRoute]:
        def route(path: str, endpoint: Endpoint) -> GuardedRoute:
            return GuardedRoute(OWN_SURFACE, path, endpoint, ["GET"])

        return [
            route("/healthz", self.healthz),
            route("/readyz", self.readyz),
            route("/metrics", self.metrics),
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

    async def metrics(self, _request: Request) -> Response:
        """Show the metrics in Prometheus' text format."""
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_LATEST)

    async def jwks(self, request: Request) -> Response:
        """Publish the environment's public keys (RFC 7517 §5)."""
        keyring = (await self._service.world(request.scope["environment"])).keyring
        document = keyring.jwks if keyring is not None else {"keys": []}
        return Response(wire.encode(document), 200, {"Cache-Control": "public, max-age=300"}, JSON)

    async def openapi(self, _request: Request) -> Response:
        """Describe every route (OpenAPI 3.1)."""
        if not self._openapi:
            self._openapi = openapi.document(self.described)
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


def routes(service: Service, registry: CollectorRegistry) -> list[GuardedRoute]:
    """Answer every route of the server, the busiest first."""
    own = Own(service, registry)
    own.described = [
        *RestV2(service).routes(),
        *Resetter(service).routes(),
        *Registrar(service).routes(),
        *own.routes(),
    ]
    return own.described


class _Tally(Collector):
    """What edge and service have counted, as metrics: plain numbers, because the library's cost a lock each time."""

    def __init__(self, service: Service, requests: Counter[tuple[str, int]]) -> None:
        self._service = service
        self._requests = requests

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "temppass_requests", "Requests answered, by endpoint and status.", labels=["endpoint", "status"]
        )
        for (endpoint, status), count in self._requests.items():
            requests.add_metric([endpoint, str(status)], count)
        yield requests
        decisions = CounterMetricFamily(
            "temppass_decisions", "Titles decided by authorize, by verdict.", labels=["verdict"]
        )
        for verdict, count in self._service.decisions.verdicts.items():
            decisions.add_metric([verdict], count)
        yield decisions
        yield CounterMetricFamily(
            "temppass_swept_ledgers",
            "Ledgers removed that could not count any more.",
            self._service.upkeep.sweeper.removed,
        )
        yield CounterMetricFamily(
            "temppass_store_retries",
            "Batches run again after a race with another process.",
            self._service.context.store.retries,
        )


class Edge:
    """
    The ASGI application. `default_environment` is the one of hosts that name none; `log_requests` writes a line for
    each request, with its path and never its query string.
    """

    def __init__(
        self,
        service: Service,
        *,
        default_environment: str = RELEASE_PRODUCTION,
        log_requests: bool = False,
        registry: CollectorRegistry | None = None,
    ) -> None:
        registry = registry or CollectorRegistry()
        self._service = service
        self._default = default_environment
        self._log_requests = log_requests
        self._routes = routes(service, registry)
        #: requests answered, by endpoint and status
        self._requests: Counter[tuple[str, int]] = Counter()
        registry.register(_Tally(service, self._requests))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await _live(receive, send)
            return
        try:
            origin = self._locate(scope)
        except InvalidRequest as error:
            await self._refuse(scope, receive, send, error)
            return
        if scope["path"].startswith("/api/v2/") and scope["path"].endswith("/") and not self._methods(scope):
            scope["path"] = scope["path"][:-1]  # a trailing slash is an alias (contract §12 #24)
        route = self._route(scope)
        if route is None:
            response = self._unrouted(scope)
        else:
            request = Request(scope, receive)
            try:
                response = await route.endpoint(request)
            except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets an answer
                response = answer(route.surface, request, error)
        if origin:
            response.raw_headers = [*response.raw_headers, *await self._cors(scope["environment"], origin)]
        await response(scope, receive, send)
        self._count(scope, response.status_code)

    def _locate(self, scope: Scope) -> str:
        """Say in `scope` which host and environment are meant, and answer the `Origin`. Refuses: InvalidRequest."""
        origin, hosts = "", []
        for name, value in scope["headers"]:
            if name == b"host":
                hosts.append(value)
            elif name == b"origin":
                origin = value.decode("latin-1")
        if len(hosts) == 1 and "target" not in scope:
            host = read_host(hosts[0])
        else:  # server.py hands over a target that is no mere path; what is rare need not cost the others 2 %
            host = host_of(hosts, scope.get("target", b"/"), scope["http_version"])
        scope["host"], scope["environment"] = host, environment_of_host(host, self._default)
        return origin

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, error: InvalidRequest) -> None:
        """Refuse what belongs to no environment, and so reaches no endpoint, in the words of its surface if it can."""
        route = self._route({**scope})
        surface = route.surface if route is not None and InvalidRequest in route.surface.table else OWN_SURFACE
        response = answer(surface, Request(scope), error)
        await response(scope, receive, send)
        self._count(scope, response.status_code)

    def _route(self, scope: Scope) -> GuardedRoute | None:
        """
        Answer the first route that takes the path and the method.

        Starlette's application would do the same behind four layers of its own, which is a fifth of a decision.
        """
        if scope["method"] == "OPTIONS":
            return None
        for route in self._routes:
            match, matched = route.matches(scope)
            if match is Match.FULL:
                scope.update(matched)
                return route
            if match is Match.PARTIAL:
                scope.setdefault("endpoint", route.endpoint)  # for the metrics
        return None

    def _unrouted(self, scope: Scope) -> Response:
        """Say which methods the path takes (RFC 9110 §9.3.7, §15.5.6), or that there is nothing."""
        methods = self._methods(scope)
        if not methods:
            return plain(404, PLAIN[404], "There is nothing at this path.")
        allow = {"Allow": ", ".join(sorted(methods | {"OPTIONS"}))}
        if scope["method"] == "OPTIONS":
            return Response(status_code=204, headers=allow)
        return plain(405, PLAIN[405], "This path does not take this method.", allow)

    def _count(self, scope: Scope, status: int) -> None:
        endpoint = getattr(scope.get("endpoint"), "__name__", "none")
        self._requests[endpoint, status] += 1
        if self._log_requests:
            _log.info("request", method=scope["method"], path=scope["path"][:256], status=status)

    def _methods(self, scope: Scope) -> set[str]:
        """Answer the methods that a path takes: none where there is nothing at it."""
        return {
            method
            for route in self._routes
            if route.matches(scope)[0] is not Match.NONE
            for method in route.methods or ()
        }

    async def _cors(self, environment: str, origin: str) -> list[tuple[bytes, bytes]]:
        """Answer the CORS headers of a browser's request (contract §6.10); only a `Vary` to a stranger."""
        headers = {"Vary": "Origin"}
        try:
            known = is_known_origin(origin, await self._service.world(environment))
        except StoreUnavailable:
            known = False  # nobody can tell; the answer itself says what is wrong
        if known:
            headers |= {
                "Access-Control-Allow-Origin": origin,
                "Access-Control-Allow-Credentials": "true",
                "Access-Control-Allow-Methods": "POST,GET,OPTIONS,DELETE",
                "Access-Control-Allow-Headers": _ALLOWED_HEADERS,
                "Access-Control-Expose-Headers": _EXPOSED_HEADERS,
                "Access-Control-Max-Age": _PREFLIGHT_AGE_S,
            }
        return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]


async def _live(receive: Receive, send: Send) -> None:
    """Agree to start and to stop (ASGI lifespan): the store is opened and closed by whoever made the edge."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


def is_known_origin(origin: str, world: World) -> bool:
    """Tell whether an `Origin` is a page of a channel or application: over https, or on this machine."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return False
    host = parts.hostname or ""
    trusted = parts.scheme == "https" or (parts.scheme == "http" and host in _LOOPBACK)
    plain_origin = re.fullmatch(r"[a-z]+://[A-Za-z0-9.-]+(?::[0-9]{1,5})?", origin) is not None
    return trusted and plain_origin and is_within(host, world.domains)
