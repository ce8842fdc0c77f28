"""
Who serves a file. The hold is a lock on `<file>.lock` beside it, which the system takes back when the process ends,
however that ends; what stands in the lock is for those who come second.
"""

import fcntl
import os
import re
from pathlib import Path

from temppass import private
from temppass.storage.sqlite_file import real
from temppass.store import Holder, StoreHeld, StoreUnavailable

_WHO = re.compile(rb"(\d+) (\S*)\n")
_WHO_BYTES_MAX = 512


class Hold:
    """The one server of a file. Commands that change the catalogue beside it hold nothing."""

    def __init__(self, path: Path) -> None:
        """Take it, or raise StoreHeld with the process that has it. Never waits. Raises StoreUnavailable."""
        lock = _lock(path)
        try:
            self._handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, private.FILE)
            os.fchmod(self._handle, private.FILE)
        except OSError as error:
            raise StoreUnavailable(f"cannot lock {lock}: {error.strerror}") from None
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            who = _who(self._handle)
            os.close(self._handle)
            raise StoreHeld(f"{path} is served by {_named(who)} already") from None
        self.tell("")

    def tell(self, url: str) -> None:
        """Leave word of where this process listens: one line, written at once; nothing after it is read."""
        os.pwrite(self._handle, f"{os.getpid()} {url}\n".encode(), 0)

    def let_go(self) -> None:
        os.close(self._handle)


def holder_of(path: Path) -> Holder | None:
    """Answer who serves a file, if anybody does, and leave no trace. Raises StoreUnavailable."""
    lock = _lock(path)
    try:
        handle = os.open(lock, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreUnavailable(f"cannot read {lock}: {error.strerror}") from None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        who = _who(handle)
        return Holder(int(who[1]) if who is not None else None)
    finally:
        os.close(handle)
    return None


def _lock(path: Path) -> Path:
    file = real(path)
    return file.with_name(f"{file.name}.lock")


def _who(handle: int) -> re.Match[bytes] | None:
    return _WHO.match(os.pread(handle, _WHO_BYTES_MAX, 0))


def _named(who: re.Match[bytes] | None) -> str:
    if who is None:
        return "another process"
    pid, url = who[1].decode(), who[2].decode("ascii", "backslashreplace")
    return f"process {pid} on {url}" if url else f"process {pid}"
