"""
temppass: an open, self-hostable temporary pass service, wire-compatible with Adobe Pass Temp Pass.

This is the public face for programs that talk to such a service; it imports nothing of the server.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from temppass.client.answers import (
        Act,
        Approval,
        CatalogueChange,
        CatalogueShown,
        Due,
        Example,
        Explained,
        Explanation,
        Fired,
        Help,
        LedgerState,
        NewOperator,
        Only,
        Operator,
        Planned,
        Point,
        Receipt,
        Schedule,
    )
    from temppass.client.applications import Application, NewStatement, Registration, Statement
    from temppass.client.client import AsyncClient, Client
    from temppass.client.control import Target, Wanted
    from temppass.client.desk import AsyncControl, Control
    from temppass.client.errors import (
        AccessDenied,
        CredentialsRefused,
        InvalidTarget,
        NotPermitted,
        RequestRefused,
        ServerFault,
        TempPassError,
        Throttled,
        Unreachable,
        Unreadable,
        VaultError,
    )
    from temppass.client.flow import ALL_DEVICES, ALL_KEYS, Deny, Everybody, Permit, ProfileState, ResetDone, Viewer
    from temppass.client.keys import KeysRotated, MintAnew, SigningKey
    from temppass.client.place import ENVIRONMENTS, Place, place_at
    from temppass.client.vault import FileVault, Held, KeyringVault, MemoryVault, Vault
    from temppass.core.tokens import MediaToken, MediaTokenStatus, MediaTokenVerifier

__all__ = [
    "ALL_DEVICES",
    "ALL_KEYS",
    "ENVIRONMENTS",
    "AccessDenied",
    "Act",
    "Application",
    "Approval",
    "AsyncClient",
    "AsyncControl",
    "CatalogueChange",
    "CatalogueShown",
    "Client",
    "Control",
    "CredentialsRefused",
    "Deny",
    "Due",
    "Everybody",
    "Example",
    "Explained",
    "Explanation",
    "FileVault",
    "Fired",
    "Held",
    "Help",
    "InvalidTarget",
    "KeyringVault",
    "KeysRotated",
    "LedgerState",
    "MediaToken",
    "MediaTokenStatus",
    "MediaTokenVerifier",
    "MemoryVault",
    "MintAnew",
    "NewOperator",
    "NewStatement",
    "NotPermitted",
    "Only",
    "Operator",
    "Permit",
    "Place",
    "Planned",
    "Point",
    "ProfileState",
    "Receipt",
    "Registration",
    "RequestRefused",
    "ResetDone",
    "Schedule",
    "ServerFault",
    "SigningKey",
    "Statement",
    "Target",
    "TempPassError",
    "Throttled",
    "Unreachable",
    "Unreadable",
    "Vault",
    "VaultError",
    "Viewer",
    "Wanted",
    "place_at",
]

_MODULES = (
    "client.errors",
    "client.place",
    "client.vault",
    "client.flow",
    "client.client",
    "client.answers",
    "client.control",
    "client.applications",
    "client.keys",
    "client.desk",
    "core.tokens",
)


if not TYPE_CHECKING:  # or a type checker would take any name for a good one

    def __getattr__(name: str) -> object:
        """Import a public name when it is first used: the command line's `--help` needs none of them."""
        if name in __all__:
            for module in _MODULES:
                found = getattr(import_module(f"temppass.{module}"), name, None)
                if found is not None:
                    return found
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
