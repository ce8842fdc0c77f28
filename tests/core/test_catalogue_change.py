"""Which changes of a catalogue are grave: a table of changes to one pass, one channel, one application."""

import pytest
from msgspec.structs import replace

from temppass.core.catalogue import EMPTY, Application, Catalogue, Channel, Pass, Programmer, ResetAll
from temppass.core.catalogue_change import grave
from temppass.core.model import PassKind

CHANNEL = Channel("C", "acme", "C", ("c.example", "d.example"), reset_all=ResetAll.EXPLICIT)
PASS = Pass(
    "P", PassKind.PROMOTIONAL, "P", 60_000, {"C": True, "D": True, "E": False}, 5, "email",
    retention_ms=1_000, reason_required=True, approvals=2,
)  # fmt: skip
APPLICATION = Application("A", "A", ("C", "D"), ("x", "y"), ("a.example",), reset_all=False)


def _catalogue(*entries: Channel | Pass | Application) -> Catalogue:
    def of(kind: type) -> dict[str, object]:
        return {each.id: each for each in entries if isinstance(each, kind)}

    return Catalogue({"acme": Programmer("acme", "acme")}, of(Channel), of(Pass), of(Application))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"domains": ("c.example",)}, "Channel C: its pages on d.example are not answered any more."),
        ({"reset_all": ResetAll.IMPLICIT}, "Channel C: a reset over the wire that names nobody means everybody again."),
        ({"name": "other", "timezone": "Europe/Berlin", "domains": ("d.example", "c.example", "e.example")}, None),
    ],
)
def test_of_a_channel(changes: dict[str, object], said: str | None) -> None:
    assert grave(_catalogue(CHANNEL), _catalogue(replace(CHANNEL, **changes))) == ([said] if said else [])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"channels": {"C": True, "D": False}}, "Pass P is not offered on D any more."),
        ({"channels": {"C": True}}, "Pass P is not offered on D any more."),
        ({"ttl_ms": 0}, "Pass P cannot be used any more: nobody is permitted by it."),
        (
            {"kind": PassKind.BASIC, "identity_key": None, "resources_max": None},
            "Pass P becomes basic: its titles are not counted any more, and viewers go by their device alone.",
        ),
        ({"identity_key": "upn"}, "Pass P knows users by 'upn': applications that do not send it are refused."),
        ({"resets": "0 0 * * *"}, "Pass P: everybody is new again, each time at '0 0 * * *'."),
        ({"retention_ms": 999}, "Pass P: trials are forgotten sooner, and their viewers are new again."),
        ({"reason_required": False}, "Pass P asks for no reason any more."),
        ({"approvals": 1}, "Pass P: one person alone can reset everybody."),
        ({"ttl_ms": 1, "resources_max": 1, "retention_ms": None, "name": "other", "logo_url": "x"}, None),
        ({"channels": {"C": True, "D": True, "E": True, "F": True}}, None),
    ],
)
def test_of_a_pass(changes: dict[str, object], said: str | None) -> None:
    assert grave(_catalogue(PASS), _catalogue(replace(PASS, **changes))) == ([said] if said else [])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"channels": ("C",)}, "Application A does not speak for D any more."),
        ({"scopes": ("y",)}, "Application A loses x."),
        ({"domains": ()}, "Application A: its pages on a.example are not answered any more."),
        ({"reset_all": True}, "Application A may reset everybody."),
        ({"channels": None, "scopes": ("z", "y", "x"), "clients_max": 1, "name": "other"}, None),
    ],
)
def test_of_an_application(changes: dict[str, object], said: str | None) -> None:
    assert grave(_catalogue(APPLICATION), _catalogue(replace(APPLICATION, **changes))) == ([said] if said else [])


def test_an_application_that_spoke_for_all_may_speak_for_some() -> None:
    of_all, of_none = replace(APPLICATION, channels=None), replace(APPLICATION, channels=())
    assert [grave(_catalogue(of_all), _catalogue(each)) for each in (APPLICATION, of_none)] == [
        ["Application A speaks for C, D instead of for all."],
        ["Application A speaks for no channel instead of for all."],
    ]


def test_what_goes_is_grave_and_what_comes_is_not() -> None:
    whole = _catalogue(CHANNEL, PASS, APPLICATION)
    assert (grave(EMPTY, whole), grave(whole, whole), grave(whole, EMPTY)) == (
        [],
        [],
        [
            "Channel C goes: whoever asks for it is refused.",
            "Pass P goes: nobody is permitted by it any more.",
            "Application A goes: its statements, clients and tokens end at once, also if it returns.",
        ],
    )
