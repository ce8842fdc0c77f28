"""
One connection: the bounds on what a stranger can make it hold, in bytes and in time.

uvicorn's protocol talks to the application; how much a request may have, how long each wait for its peer may take, and
how a connection ends, is said here.
"""

from asyncio import TimerHandle, Transport
from collections.abc import Callable
from typing import Any, NoReturn

import httptools
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from temppass import wire
from temppass.crowd import Crowd

#: request line and headers together
HEAD_BYTES_MAX = 32_768
HEADERS_MAX = 100
#: a body as it comes, sizes and extensions of its chunks included: eight times what it may hold, a byte a chunk
BODY_WIRE_BYTES_MAX = 524_288
#: a handshake, or a head, that is not complete by then ends the connection, in seconds
HEAD_WAIT_S = 10
#: the same for a body, after its head
BODY_WAIT_S = 10
#: an answer of which the peer takes no more by then ends the connection, in seconds
ANSWER_WAIT_S = 30
#: how long what comes is thrown away after a last answer, so that it arrives before the connection is reset, in seconds
LINGER_S = 2
KEEP_ALIVE_S = 60
#: how much is parsed at once, and of so many requests that wait for their turn no more are parsed: so those that one
#: write can bring take little memory
PIECE_BYTES = 4096
PIPELINE_MAX = 16


class _Refused(Exception):
    """The parser turns it into its own error, and uvicorn that into a 400, which becomes what was refused."""


def _last_words(status: int, error: str, message: str, header: bytes = b"") -> bytes:
    """Write down an answer that ends the connection, in the shape of the paths without a vendor's shape."""
    body = wire.encode(wire.PlainError(error, message, status))
    return b"%scontent-type: application/json;charset=UTF-8\r\nconnection: close\r\n%scontent-length: %d\r\n\r\n%s" % (
        STATUS_LINE[status],
        header,
        len(body),
        body,
    )


_HEAD_TOO_LARGE = _last_words(
    431, "header_fields_too_large", f"Request line and headers have at most {HEAD_BYTES_MAX} bytes."
)
_TOO_MANY_HEADERS = _last_words(431, "header_fields_too_large", f"A request has at most {HEADERS_MAX} headers.")
_BODY_LATE = _last_words(408, "request_timeout", "The body did not arrive in time.")
_BODY_TOO_LARGE = _last_words(413, "content_too_large", "The body's chunks say more than the body.")
_FULL = _last_words(503, "temporarily_unavailable", "Every connection is taken; try again.", b"retry-after: 1\r\n")


class _Parser:
    """
    httptools' parser, to which `Upgrade` means nothing: RFC 9110 §7.8 lets a server ignore it.

    httptools itself drops the body of such a request, and would read it as the next one. Java's HttpClient sends them.
    """

    def __init__(self, protocol: "BoundedProtocol") -> None:
        self._protocol = protocol
        self._renew()

    def feed_data(self, data: bytes) -> None:
        while True:
            try:
                self._feed(data)
            except httptools.HttpParserUpgrade as upgrade:
                if not self.is_upgrade():
                    raise
                data = self._protocol.head_without_upgrade() + data[upgrade.args[0] :]
                self._renew()
            else:
                return

    def is_upgrade(self) -> bool:
        return bool(self.should_upgrade()) and self.get_method() != b"CONNECT"

    def _renew(self) -> None:
        parser = httptools.HttpRequestParser(self._protocol)
        parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn does
        self._feed = parser.feed_data
        # what uvicorn asks of a parser, several times a request: its own methods, not ours around them
        self.get_http_version, self.get_method = parser.get_http_version, parser.get_method
        self.should_keep_alive, self.should_upgrade = parser.should_keep_alive, parser.should_upgrade


class _Flow(FlowControl):
    """Reading that stays paused while there is something read that was not parsed."""

    held = False

    def resume_reading(self) -> None:
        if self.read_paused and not self.held:
            self.read_paused = False
            self._transport.resume_reading()


class _Lingering:
    """What an answer is written to whose request has not come whole: closing waits for the peer to have read it."""

    def __init__(self, transport: Transport, close: Callable[[], None]) -> None:
        self.write, self.is_closing, self.close = transport.write, transport.is_closing, close


