"""
The whole edge as one ASGI application: the routes in one list, and around them what holds for every request: its
environment, CORS, a JSON answer to what no route takes, one metric.

Source: design §6, design decision 8.17.
"""

import uuid
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

import structlog
from prometheus_client import CollectorRegistry
from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from temppass.core.refusal import InvalidRequest
from temppass.service import Service
from temppass.web.acts import ActsDoors
from temppass.web.applications import ApplicationDoors
from temppass.web.console import pages
from temppass.web.console.look import not_there
from temppass.web.control import Control
from temppass.web.corrections import CorrectionDoors
from temppass.web.cors import cors_headers
from temppass.web.dcr import Registrar
from temppass.web.host import RELEASE_PRODUCTION, environment_of_host, host_of, read_host
from temppass.web.metrics import FAILED, NOBODY, Metrics
from temppass.web.openapi import GuardedRoute
from temppass.web.own import Own
from temppass.web.plans import PlanDoors
from temppass.web.problems import CONTROL_SURFACE, OWN_SURFACE, PLAIN, SurfaceRoute, answer, plain, problem
from temppass.web.reset import Resetter
from temppass.web.signing import SigningDoors
from temppass.web.v2 import RestV2

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_log = structlog.get_logger("temppass.web")


class _Segment(Convertor[str]):
    """One path segment, which may be empty: the contract has an error code for an empty id (§7.1)."""

    regex = "[^/]*"

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


class _Rest(_Segment):
    """All that is left of a path, line ends too."""

    regex = r"[\s\S]*"


register_url_convertor("id", _Segment())
register_url_convertor("rest", _Rest())


