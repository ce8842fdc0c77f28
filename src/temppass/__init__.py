"""
temppass: an open, self-hostable temporary pass service, wire-compatible with Adobe Pass Temp Pass.

This is the public face for programs that talk to such a service; it imports nothing of the server.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from temppass.core.tokens import MediaToken, MediaTokenStatus, MediaTokenVerifier

__all__ = ["MediaToken", "MediaTokenStatus", "MediaTokenVerifier"]


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: the command line's `--help` needs none of them."""
    if name in __all__:
        from temppass.core import tokens  # noqa: PLC0415

        return getattr(tokens, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