class _PatientProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with a bound on every wait for the peer, and an end that the peer can hear."""

    #: the next message, or its head, has not come whole
    _message_open = _head_open = True
    #: what was read and not parsed, because so many requests wait
    _ahead = b""
    #: the last answer, to be said when everything before is answered; empty for none
    _refusal: bytes | None = None
    #: nothing that comes matters any more
    _deaf = False
    #: ends the wait for the rest of a message, which began at `_waits_since`
    _timer: TimerHandle | None = None
    #: ends the wait for the peer to take its answer
    _answer_timer: TimerHandle | None = None
    _waits_since = 0.0

    flow: _Flow
    server_state: Crowd

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_waiting()
        self._unset_keepalive_if_required()
        self.resume_writing()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._bound_answer()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._answer_timer is not None:
            self._answer_timer.cancel()
            self._answer_timer = None

    def timeout_keep_alive_handler(self) -> None:
        timer, end = self.timeout_keep_alive_task, super().timeout_keep_alive_handler

        def close() -> None:
            if self.timeout_keep_alive_task is timer:  # nothing has come meanwhile
                end()
                self._bound_answer()

        self.server_state.in_turn(self.loop, close)

    def waits_since(self) -> float | None:
        """Answer since when the peer owes something, by the loop's clock; None where it is owed an answer."""
        if self._answer_timer is None and self._owes():
            return None
        if self._timer is None and self.timeout_keep_alive_task is not None:
            return self.timeout_keep_alive_task.when() - KEEP_ALIVE_S
        return self._waits_since

    def drop(self) -> None:
        self.connections.discard(self)
        self.transport.abort()

    def _end_with(self, words: bytes) -> None:
        """Say these words in place of an answer to the message that is read now, after the answers to all before."""
        if self._deaf or self.transport.is_closing():
            return
        self._stop_waiting()
        self._ahead, self._deaf = b"", True
        owes = self._owes()
        if self._message_open and not self._head_open:  # an answer to it is under way, or in line
            if owes:
                self.pipeline.popleft()
            else:
                self.cycle.disconnected = True
                self.cycle.message_event.set()
                words = b"" if self.cycle.response_started else words
        self._refusal = words
        if not owes:
            self._say(words)

    def _owes(self) -> bool:
        """Tell whether a request that came whole is not answered."""
        incomplete = self._message_open and not self._head_open and not self.pipeline
        return self.cycle is not None and not self.cycle.response_complete and not incomplete

    def _say(self, words: bytes) -> None:
        if words:
            self.transport.write(words)
            self._linger()
        else:
            self.transport.close()
            self._bound_answer()

    def _linger(self) -> None:
        """Close when the peer has, or soon: closing while it sends would destroy the answer that it has not read."""
        self._deaf = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.flow.held = False
        self.flow.resume_reading()
        self._stop_waiting()
        self._wait(LINGER_S, self.drop)

    def _wait(self, wait_s: float, end: Callable[[], None]) -> None:
        self._waits_since = self.loop.time()
        self._timer = self.loop.call_later(wait_s, self._end_in_turn, end)

    def _end_in_turn(self, end: Callable[[], None]) -> None:
        timer = self._timer

        def end_now() -> None:
            if self._timer is timer:  # what was waited for has not come meanwhile
                end()

        self.server_state.in_turn(self.loop, end_now)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _bound_answer(self) -> None:
        if self._answer_timer is None and self in self.connections:
            self._waits_since = self.loop.time()
            self._answer_timer = self.loop.call_later(ANSWER_WAIT_S, self.drop)


