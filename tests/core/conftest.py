"""
One pair of keys for all tests of the core: making them costs a tenth of a second.
"""

import pytest

from temppass.core.tokens import Keyring, StoredKeys, generate_keys

#: what a test need not make anew
RANDOM = {"pepper": b"p" * 32, "client_key": b"c" * 32, "chain_key": b"h" * 32}


@pytest.fixture(scope="session")
def stored_keys() -> StoredKeys:
    return generate_keys(("rsa", "ec"), **RANDOM)


@pytest.fixture(scope="session")
def keyring(stored_keys: StoredKeys) -> Keyring:
    return Keyring(stored_keys, "ES256")
