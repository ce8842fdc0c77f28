"""
Shows what a client would send, as curl, with secrets as variables of the shell: never with the secrets themselves.
"""

import re
import shlex
from typing import Any, TypeVar

from temppass.client.exchange import Flow, Recall, Send, Tell
from temppass.client.vault import Held

T = TypeVar("T")

#: what stands for a secret in a shown request
STATEMENT, CLIENT_ID, CLIENT_SECRET, ACCESS_TOKEN, OPERATOR_TOKEN = (
    "$SOFTWARE_STATEMENT",
    "$CLIENT_ID",
    "$CLIENT_SECRET",
    "$ACCESS_TOKEN",
    "$TEMPPASS_OPERATOR_TOKEN",
)
_FAR = 2**62
#: in a form, `$` is percent-encoded
_ESCAPED = re.compile(r"%24(?=CLIENT_ID|CLIENT_SECRET)")
_SECRETS = re.compile(r"(\$(?:SOFTWARE_STATEMENT|CLIENT_ID|CLIENT_SECRET|ACCESS_TOKEN|TEMPPASS_OPERATOR_TOKEN))")


def request_of(conversation: Flow[T]) -> Send:
    """Play a flow, whose party has a variable for its secret, up to its first request; send nothing."""
    came: Any = None
    while True:
        effect = conversation.send(came)
        match effect:
            case Send():
                conversation.close()
                return effect
            case Recall():
                came = Held(CLIENT_ID, CLIENT_SECRET, ACCESS_TOKEN, _FAR)
            case Tell():
                came = 0
            case _:
                came = None


def curl(request: Send) -> str:
    """Write a request as one line for a shell."""
    words = ["curl -sS -X", request.method, _quoted(request.url)]
    words += [f"-H {_quoted(f'{name}: {value}')}" for name, value in request.headers.items()]
    if request.body:
        words.append(f"--data-raw {_quoted(_ESCAPED.sub('$', request.body.decode()))}")
    return " ".join(words)


def _quoted(text: str) -> str:
    """Quote for a POSIX shell; the variables of secrets stay variables."""
    parts = _SECRETS.split(text)
    return "".join(f'"{part}"' if _SECRETS.fullmatch(part) else shlex.quote(part) for part in parts if part)
