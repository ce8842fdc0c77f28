"""
Processes that do the same work: how they begin together, end together, and are replaced.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable

import structlog

#: before a worker that ended is replaced
RESTART_S = 0.5

_log = structlog.get_logger("temppass.workers")

_READY, _FAILED = b".", b"!"
_ENDS = (signal.SIGINT, signal.SIGTERM)


class Workers:
    """
    Processes that do the same work on one listening socket, until SIGINT or SIGTERM. One that ends by itself is
    replaced. Make it before any thread or event loop runs.

    `work` is given a function to call once it takes requests; when all have, `ready` is called here.
    """

    def __init__(self, work: Callable[[Callable[[], None]], None], ready: Callable[[], None]) -> None:
        self._work = work
        self._ready = ready
        self._children: set[int] = set()
        self._stopping = False
        self._read_end, self._write_end = os.pipe()
        #: nothing is ever written here: it ends with this process, however that ends
        self._life = os.pipe()

    def run(self, count: int) -> None:
        """Answer when all processes have ended. Raises SystemExit(1) where one could not begin."""
        for number in _ENDS:
            signal.signal(number, self._stop)
        for _ in range(count):
            self._start()
        reports = [os.read(self._read_end, 1) for _ in tuple(self._children)]
        failed = _FAILED in reports and not self._stopping
        if failed:
            self._stop(signal.SIGTERM, None)
        if not self._stopping:
            self._ready()
        while self._children:
            child, _status = os.wait()
            self._children.discard(child)
            if not self._stopping:
                _log.error("worker ended, starting another", pid=child)
                time.sleep(RESTART_S)
                self._start()
        if failed:
            raise SystemExit(1)

    def _start(self) -> None:
        """Fork, unless the end was asked for. No signal comes before the parent knows its child, and it what to do."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
        try:
            if self._stopping:
                return
            child = os.fork()
            if child:
                self._children.add(child)
                return
            for number in _ENDS:
                signal.signal(number, signal.SIG_DFL)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDS)
        code = 1
        try:
            os.close(self._life[1])
            threading.Thread(target=self._outlive, daemon=True).start()
            self._work(self._report)
            code = 0
        except BaseException as error:  # noqa: BLE001 - a child ends here, whatever happens, and never returns
            _log.error("worker failed", reason=str(error) or type(error).__name__)
            os.write(self._write_end, _FAILED)
        finally:
            os._exit(code)

    def _outlive(self) -> None:
        """Stop this worker when its parent has ended, or it would hold the port against the next server."""
        os.read(self._life[0], 1)
        os.kill(os.getpid(), signal.SIGTERM)

    def _report(self) -> None:
        os.write(self._write_end, _READY)

    def _stop(self, number: int, _frame: object) -> None:
        self._stopping = True
        os.write(self._write_end, _FAILED * len(self._children))  # nobody need wait for their reports
        for child in self._children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, number)
