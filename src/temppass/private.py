"""
What only its owner may read: files of mode 0600 and folders of mode 0700, whatever the umask says.

A file gets its name once it is whole, so that of two processes neither finds half of what the other writes.
"""

import errno
import os
import secrets
import stat
from pathlib import Path

FILE, FOLDER = 0o600, 0o700
#: what nobody but the owner may have
_OTHERS = 0o077


class Exposed(Exception):
    """A file cannot be trusted to be known to its owner alone; the message names it and says what to do."""


def make_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing; one that is there stays as it is. Raises OSError."""
    if path.is_dir():
        return
    make_folder(path.parent)
    path.mkdir(FOLDER, exist_ok=True)
    path.chmod(FOLDER)  # the umask may have taken the owner's rights, too


def write(path: Path, content: bytes, *, like: Path | None = None) -> None:
    """Write a file, in the place of one of that name; its owner is that of `like`, else ours. Raises OSError."""
    _draft(path, content, like).replace(path)


def create(path: Path, content: bytes, *, like: Path | None = None) -> None:
    """
    Write a new file; its owner is that of `like`, else ours. Raises FileExistsError where the name is taken, also by a
    link to nowhere; OSError.
    """
    draft = _draft(path, content, like)
    try:
        os.link(draft, path)
    finally:
        draft.unlink()


def _draft(path: Path, content: bytes, like: Path | None) -> Path:
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, FILE)
            if like is not None and (owner := like.stat()).st_uid != os.geteuid():
                os.fchown(handle, owner.st_uid, owner.st_gid)  # root's alone would be closed to the service
            file.write(content)
            file.flush()
            os.fsync(handle)  # or its name might outlive a loss of power, and it would be found empty
    except OSError:
        draft.unlink()
        raise
    return draft


def read(path: Path) -> bytes:
    """Answer a file that is no link and that only its owner can use. Raises Exposed, OSError."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)  # nor is a pipe waited for
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise Exposed(f"{path} is a symbolic link; put the file itself in its place") from None
    with os.fdopen(handle, "rb") as file:
        mode = stat.S_IMODE(os.fstat(handle).st_mode)
        if mode & _OTHERS:
            raise Exposed(f"others can use {path} (mode {mode:o}); run `chmod 600 {path}`")
        return file.read()


def settle(folder: Path) -> None:
    """Wait until the names in a folder are on the disk. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def narrow(path: Path) -> None:
    """Take from others what they may do with a file, if it is there. Raises OSError where it is not ours."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return
    if mode & _OTHERS:
        path.chmod(FILE)
