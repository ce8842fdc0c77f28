"""
Our program, run for latency.py: each answer says in `Server-Timing` for how many milliseconds the server had it in
hand (`app`), from reading the request's last bytes to handing the answer's head to the kernel, and for how many of them
its threads had a core (`cpu`). The rest of `app` it waited, for the store or because others had the core.

What is not in it: the time before the server reads, while the bytes lie in the kernel, and all that the client does.
"""

import time
from asyncio import Transport
from typing import Any

from temppass import cli, server


class _Stamping:
    """A transport that writes the header into each head."""

    def __init__(self, transport: Transport, protocol: "_Timed") -> None:
        self._transport = transport
        self._protocol = protocol

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if data.startswith(b"HTTP/1.1 "):
            app_ms = (time.perf_counter() - self._protocol.read_at) * 1000
            cpu_ms = (time.process_time() - self._protocol.cpu_at) * 1000
            line, _, rest = data.partition(b"\r\n")
            data = b"%s\r\nserver-timing: app;dur=%.3f, cpu;dur=%.3f\r\n%s" % (line, app_ms, cpu_ms, rest)
        self._transport.write(data)


class _Timed(server.BoundedProtocol):
    read_at = cpu_at = 0.0

    def connection_made(self, transport: Transport) -> None:
        super().connection_made(_Stamping(transport, self))

    def data_received(self, data: bytes) -> None:
        self.read_at, self.cpu_at = time.perf_counter(), time.process_time()
        super().data_received(data)


if __name__ == "__main__":
    server.BoundedProtocol = _Timed
    cli.main()
