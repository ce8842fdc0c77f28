"""
One pair of keys for all tests of the core: making them costs a tenth of a second.
"""

import pytest

from temppass.core.keys import StoredKeys, begun
from temppass.core.tokens import Keyring, make_pair

#: what a test need not make anew
RANDOM = {"pepper": b"p" * 32, "client_key": b"c" * 32, "chain_key": b"h" * 32}


@pytest.fixture(scope="session")
def stored_keys() -> StoredKeys:
    return begun(make_pair(("rsa", "ec")), 0, **RANDOM)


@pytest.fixture(scope="session")
def keyring(stored_keys: StoredKeys) -> Keyring:
    return Keyring(stored_keys, "ES256")
