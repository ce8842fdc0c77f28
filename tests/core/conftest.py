"""
One pair of keys for all tests of the core: making them costs a tenth of a second.
"""

import pytest

from temppass.core.tokens import Keyring, generate_keys


@pytest.fixture(scope="session")
def stored_keys() -> bytes:
    return generate_keys(("rsa", "ec"))


@pytest.fixture(scope="session")
def keyring(stored_keys: bytes) -> Keyring:
    return Keyring(stored_keys, "ES256")
