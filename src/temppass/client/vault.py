"""
Keeps credentials and tokens between runs, so that a client registers once and asks for a token every few hours.

Entries are named by place and fingerprint of the software statement, never by the statement itself. A vault can be
held exclusively by name: across threads, and for a file also across processes.
"""

import fcntl
import hashlib
import os
import threading
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from temppass import private
from temppass.client.errors import VaultError


class Held(Struct, frozen=True):
    """What a vault keeps. `expires_at` is in Unix milliseconds; 0 where there is no token."""

    client_id: str
    client_secret: str
    token: str = ""
    expires_at: int = 0


class Vault(Protocol):
    """
    What a client keeps credentials and tokens in; `name` is an entry's, 32 hex digits. Safe to share between threads
    and, where what is kept outlives the process, between processes. Each method may raise VaultError.
    """

    def recall(self, name: str) -> Held | None:
        """Answer an entry, None where there is none or it cannot be read."""
        ...

    def remember(self, name: str, held: Held | None) -> None:
        """Keep an entry, or forget it where `held` is None."""
        ...

    def hold(self, name: str) -> Callable[[], None] | None:
        """Hold `name` and answer what lets it go, None where somebody else holds it. Never waits."""
        ...


def vault_name(place: str, software_statement: str) -> str:
    """Name an entry; who reads the name learns the place and nothing of the statement."""
    return hashlib.sha256(f"{place}\n{software_statement}".encode()).hexdigest()[:32]


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner reads, whole or not at all, in a folder of mode 0700. Raises OSError."""
    private.make_folder(path.parent)
    private.write(path, content)


class MemoryVault:
    """Forgets everything with the process."""

    def __init__(self) -> None:
        self._held: dict[str, Held] = {}
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    def recall(self, name: str) -> Held | None:
        """As Vault.recall."""
        return self._held.get(name)

    def remember(self, name: str, held: Held | None) -> None:
        """As Vault.remember."""
        if held is None:
            self._held.pop(name, None)
        else:
            self._held[name] = held

    def hold(self, name: str) -> Callable[[], None] | None:
        """As Vault.hold."""
        with self._guard:
            lock = self._locks.setdefault(name, threading.Lock())
        return lock.release if lock.acquire(blocking=False) else None


class LookedThrough(MemoryVault):
    """What another vault keeps, for those who only look: what comes meanwhile is forgotten with the process."""

    def __init__(self, vault: Vault) -> None:
        super().__init__()
        self._vault = vault
        self._came: dict[str, Held | None] = {}

    def recall(self, name: str) -> Held | None:
        return self._came[name] if name in self._came else self._vault.recall(name)

    def remember(self, name: str, held: Held | None) -> None:
        self._came[name] = held


class FileVault:
    """One file an entry, readable by its owner only, in a folder that is made when it is needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def recall(self, name: str) -> Held | None:
        """As Vault.recall."""
        try:
            return msgspec.json.decode((self.folder / f"{name}.json").read_bytes(), type=Held)
        except FileNotFoundError:
            return None
        except (OSError, ValueError):  # msgspec.DecodeError and UnicodeDecodeError are ValueErrors
            return None  # half of it is as good as none: the client registers again

    def remember(self, name: str, held: Held | None) -> None:
        """As Vault.remember."""
        path = self.folder / f"{name}.json"
        try:
            if held is None:
                path.unlink(missing_ok=True)
                return
            write_private(path, msgspec.json.encode(held))
        except OSError as error:
            hint = "set XDG_STATE_HOME to a folder of yours"
            raise VaultError(f"cannot write {path}: {error.strerror}", hint=hint) from None

    def hold(self, name: str) -> Callable[[], None] | None:
        """As Vault.hold."""
        try:
            private.make_folder(self.folder)
            # a handle of its own for each holder, so that threads exclude each other as processes do
            handle = os.open(self.folder / f"{name}.lock", os.O_RDWR | os.O_CREAT, private.FILE)
            os.fchmod(handle, private.FILE)
        except OSError as error:
            raise VaultError(f"cannot lock {self.folder}: {error.strerror}") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        return lambda: os.close(handle)


class Keyring:
    """The keyring of the operating system, by the library `keyring`. Everything raises VaultError where it refuses."""

    SERVICE = "temppass"

    def __init__(self) -> None:
        try:
            self._library: Any = import_module("keyring")  # installed by those who want it
        except ImportError:
            hint = "pip install '.[keyring]' in the folder of the source"
            raise VaultError("the keyring library is not installed", hint=hint) from None

    def keep(self, entry: str, secret: str) -> None:
        self._ask("set_password", entry, secret)

    def recall(self, entry: str) -> str | None:
        found = self._ask("get_password", entry)
        return found if isinstance(found, str) else None

    def forget(self, entry: str) -> None:
        """Forget an entry; one that is not there is forgotten already."""
        if self.recall(entry) is not None:
            self._ask("delete_password", entry)

    def _ask(self, method: str, *arguments: str) -> object:
        try:
            return getattr(self._library, method)(self.SERVICE, *arguments)
        except Exception as error:  # noqa: BLE001 - each operating system has errors of its own
            hint = "keep secrets in files instead: leave --keyring out"
            raise VaultError(f"the keyring refuses: {error or type(error).__name__}", hint=hint) from None


class KeyringVault:
    """Entries in the keyring of the operating system; only the locks are files, and they are empty."""

    def __init__(self, folder: Path) -> None:
        self._keyring = Keyring()
        self._locks = FileVault(folder)

    def hold(self, name: str) -> Callable[[], None] | None:
        """As Vault.hold."""
        return self._locks.hold(name)

    def recall(self, name: str) -> Held | None:
        """As Vault.recall."""
        kept = self._keyring.recall(name)
        try:
            return msgspec.json.decode(kept, type=Held) if kept is not None else None
        except ValueError:
            return None

    def remember(self, name: str, held: Held | None) -> None:
        """As Vault.remember."""
        if held is None:
            self._keyring.forget(name)
        else:
            self._keyring.keep(name, msgspec.json.encode(held).decode())
