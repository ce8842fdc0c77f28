"""
The faces of an application's conversations (flow.py): one for threads, one for an event loop.
"""

import contextlib
import ssl
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import platformdirs

from temppass.client import flow
from temppass.client.errors import InvalidTarget
from temppass.client.exchange import Effect, Hold, Recall, Release, Remember, Tell
from temppass.client.flow import Deny, Everybody, Party, Permit, ProfileState, ResetDone, Viewer
from temppass.client.place import Place
from temppass.client.shell import ANSWER_WAIT_S, AsyncShell, Shell
from temppass.client.vault import FileVault, Vault, vault_name

if TYPE_CHECKING:
    from temppass.core.tokens import MediaTokenVerifier


def default_vault() -> FileVault:
    """Answer the vault of this user, in the folder for state (XDG_STATE_HOME)."""
    return FileVault(Path(platformdirs.user_state_dir("temppass")))


class _Common:
    """For whom both speak, and what they keep."""

    def __init__(self, place: Place, software_statement: str, vault: Vault | None) -> None:
        statement = software_statement.strip()
        if not statement:
            raise InvalidTarget("the software statement is empty")
        self._party = Party(place, statement)
        self._vault = vault if vault is not None else default_vault()
        self._entry = vault_name(place.name, statement)

    def _at_once(self, effect: Effect, ending: contextlib.ExitStack) -> object:
        """Do what takes no waiting; `ending` lets the vault go when the flow ends, however it ends."""
        match effect:
            case Hold():
                let_go = self._vault.hold(self._entry)
                if let_go is not None:
                    ending.callback(let_go)
                return let_go is not None
            case Release():
                ending.close()
                return None
            case Recall():
                return self._vault.recall(self._entry)
            case Remember(held):
                self._vault.remember(self._entry, held)
                return None
            case Tell():
                return time.time_ns() // 1_000_000
            case _:
                raise AssertionError(effect)


class Client(_Common, Shell):
    """
    Speak with the service at `place` for the application of a software statement; safe to share between threads.

    `place` is one of ENVIRONMENTS, or `place_at(url)`. `vault` keeps credentials and token between runs: files of this
    user's unless given. `transport` stands in for the network (httpx2), in tests for instance; `verify` is as httpx2
    has it: a context of TLS, a file of authorities, or False for none. `timeout_s` bounds each request in seconds, from
    connecting to the last byte of its answer; one call makes several where it has to register or to renew a token,
    and waits between them where it is throttled. Close a client, or use it as a context manager.

    A channel is named by its `requestor` id, a pass by its `mvpd` id, as on the wire. Every call raises a TempPassError
    where there is no answer (client/errors.py draws the tree): InvalidTarget before anything is sent;
    CredentialsRefused, AccessDenied and NotPermitted where the application is not let in; RequestRefused, Throttled,
    ServerFault, Unreadable and Unreachable for the rest; VaultError where credentials cannot be kept.

    Source: contract §3, §5, §6, §11; RFC 6749 §4.4, RFC 7591 §3.
    """

    def __init__(
        self,
        place: Place,
        software_statement: str,
        *,
        vault: Vault | None = None,
        transport: httpx2.BaseTransport | None = None,
        verify: ssl.SSLContext | str | bool = True,
        timeout_s: float = ANSWER_WAIT_S,
    ) -> None:
        _Common.__init__(self, place, software_statement, vault)
        Shell.__init__(self, transport=transport, verify=verify, timeout_s=timeout_s)

    def register(self) -> str:
        """
        Register anew, keep the credentials in place of the old ones, answer the client id. Other calls register by
        themselves, once.

        Source: RFC 7591 §3.
        """
        return self.play(flow.registered(self._party))

    def media_token_verifier(self) -> "MediaTokenVerifier":
        """
        Fetch the service's public keys, and answer what checks media tokens with them, offline. Keep it, and fetch it
        anew where a token answers INVALID_SIGNATURE. The vendor publishes no keys: RequestRefused.

        Source: RFC 7517 §5.
        """
        return _verifier(self.play(flow.key_set(self._party)))

    def access_token(self) -> str:
        """
        Answer an access token that is good for a minute at least: the one that is kept, or a new one. It is a secret.

        Source: RFC 6749 §4.4.
        """
        return self.play(flow.access_token(self._party))

    def reset_device(self, requestor: str, mvpd: str, device_id: str | bytes | Everybody) -> ResetDone:
        """
        Make one device, or ALL_DEVICES, new to a pass; idempotent.

        `device_id` is the decoded id, text or bytes, at most 1,024 bytes. Raises InvalidTarget, with nothing sent, for
        an empty one and for "all", which the wire reads as everybody. A promotional viewer is new only after
        `reset_key` too.

        Source: contract §5.1.
        """
        return self.play(flow.reset_device(self._party, requestor, mvpd, device_id))

    def reset_key(self, requestor: str, mvpd: str, user_key: str | Everybody) -> ResetDone:
        """
        Make one user key, or ALL_KEYS, new to a promotional pass; idempotent.

        `user_key` is a SHA-2 digest in hex, or the text that it is the SHA-256 of, exactly as the application hashes
        it: what is sent is always a digest. Raises InvalidTarget, with nothing sent, for an empty one.

        Source: contract §5.2.
        """
        return self.play(flow.reset_key(self._party, requestor, mvpd, user_key))

    def authorize(self, requestor: str, mvpd: str, viewer: Viewer, resources: Sequence[str]) -> list[Permit | Deny]:
        """
        Decide titles; the first permit begins the trial.

        Answers one Permit, with a media token, or Deny for each of `resources`, in their order: a denial is an answer
        and raises nothing. Raises InvalidTarget for a viewer or a list that is empty.

        Source: contract §6.2.
        """
        return self.play(flow.authorize(self._party, requestor, mvpd, viewer, resources))

    def preauthorize(self, requestor: str, mvpd: str, viewer: Viewer, resources: Sequence[str]) -> list[Permit | Deny]:
        """
        Judge titles for a catalogue page; begin and consume nothing. Arguments and answers are those of `authorize`,
        without media tokens; each title is judged alone.

        Source: contract §6.3.
        """
        return self.play(flow.authorize(self._party, requestor, mvpd, viewer, resources, only_ask=True))

    def profile(self, requestor: str, mvpd: str, viewer: Viewer) -> ProfileState | Deny:
        """
        Answer the state of a trial, or a Deny with the limit that it has reached; begin nothing. Moments are in Unix
        milliseconds.

        Source: contract §6.4.
        """
        return self.play(flow.profile(self._party, requestor, mvpd, viewer))

    def configuration(self, requestor: str) -> dict[str, Any]:
        """
        Answer the channel's configuration as the wire has it, JSON decoded: its passes are under `requestor.mvpds`.

        Source: contract §6.7.
        """
        return self.play(flow.configuration(self._party, requestor))


