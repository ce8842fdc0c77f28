"""
Why somebody acts, as it is put on record.
"""

import re
import unicodedata

from temppass.core.refusal import InvalidRequest

#: of a reason, in characters
REASON_MAX = 500
#: an address, also as an URL writes it
_ADDRESS = re.compile(r"[^\s@](?:@|%40)[^\s@]", re.IGNORECASE)


def reason_of(text: str) -> str | None:
    """
    Answer a reason as it is put on record, None for an empty one.

    Refuses: InvalidRequest for one that is too long, that holds what cannot be printed, or an e-mail address: records
    are kept for long and read by many.
    """
    reason = " ".join(text.split())
    if len(reason) > REASON_MAX or not reason.isprintable():
        raise InvalidRequest(f"A reason has at most {REASON_MAX} printable characters.")
    if _ADDRESS.search(unicodedata.normalize("NFKC", reason)):
        raise InvalidRequest("A reason holds no e-mail address, because it is kept; name a ticket instead.")
    return reason or None
