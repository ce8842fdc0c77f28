"""
Acts and actors at rest.
"""

from typing import get_args

from msgspec import Struct

from temppass.core import act


def test_every_struct_with_a_kind_can_be_read_in_a_record() -> None:
    """One that is missing in its union is written, and then no record of it can be read."""
    kinds = [each for each in vars(act).values() if isinstance(each, type) and issubclass(each, Struct)]
    tagged = {each for each in kinds if each.__struct_config__.tag is not None}
    assert tagged == {*get_args(act.Act), *get_args(act.Actor)}
