"""
A server that does nothing: it answers every piece of data with the same permit. What latency.py measures of it is the
generator's, the kernel's and the machine's, not ours.
"""

import asyncio
import sys

import uvloop

#: as long as our permits are
_BODY = b'{"decisions":[{"authorized":true,"token":{"serializedToken":"%s"}}]}' % (b"x" * 900)
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)


class _Echo(asyncio.Protocol):
    def connection_made(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def data_received(self, _data: bytes) -> None:
        self._transport.write(_ANSWER)


async def main() -> None:
    listening = await asyncio.get_running_loop().create_server(_Echo, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    print(f"listening on http://127.0.0.1:{port}", file=sys.stderr, flush=True)
    await listening.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