class BoundedProtocol(_PatientProtocol):
    """
    uvicorn's protocol, with a bound on every wait for the peer and on all that can be made to grow, without upgrades.

    A request that comes in one piece, as nearly all do, sets no timer.
    """

    #: there was no room for this connection: its request is told so. None where nobody has asked yet
    crowded: bool | None = None
    #: of the message that is read now, without the piece in which its head, or then its body, began
    _unfinished_bytes = _piece_bytes = 0
    #: the request that is read now asks for an upgrade, so the parser will read its head once more, without that
    _upgrading = False
    #: of a request whose body has not come whole: whether its connection may stay if it does
    _keep_alive: bool | None = None

    parser: _Parser  # type: ignore[assignment]  # it has what uvicorn uses of one

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.parser = _Parser(self)

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        if self.crowded is None:
            self.crowded = not self.server_state.admit(self.loop.time())
        super().connection_made(transport)
        self.flow = _Flow(transport)
        if self.server_state.overflows():
            self.drop()
        else:
            self._wait(HEAD_WAIT_S, self._head_is_late)

    def data_received(self, data: bytes) -> None:
        if self._deaf:
            return
        if len(data) > PIECE_BYTES or self._ahead:
            self._ahead += data
            self._read_ahead()
        else:
            self._read(data)
        if self._message_open or self.cycle.response_complete:
            self._watch()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """A peer that has said all may still listen, except over TLS, and to what has no end: it has hung up."""
        if not self._owes() or self.scheme == "https" or self._is_endless():
            return None
        if self._refusal is None:
            self.cycle.keep_alive = False
        return True

    def shutdown(self) -> None:
        self._ahead, self._keep_alive = b"", False
        super().shutdown()
        if self._is_endless():  # or the server would wait for it in vain
            self._say(b"")

    def _is_endless(self) -> bool:
        """Tell whether what is answered now goes on until somebody ends it; the application says so in the scope."""
        return self._owes() and bool(self.cycle.scope.get("endless"))

    # --- the parser's events

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._message_open = self._head_open = True
        self._unfinished_bytes = -self._piece_bytes

    def on_headers_complete(self) -> None:
        # two pieces may hold what is not counted: the first, and this one
        if self._unfinished_bytes + 2 * PIECE_BYTES > HEAD_BYTES_MAX:
            head_bytes = len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)
            if head_bytes > HEAD_BYTES_MAX:
                self._refuse(_HEAD_TOO_LARGE)
        if len(self.headers) > HEADERS_MAX:
            self._refuse(_TOO_MANY_HEADERS)
        if self.crowded:
            self._refuse(_FULL)
        self._upgrading = self.parser.is_upgrade()
        if self._upgrading:
            return
        if self._timer is not None:
            self._stop_waiting()
        if self.url[:1] != b"/" or b"#" in self.url:  # what ASGI tells only a part of: the edge judges it
            self.scope["target"] = self.url  # type: ignore[typeddict-unknown-key]  # a key of our own
        super().on_headers_complete()
        self._head_open, self._unfinished_bytes = False, -self._piece_bytes
        self.headers = []  # what the parser reads behind a body is no header (RFC 9110 §6.5.1)

    def on_message_complete(self) -> None:
        if self._upgrading:
            return
        self._message_open = False
        if self._timer is not None:
            self._stop_waiting()
        if self._keep_alive is not None:
            self.cycle.keep_alive, self.cycle.transport, self._keep_alive = self._keep_alive, self.transport, None
        super().on_message_complete()

    def head_without_upgrade(self) -> bytes:
        """Write down the head that was read last."""
        request_line = b"%s %s HTTP/%s" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())
        headers = [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([request_line, *headers, b"\r\n"])

    def send_400_response(self, msg: str) -> None:
        self._end_with(_last_words(400, "invalid_request", msg) if self._refusal is None else self._refusal)

    # --- reading

    def _read(self, piece: bytes) -> None:
        self._piece_bytes = len(piece)
        super().data_received(piece)
        if self._message_open:
            self._unfinished_bytes += len(piece)
            if self._head_open and self._unfinished_bytes > HEAD_BYTES_MAX:
                self._end_with(_HEAD_TOO_LARGE)  # one endless line, of which the parser says nothing yet
            elif self._unfinished_bytes > BODY_WIRE_BYTES_MAX:
                self._end_with(_BODY_TOO_LARGE)

    def _read_ahead(self) -> None:
        while self._ahead and len(self.pipeline) < PIPELINE_MAX:
            piece, self._ahead = self._ahead[:PIECE_BYTES], self._ahead[PIECE_BYTES:]
            self._read(piece)
        self.flow.held = bool(self._ahead)
        if self.flow.held:
            self.flow.pause_reading()

    def _watch(self) -> None:
        """Bound the wait for the rest of a message, where it is the peer's turn."""
        if self._ahead or self._deaf or self.transport.is_closing():
            return
        if not self._message_open:  # line ends between two requests
            self._message_open = self._head_open = True
        if self._head_open:
            if self._timer is None:
                self._wait(HEAD_WAIT_S, self._head_is_late)
            return
        if self._keep_alive is None:
            # answered before its body is here, a request is the last: nobody waits for bytes that drip
            self._keep_alive, self.cycle.keep_alive = self.cycle.keep_alive, False
            self.cycle.transport = _Lingering(self.transport, self._linger)  # type: ignore[assignment]
        if self._timer is None and not self.pipeline:
            self._wait(BODY_WAIT_S, self._body_is_late)

    # --- answering

    def on_response_complete(self) -> None:
        last = not self.pipeline
        super().on_response_complete()
        if self.transport.is_closing():
            self._bound_answer()
        elif self._refusal is not None:
            if last:
                self._say(self._refusal)
        elif self._ahead or self._message_open:
            self._read_ahead()
            self._watch()

    def _refuse(self, words: bytes) -> NoReturn:
        """End what is parsed, and with it the connection."""
        self._refusal = words
        raise _Refused

    def _head_is_late(self) -> None:
        self._end_with(b"")

    def _body_is_late(self) -> None:
        self._end_with(_BODY_LATE)