class Edge:
    """
    The ASGI application. `default_environment` is the one of hosts that name none; `https` says that clients come by
    it, whatever the socket speaks; `log_requests` writes a line for each request, with its path and never its query
    string.

    An answer may be a stream (StreamingResponse, or any Response whose call sends bit by bit). What fails in it is
    logged with its trace, counted once, as failed, and raised, so that the server cuts the connection.
    """

    def __init__(
        self,
        service: Service,
        *,
        default_environment: str = RELEASE_PRODUCTION,
        https: bool = False,
        log_requests: bool = False,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self._service = service
        self._default = default_environment
        self._https = https
        self._log_requests = log_requests
        self._metrics = Metrics(service, registry or CollectorRegistry())
        #: the busiest first
        self.routes: list[GuardedRoute] = []
        self.routes += RestV2(service).routes()
        self.routes += Resetter(service).routes()
        self.routes += Registrar(service).routes()
        self.routes += Control(service).routes()
        self.routes += ActsDoors(service).routes()
        self.routes += CorrectionDoors(service).routes()
        self.routes += ApplicationDoors(service).routes()
        self.routes += PlanDoors(service).routes()
        self.routes += SigningDoors(service).routes()
        self.routes += Own(service, self._metrics, self.routes).routes()
        #: the console's, which nothing else describes
        self._pages = pages(service)
        #: those of a port of which others have not the same
        self._at_port: dict[int | None, list[GuardedRoute]] = {}
        self._elsewhere = self.routes

    def keep_control_to(self, port: int | None) -> None:
        """Serve control API and console on this port alone, with what is ours; None: nowhere. The wire is elsewhere."""
        control = [route for route in self.routes if route.surface is CONTROL_SURFACE]
        self._elsewhere = [route for route in self.routes if route.surface is not CONTROL_SURFACE]
        if port is None:
            self.routes[:] = self._elsewhere  # nor are they described
            self._pages = []
        else:
            self._at_port = {port: [*control, *(route for route in self.routes if route.surface is OWN_SURFACE)]}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await _live(receive, send)
            return
        name = NOBODY
        status: int | str = FAILED
        try:
            try:
                origin = self._locate(scope)
            except InvalidRequest as error:
                origin, response = "", self._refusal(scope, error)
            else:
                route = self._route(scope)
                if route is None:
                    name, response = self._unrouted(scope)
                else:
                    name, request = route.name, Request(scope, receive)
                    try:
                        response = await route.endpoint(request)
                    except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets an answer
                        response = answer(route.surface, request, error)
            if origin and not _is_desk(scope):
                more = await cors_headers(self._service, scope["environment"], origin)
                response.raw_headers = [*response.raw_headers, *more]
            await response(scope, receive, send)
            status = response.status_code
        except Exception as error:
            _log.error("answer failed", trace=str(uuid.uuid4()), path=scope["path"], exc_info=error)
            raise  # its head may be sent, so that nothing is left but to cut the connection, as servers do
        finally:
            self._count(scope, name, status)

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
        if self._https:
            scope["scheme"] = "https"
        scope["host"], scope["environment"] = host, environment_of_host(host, self._default)
        return origin

    def _refusal(self, scope: Scope, error: InvalidRequest) -> Response:
        """Refuse what belongs to no environment, and so reaches no endpoint, in the words of its surface if it can."""
        route = self._route({**scope})
        surface = route.surface if route is not None and InvalidRequest in route.surface.table else OWN_SURFACE
        return answer(surface, Request(scope), error)

    def _route(self, scope: Scope) -> SurfaceRoute | None:
        """
        Answer the first route that takes the path and the method.

        Starlette's application would do the same behind four layers of its own, which is a fifth of a decision.
        """
        if scope["path"].startswith("/api/v2/") and scope["path"].endswith("/") and not self._there(scope):
            scope["path"] = scope["path"][:-1]  # a trailing slash is an alias (contract §12 #24)
        if scope["method"] == "OPTIONS":
            return None
        for route in self._at(scope):
            match, matched = route.matches(scope)
            if match is Match.FULL:
                scope.update(matched)
                return route
        return None

    def _unrouted(self, scope: Scope) -> tuple[str, Response]:
        """
        Say which methods the path takes (RFC 9110 §9.3.7, §15.5.6), or that there is nothing.

        A method that it does not take is counted under the name of its routes, if they have but one.
        """
        there = self._there(scope)
        say = not_there if _is_console(scope) else problem if _is_desk(scope) else plain
        if not there:
            return NOBODY, say(404, PLAIN[404], "There is nothing at this path.", None)
        methods = {"OPTIONS"}.union(*(route.methods or () for route in there))
        allow = {"Allow": ", ".join(sorted(methods))}
        if scope["method"] == "OPTIONS":
            return NOBODY, Response(status_code=204, headers=allow)
        names = {route.name for route in there}
        name = names.pop() if len(names) == 1 else NOBODY
        return name, say(405, PLAIN[405], "This path does not take this method.", allow)

    def _there(self, scope: Scope) -> list[SurfaceRoute]:
        """Answer the routes at a path, whatever the method."""
        return [route for route in self._at(scope) if route.matches(scope)[0] is not Match.NONE]

    def _at(self, scope: Scope) -> Sequence[SurfaceRoute]:
        """Answer the routes of the port that a request came to, and of the console for its paths."""
        is_console = _is_console(scope)
        if not self._at_port:
            return self._pages if is_console else self._elsewhere
        _, port = scope.get("server") or ("", None)
        if is_console:
            return self._pages if port in self._at_port else []
        return self._at_port.get(port, self._elsewhere)

    def _count(self, scope: Scope, name: str, status: int | str) -> None:
        self._metrics.count(name, status)
        if self._log_requests:
            _log.info("request", method=scope["method"], path=scope["path"][:256], status=status)


def _is_desk(scope: Scope) -> bool:
    """Tell whether a path is the operators', whom no page of another origin speaks for."""
    path: str = scope["path"]
    return path.startswith("/control/") or _is_console(scope)


def _is_console(scope: Scope) -> bool:
    path: str = scope["path"]
    return path.startswith("/console") and path[8:9] in {"", "/"}


async def _live(receive: Receive, send: Send) -> None:
    """Agree to start and to stop (ASGI lifespan): the store is opened and closed by whoever made the edge."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
