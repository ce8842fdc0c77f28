"""
The same question and the same act elsewhere: as curl, as the command line and as Python, to copy. A viewer is named by
digest, and where a token belongs stands the variable that holds it.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from temppass.core.model import Subject
from temppass.core.viewer import WORDS


class Copied(NamedTuple):
    """Lines to copy, one for each of `subjects`; `language` is what they are for."""

    language: str
    what: str
    text: str


class _Of(NamedTuple):
    """Where, and whom: the address of the service, its environment, an integration, a subject."""

    base: str
    environment: str
    channel_id: str
    pass_id: str
    subject: Subject

    @property
    def digest(self) -> str:
        return self.subject.digest.hex()

    def curl(self, path: str, **more: str) -> str:
        named = {"subject": f"{WORDS[self.subject.kind]}:{self.digest}"} if path == "explain" else {}
        body: dict[str, Any] = {
            "channel": self.channel_id,
            "pass": self.pass_id,
            "subject": self.digest,
            **named,
            **more,
        }
        url = f"{self.base}/control/v1/environments/{self.environment}/{path}"
        return (
            f'curl -sS -X POST {shlex.quote(url)} -H "Authorization: Bearer $TOKEN" '
            f"-H 'Content-Type: application/json' --data-raw {shlex.quote(msgspec.json.encode(body).decode())}"
        )

    def command(self, name: str, more: str = "") -> str:
        named = ("--requestor", self.channel_id, "--mvpd", self.pass_id, "--subject", self.digest)
        return f"temppass {name} --profile desk {shlex.join(named)}{more}"

    def python(self, call: str) -> str:
        return (
            "import os\n\nfrom temppass import Control, Target\n\n"
            f'with Control({self.base!r}, os.environ["TOKEN"], {self.environment!r}) as desk:\n'
            f"    viewer = Target(subject={self.digest!r})\n"
            f"    print({call})\n"
        )


def copies(
    base: str, environment: str, channel_id: str, pass_id: str, subjects: Sequence[Subject], *, resets: bool
) -> list[Copied]:
    """Answer what explains and, with `resets`, resets each of `subjects` under one pass of one channel."""
    each = [_Of(base, environment, channel_id, pass_id, subject) for subject in subjects]
    where = f"{channel_id!r}, {pass_id!r}"
    explain = f"desk.explain(viewer, requestor={channel_id!r}, mvpd={pass_id!r})"
    reset = f'desk.reset({where}, viewer, reason="why")'
    found = [
        Copied("curl", "explain", "\n".join(one.curl("explain") for one in each)),
        Copied("temppass", "explain", "\n".join(one.command("explain") for one in each)),
        Copied("Python", "explain", "\n".join(one.python(explain) for one in each)),
    ]
    if resets:
        found += [
            Copied("curl", "reset", "\n".join(one.curl("resets", reason="why") for one in each)),
            Copied("temppass", "reset", "\n".join(one.command("reset", " --reason why") for one in each)),
            Copied("Python", "reset", "\n".join(one.python(reset) for one in each)),
        ]
    return found
