"""
Signing in with an operator token, and out.

Until somebody has signed in there is no session to hang a form on: a cookie of its own, which only the page of the form
was told of, keeps other pages from signing somebody in as somebody else.
"""

from __future__ import annotations

import secrets

import structlog
from starlette.requests import Request
from starlette.responses import Response

from temppass.core.refusal import EndedOperator, InvalidRequest, UnknownOperator
from temppass.service import Service
from temppass.service.signins import SESSION_MS
from temppass.web.console.look import SIGN_IN, console_route, go, page
from temppass.web.console.seat import refuse_foreign, signed_in
from temppass.web.desk import session_cookie, session_of
from temppass.web.problems import SurfaceRoute
from temppass.web.request import Headers, form_pairs, query_bytes, read_body, single

_FORM = "temppass-sign-in"
_TOKEN_CHARACTERS_MAX = 256

_log = structlog.get_logger("temppass.console")


class SignInPages:
    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> list[SurfaceRoute]:
        return [
            console_route("/console", self.front, "GET", "console_front"),
            console_route("/console/", self.front, "GET", "console_front"),
            console_route(SIGN_IN, self.show, "GET", "console_sign_in"),
            console_route(SIGN_IN, self.sign_in, "POST", "console_sign_in"),
            console_route("/console/sign-out", self.sign_out, "POST", "console_sign_out"),
        ]

    async def front(self, request: Request) -> Response:
        return go(f"/console/in/{request.scope['environment']}")

    async def show(self, request: Request) -> Response:
        return _form(request, _next(request))

    async def sign_in(self, request: Request) -> Response:
        fields = single(form_pairs(await read_body(request, Headers(request.scope["headers"]))))
        refuse_foreign(request, fields, request.cookies.get(_FORM) or secrets.token_hex())
        where, token = _next(request), fields.get("token", "").strip()
        try:
            opened = await self._service.desk.sign_in(token if len(token) <= _TOKEN_CHARACTERS_MAX else None)
        except (UnknownOperator, EndedOperator) as refusal:
            client = request.client.host if request.client else None
            _log.warning("sign-in refused", client=client, reason=type(refusal).__name__)
            return _form(request, where, refusal.detail)
        response = go(where or "/console")
        response.headers.append("Set-Cookie", session_cookie(request, opened.session, SESSION_MS // 1000))
        response.headers.append("Set-Cookie", _form_cookie(request, "", 0))
        return response

    async def sign_out(self, request: Request) -> Response:
        fields = single(form_pairs(await read_body(request, Headers(request.scope["headers"]))))
        signed = await signed_in(self._service, request)
        refuse_foreign(request, fields, signed.form_token)
        await self._service.signins.close(session_of(request) or "", everywhere=fields.get("everywhere") == "1")
        return go(SIGN_IN, {"Set-Cookie": session_cookie(request, "", 0), "Clear-Site-Data": '"cache"'})


def _form(request: Request, where: str, refused: str = "") -> Response:
    form_token = secrets.token_urlsafe(16)
    response = page("sign_in.html", None, 401 if refused else 200, form_token=form_token, where=where, refused=refused)
    response.headers.append("Set-Cookie", _form_cookie(request, form_token, 3600))
    return response


def _form_cookie(request: Request, value: str, seconds: int) -> str:
    secure = "; Secure" if request.scope["scheme"] == "https" else ""
    return f"{_FORM}={value}; Path={SIGN_IN}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"


def _next(request: Request) -> str:
    """Answer the page of ours to which one goes on, "" where none is named. Refuses: InvalidRequest."""
    named = dict(query_bytes(request.scope["query_string"])).get("next", b"").decode(errors="replace")
    if named and not (named.startswith("/console/") and named.isprintable() and named.isascii() and "\\" not in named):
        raise InvalidRequest("`next` is no page of the console.")
    return named
