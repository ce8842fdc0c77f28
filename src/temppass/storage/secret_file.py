"""
The secret that an embedded store keeps beside itself, and how another takes its place: `<store>.secret`, and while it
changes `.secret.next`; `.secret.previous` is the one of before. Whatever ends the change midway, the files that are
there open the store, and the change can be made again.
"""

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from pathlib import Path

from temppass import private
from temppass.core.secret import SECRET_BYTES_MIN

_STRAY = re.compile(r"\.(next|previous)\.[0-9a-f]{16}")


class SecretUnusable(Exception):
    """A file cannot be read or written; the message names it and says what to do."""


class SecretFile:
    """
    The files beside the store at `path`. `place` is the same wherever they are the same ones, whatever leads there.
    Everything here raises SecretUnusable.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + ".secret")
        self._next = self.path.with_name(self.path.name + ".next")
        self._previous = self.path.with_name(self.path.name + ".previous")

    @property
    def place(self) -> str:
        with _reading(self.path):
            folder = self.path.parent.stat()
        return f"{folder.st_dev}:{folder.st_ino}/{self.path.name}"

    def values(self) -> list[bytes]:
        """Answer the present secret, the next one and the one of before, as far as there are any."""
        # in this order: a secret only ever moves from one of these to one that is read later
        coming, present, previous = (_read(file) for file in (self._next, self.path, self._previous))
        return [value for value in (present, coming, previous) if value is not None]

    def create(self, value: bytes) -> None:
        """Keep the secret of a store that is about to be made; of two processes both find the same one."""
        with _writing(self.path), contextlib.suppress(FileExistsError):
            private.create(self.path, value)
            private.settle(self.path.parent)

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Let nobody else change the secret meanwhile."""
        with _reading(self.path):
            handle = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SecretUnusable(f"another process is changing {self.path}; wait until it has ended") from None
            with _writing(self.path):
                if self.path.stat().st_ino != os.fstat(handle).st_ino:
                    raise SecretUnusable(f"another process has just changed {self.path}; look, and begin again")
                self._clear_away()
            yield
        finally:
            os.close(handle)

    def prepare(self, value: bytes) -> list[bytes]:
        """
        Write the next secret, unless one is there that a change which was broken off has left; answer all, that first.
        It is on the disk before anything may be sealed under it.
        """
        with _writing(self._next):
            with contextlib.suppress(FileExistsError):
                private.create(self._next, value, like=self.path)
            private.settle(self._next.parent)
        return self.expected(b"")

    def expected(self, value: bytes) -> list[bytes]:
        """Answer what `prepare` would, and write nothing."""
        if not self.path.exists():
            raise SecretUnusable(f"there is no secret {self.path} to be changed; restore it, or set TEMPPASS_SECRET")
        coming = _read(self._next)
        others = [each for each in self.values() if each != coming]
        return [coming if coming is not None else value, *others]

    def finish(self) -> None:
        """Put the next secret into the place of the present one, now that everything is sealed under it."""
        with _reading(self.path):
            before = private.read(self.path)
        with _writing(self._previous):
            private.write(self._previous, before, like=self.path)
            private.settle(self.path.parent)
        with _writing(self.path):
            self._next.replace(self.path)
            private.settle(self.path.parent)

    def _clear_away(self) -> None:
        """Remove what was half written when a change was broken off."""
        for file in self.path.parent.iterdir():
            if file.name.startswith(self.path.name) and _STRAY.fullmatch(file.name[len(self.path.name) :]):
                file.unlink()


def _read(file: Path) -> bytes | None:
    with _reading(file):
        try:
            value = private.read(file).strip()
        except FileNotFoundError:
            return None
    if len(value) < SECRET_BYTES_MIN:
        need = f"the secret needs at least {SECRET_BYTES_MIN} bytes, not {len(value)}"
        raise SecretUnusable(f"cannot use {file}: {need}; restore it, or set TEMPPASS_SECRET")
    return value


@contextlib.contextmanager
def _reading(file: Path) -> Iterator[None]:
    try:
        yield
    except private.Exposed as error:
        raise SecretUnusable(str(error)) from None
    except OSError as error:
        raise SecretUnusable(f"cannot use {file}: {error.strerror}; restore it, or set TEMPPASS_SECRET") from None


@contextlib.contextmanager
def _writing(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SecretUnusable(f"cannot write {file}: {error.strerror}; name a folder that can be written") from None