class AsyncClient(_Common, AsyncShell):
    """The same as Client, for one event loop; safe to share between its tasks."""

    def __init__(
        self,
        place: Place,
        software_statement: str,
        *,
        vault: Vault | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
        verify: ssl.SSLContext | str | bool = True,
        timeout_s: float = ANSWER_WAIT_S,
    ) -> None:
        _Common.__init__(self, place, software_statement, vault)
        AsyncShell.__init__(self, transport=transport, verify=verify, timeout_s=timeout_s)

    async def register(self) -> str:
        """As Client.register."""
        return await self.play(flow.registered(self._party))

    async def media_token_verifier(self) -> "MediaTokenVerifier":
        """As Client.media_token_verifier."""
        return _verifier(await self.play(flow.key_set(self._party)))

    async def access_token(self) -> str:
        """As Client.access_token."""
        return await self.play(flow.access_token(self._party))

    async def reset_device(self, requestor: str, mvpd: str, device_id: str | bytes | Everybody) -> ResetDone:
        """As Client.reset_device."""
        return await self.play(flow.reset_device(self._party, requestor, mvpd, device_id))

    async def reset_key(self, requestor: str, mvpd: str, user_key: str | Everybody) -> ResetDone:
        """As Client.reset_key."""
        return await self.play(flow.reset_key(self._party, requestor, mvpd, user_key))

    async def authorize(
        self, requestor: str, mvpd: str, viewer: Viewer, resources: Sequence[str]
    ) -> list[Permit | Deny]:
        """As Client.authorize."""
        return await self.play(flow.authorize(self._party, requestor, mvpd, viewer, resources))

    async def preauthorize(
        self, requestor: str, mvpd: str, viewer: Viewer, resources: Sequence[str]
    ) -> list[Permit | Deny]:
        """As Client.preauthorize."""
        return await self.play(flow.authorize(self._party, requestor, mvpd, viewer, resources, only_ask=True))

    async def profile(self, requestor: str, mvpd: str, viewer: Viewer) -> ProfileState | Deny:
        """As Client.profile."""
        return await self.play(flow.profile(self._party, requestor, mvpd, viewer))

    async def configuration(self, requestor: str) -> dict[str, Any]:
        """As Client.configuration."""
        return await self.play(flow.configuration(self._party, requestor))


def _verifier(keys: dict[str, Any]) -> "MediaTokenVerifier":
    from temppass.core.tokens import MediaTokenVerifier  # noqa: PLC0415 - cryptography takes long to import

    return MediaTokenVerifier(keys)
