"""
What holds when options, variables and profiles say different things, and where a statement may go.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

import keyring
import keyring.backend
import pytest

from temppass.client.errors import TempPassError
from temppass.client.place import ENVIRONMENTS, place_at
from temppass.client.vault import FileVault, Held, KeyringVault, LookedThrough
from temppass.tools.profiles import Profile, Profiles, choose, clean_statement

LOCAL, OTHER = "http://127.0.0.1:8080", "https://temppass.example"
STATEMENT = "aaaa.bbbb.cccc"
VENDOR = "release-staging"
WORK = Profile(url=LOCAL, requestor="REF", mvpd="TempPassREF")


@pytest.fixture
def profiles(tmp_path: Path) -> Profiles:
    return Profiles(tmp_path / "config")


class Drawer(keyring.backend.KeyringBackend):
    """A keyring that forgets with the process."""

    priority = 1

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # the library leaves it so
        self.secrets: dict[tuple[str, str], str] = {}

    def set_password(self, service: str, username: str, password: str) -> None:
        self.secrets[service, username] = password

    def get_password(self, service: str, username: str) -> str | None:
        return self.secrets.get((service, username))

    def delete_password(self, service: str, username: str) -> None:
        del self.secrets[service, username]


@pytest.fixture
def drawer() -> Iterator[Drawer]:
    before, drawer = keyring.get_keyring(), Drawer()
    keyring.set_keyring(drawer)
    yield drawer
    keyring.set_keyring(before)


@pytest.mark.parametrize(
    ("options", "environ", "place", "requestor"),
    [
        ({}, {}, LOCAL, "REF"),
        ({"profile": "work"}, {}, LOCAL, "REF"),
        ({}, {"TEMPPASS_PROFILE": "vendor"}, VENDOR, None),
        ({"profile": "work"}, {"TEMPPASS_PROFILE": "vendor"}, LOCAL, "REF"),
        ({"profile": "work"}, {"TEMPPASS_URL": OTHER}, OTHER, "REF"),
        ({"profile": "work", "url": LOCAL}, {"TEMPPASS_VENDOR_ENVIRONMENT": VENDOR}, LOCAL, "REF"),
        ({"environment": VENDOR}, {"TEMPPASS_URL": OTHER}, VENDOR, None),
        ({"requestor": "A"}, {"TEMPPASS_REQUESTOR": "B"}, LOCAL, "A"),
        ({}, {"TEMPPASS_REQUESTOR": "B"}, LOCAL, "B"),
        ({}, {"TEMPPASS_REQUESTOR": ""}, LOCAL, "REF"),
    ],
)
def test_an_option_goes_before_a_variable_and_a_variable_before_the_profile(
    profiles: Profiles, options: Mapping[str, str], environ: Mapping[str, str], place: str, requestor: str | None
) -> None:
    profiles.put("work", WORK, STATEMENT, default=True)
    profiles.put("vendor", Profile(environment=VENDOR), STATEMENT, default=False)
    chosen = choose(options, environ, profiles)
    assert (chosen.place, chosen.requestor) == (ENVIRONMENTS.get(place) or place_at(place), requestor)


@pytest.mark.parametrize(
    ("options", "statement_of"),
    [({}, "work"), ({"profile": "work"}, "work"), ({"profile": "work", "url": OTHER}, None), ({"url": LOCAL}, None)],
)
def test_a_stored_statement_goes_only_to_the_place_that_it_was_stored_for(
    profiles: Profiles, options: Mapping[str, str], statement_of: str | None
) -> None:
    profiles.put("work", WORK, STATEMENT, default=True)
    assert choose(options, {}, profiles).secret_of == statement_of


def test_without_a_profile_nothing_is_chosen(profiles: Profiles) -> None:
    chosen = choose({}, {}, profiles)
    assert (chosen.place, chosen.statement_file, chosen.secret_of) == (None, None, None)


@pytest.mark.parametrize(
    ("options", "environ"),
    [
        ({"url": LOCAL, "environment": VENDOR}, {}),
        ({}, {"TEMPPASS_URL": LOCAL, "TEMPPASS_VENDOR_ENVIRONMENT": VENDOR}),
        ({"environment": "production"}, {}),
        ({"url": "ftp://x"}, {}),
        ({"profile": "nobody"}, {}),
    ],
)
def test_what_cannot_be_meant_is_refused(
    profiles: Profiles, options: Mapping[str, str], environ: Mapping[str, str]
) -> None:
    with pytest.raises(TempPassError):
        choose(options, environ, profiles)


def test_a_profile_of_the_vendors_is_never_the_default(profiles: Profiles) -> None:
    with pytest.raises(TempPassError, match="never the default"):
        profiles.put("vendor", Profile(environment=VENDOR), STATEMENT, default=True)
    assert profiles.all() == {}


def test_what_is_stored_is_read_again_and_only_by_its_owner(profiles: Profiles, tmp_path: Path) -> None:
    profiles.put("work", WORK, STATEMENT, default=True)
    files = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_file()}
    assert (profiles.get("work"), profiles.default, profiles.statement("work")) == (WORK, "work", STATEMENT)
    assert files == {"profiles.toml": 0o600, "work.jwt": 0o600}


def test_a_profile_that_is_removed_leaves_no_statement(profiles: Profiles, tmp_path: Path) -> None:
    profiles.put("work", WORK, STATEMENT, default=True)
    profiles.remove("work")
    left = [path.name for path in tmp_path.rglob("*") if path.is_file()]
    assert (profiles.all(), profiles.default, left) == ({}, None, ["profiles.toml"])


@pytest.mark.parametrize("name", ["", "../x", "a b", ".hidden", "x" * 65])
def test_the_name_of_a_profile_cannot_leave_its_folder(profiles: Profiles, name: str) -> None:
    with pytest.raises(TempPassError, match="no name"):
        profiles.put(name, WORK, STATEMENT, default=False)


@pytest.mark.parametrize("name", ["../x", "a b", ".hidden"])
def test_a_name_that_login_would_refuse_is_refused_in_a_file_too(profiles: Profiles, name: str) -> None:
    profiles.path.parent.mkdir()
    profiles.path.write_text(f"[profiles.{name!r}]\nurl = '{LOCAL}'\n")
    with pytest.raises(TempPassError) as caught:
        profiles.statement(name)
    assert str(caught.value) == f"{profiles.path}: {name!r} is no name for a profile"


@pytest.mark.parametrize("content", ["= 1", "[profiles.a]\nurl = 1", "[profiles.a]\ncolour = 'red'", "\xff"])
def test_a_broken_file_is_told_and_left_as_it_is(profiles: Profiles, content: str) -> None:
    profiles.path.parent.mkdir()
    profiles.path.write_text(content, "latin-1")
    with pytest.raises(TempPassError, match=r"profiles\.toml"):
        profiles.all()
    assert profiles.path.read_text("latin-1") == content


@pytest.mark.parametrize("profile", [Profile(), Profile(url=LOCAL, environment=VENDOR)])
def test_a_profile_names_exactly_one_place(profiles: Profiles, profile: Profile) -> None:
    profiles.put("work", profile, STATEMENT, default=False)
    with pytest.raises(TempPassError, match="either url or environment"):
        choose({"profile": "work"}, {}, profiles)


@pytest.mark.parametrize(
    "text", ["", "a.b", "a.b.c.d", "a b.c.d", "a.b.c\nd.e.f", "x" * 9000 + "." + "y" * 9000 + ".z"]
)
def test_what_is_no_statement_is_not_stored_as_one(text: str) -> None:
    with pytest.raises(TempPassError):
        clean_statement(text, "stdin")


def test_with_a_keyring_no_file_holds_a_secret(profiles: Profiles, drawer: Drawer, tmp_path: Path) -> None:
    profiles.put("work", Profile(url=LOCAL, keep="keyring"), STATEMENT, default=True)
    vault = KeyringVault(tmp_path / "state")
    let_go = vault.hold("entry")
    assert (let_go is not None, vault.hold("entry")) == (True, None)
    vault.remember("entry", Held("id", "secret-of-client", "token-of-client", 1))
    found = (profiles.statement("work"), vault.recall("entry"))
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert found == (STATEMENT, Held("id", "secret-of-client", "token-of-client", 1))
    assert [secret in written for secret in (STATEMENT.encode(), b"secret-of-client", b"token-of-client")] == [
        False
    ] * 3


def test_what_is_forgotten_is_gone_from_the_keyring(profiles: Profiles, drawer: Drawer, tmp_path: Path) -> None:
    profiles.put("work", Profile(url=LOCAL, keep="keyring"), STATEMENT, default=True)
    vault = KeyringVault(tmp_path)
    vault.remember("entry", Held("id", "secret"))
    vault.remember("entry", None)
    vault.remember("entry", None)
    profiles.remove("work")
    assert (drawer.secrets, vault.recall("entry")) == ({}, None)


@pytest.mark.parametrize("umask", [0, 0o022, 0o777])
def test_all_that_is_kept_is_for_its_owner_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    """Folders too, and those above them that were not there."""
    before = os.umask(umask)
    try:
        Profiles(tmp_path / "config" / "temppass").put("work", WORK, STATEMENT, default=True)
        FileVault(tmp_path / "state" / "temppass").remember("entry", Held("id", "secret"))
        FileVault(tmp_path / "other" / "temppass").hold("entry")
    finally:
        os.umask(before)
    found = {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.rglob("*") if file.is_dir()}
    files = {stat.S_IMODE(file.stat().st_mode) for file in tmp_path.rglob("*") if file.is_file()}
    assert (found, files) == ({0o700}, {0o600})


def test_a_folder_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir(0o755)
    Profiles(tmp_path / "config" / "temppass").put("work", WORK, STATEMENT, default=True)
    assert stat.S_IMODE((tmp_path / "config").stat().st_mode) == 0o755


def test_who_only_looks_through_a_vault_keeps_nothing_in_it(tmp_path: Path) -> None:
    kept, new = Held("id", "secret"), Held("another", "secret")
    vault = FileVault(tmp_path)
    vault.remember("entry", kept)
    looked = LookedThrough(vault)
    told = [looked.recall("entry")]
    for held in (None, new):
        looked.remember("entry", held)
        told.append(looked.recall("entry"))
    assert (told, vault.recall("entry")) == ([kept, None, new], kept)
