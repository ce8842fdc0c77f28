"""
The files of a secret that an embedded store keeps beside itself, at every step of a change, and the secret that a
server or a command makes of them, or of the variables.
"""

import asyncio
import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from temppass.core.secret import Secret
from temppass.settings import SettingsError, read_settings
from temppass.storage.hold import Hold, holder_of
from temppass.storage.secret_file import SecretFile, SecretUnusable
from temppass.store import Holder
from temppass.wiring import another_secret, assemble

OLD, NEW, OTHER = b"s" * 32, b"t" * 32, b"u" * 32


@pytest.fixture
def file(tmp_path: Path) -> SecretFile:
    file = SecretFile(tmp_path / "store.db")
    file.create(OLD)
    return file


def files(file: SecretFile) -> dict[str, bytes]:
    return {each.name.removeprefix("store.db"): each.read_bytes() for each in file.path.parent.iterdir()}


def test_a_secret_is_made_once(file: SecretFile) -> None:
    file.create(NEW)
    assert (file.values(), files(file)) == ([OLD], {".secret": OLD})


def test_at_every_step_of_a_change_the_secret_is_there_and_opens_what_is_sealed(file: SecretFile) -> None:
    steps = [file.expected(NEW), file.values(), file.prepare(NEW), file.values()]
    file.finish()
    assert (steps, file.values(), files(file)) == (
        [[NEW, OLD], [OLD], [NEW, OLD], [OLD, NEW]],
        [NEW, OLD],
        {".secret": NEW, ".secret.previous": OLD},
    )


def test_a_change_takes_up_the_next_secret_that_one_before_has_left(file: SecretFile) -> None:
    """Something may be sealed under it."""
    file.prepare(NEW)
    assert (file.expected(OTHER), file.prepare(OTHER)) == ([NEW, OLD], [NEW, OLD])


def test_a_change_that_was_broken_off_between_its_last_two_steps_is_finished(file: SecretFile) -> None:
    file.prepare(NEW)
    (file.path.parent / "store.db.secret.previous").write_bytes(OLD)
    (file.path.parent / "store.db.secret.previous").chmod(0o600)
    file.finish()
    assert files(file) == {".secret": NEW, ".secret.previous": OLD}


def test_all_of_them_are_for_whoever_owns_the_present_one(file: SecretFile) -> None:
    """Root may change what another user serves."""
    with contextlib.suppress(PermissionError):
        os.chown(file.path, 4711, 4712)
    owner = file.path.stat()
    file.prepare(NEW)
    file.finish()
    owners = {(each.stat().st_uid, each.stat().st_gid) for each in file.path.parent.iterdir()}
    assert owners == {(owner.st_uid, owner.st_gid)}


def test_without_a_secret_there_is_none_to_be_changed(file: SecretFile) -> None:
    file.path.unlink()
    with pytest.raises(SecretUnusable) as refused:
        file.expected(NEW)
    assert str(refused.value) == (f"there is no secret {file.path} to be changed; restore it, or set TEMPPASS_SECRET")


def test_a_second_change_forgets_the_secret_before_the_last(file: SecretFile) -> None:
    for value in (NEW, OTHER):
        file.prepare(value)
        file.finish()
    assert file.values() == [OTHER, NEW]


def test_what_was_half_written_is_cleared_away_and_nothing_else(file: SecretFile) -> None:
    for name in (".secret.next.0123456789abcdef", ".secret.previous.0123456789abcdef", ".secret.next.copy"):
        (file.path.parent / f"store.db{name}").write_bytes(OTHER)
    with file.changing():
        pass
    assert files(file) == {".secret": OLD, ".secret.next.copy": OTHER}


def test_two_do_not_change_a_secret_at_once(file: SecretFile) -> None:
    with file.changing(), pytest.raises(SecretUnusable) as refused, SecretFile(file.path.with_suffix("")).changing():
        raise AssertionError
    assert str(refused.value) == f"another process is changing {file.path}; wait until it has ended"


@pytest.mark.parametrize("suffix", ["", ".next", ".previous"])
@pytest.mark.parametrize(
    ("content", "mode", "told"),
    [
        (NEW, 0o640, "others can use {} (mode 640); run `chmod 600 {}`"),
        (
            b"short",
            0o600,
            "cannot use {}: the secret needs at least 32 bytes, not 5; restore it, or set TEMPPASS_SECRET",
        ),
    ],
)
def test_each_of_them_has_to_be_sound(file: SecretFile, suffix: str, content: bytes, mode: int, told: str) -> None:
    bad = file.path.with_name(file.path.name + suffix)
    bad.write_bytes(content)
    bad.chmod(mode)
    with pytest.raises(SecretUnusable) as refused:
        file.values()
    assert str(refused.value) == told.format(bad, bad)


def test_files_are_the_same_whatever_leads_there(file: SecretFile, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    places = [SecretFile(path / "store.db").place for path in (tmp_path, tmp_path / "link")]
    assert (places[0] == places[1], file.place == SecretFile(tmp_path / "other.db").place) == (True, False)


# --- who serves


def test_who_serves_a_file_is_told_without_a_trace(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    told, traces = [holder_of(path)], [*tmp_path.iterdir()]
    hold = Hold(path)
    told.append(holder_of(path))
    hold.let_go()
    told.append(holder_of(path))
    assert (told, traces) == ([None, Holder(os.getpid()), None], [])


# --- what a server or a command makes of it


def secret_of(environ: Mapping[str, str], store: str) -> tuple[str, ...]:
    application = assemble(read_settings(environ, store=store))
    asyncio.run(application.store.close())
    return application.service.context.secret.fingerprints()


def test_both_secrets_of_the_variables_are_known_the_new_one_first() -> None:
    both = {"TEMPPASS_SECRET": NEW.decode(), "TEMPPASS_SECRET_PREVIOUS": OLD.decode()}
    assert secret_of(both, "memory:") == Secret(NEW, OLD).fingerprints()


def test_all_secrets_of_the_files_are_known_the_present_one_first(file: SecretFile) -> None:
    file.prepare(NEW)
    assert secret_of({}, f"sqlite:///{file.path.with_suffix('')}") == Secret(OLD, NEW).fingerprints()


@pytest.mark.parametrize(
    ("secret", "previous", "told"),
    [
        (NEW, b"short", "TEMPPASS_SECRET_PREVIOUS needs at least 32 bytes; set it to what TEMPPASS_SECRET was before"),
        (
            b"",
            OLD,
            "TEMPPASS_SECRET_PREVIOUS is set without TEMPPASS_SECRET; set that to the new secret, or set neither",
        ),
        (
            NEW,
            NEW,
            (
                "TEMPPASS_SECRET_PREVIOUS is the same as TEMPPASS_SECRET; "
                "set one of them to the new secret, or leave this one out"
            ),
        ),
    ],
)
def test_a_secret_of_before_that_cannot_be_one_is_refused(secret: bytes, previous: bytes, told: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read_settings({"TEMPPASS_SECRET": secret.decode(), "TEMPPASS_SECRET_PREVIOUS": previous.decode()})
    assert str(refused.value) == told


@pytest.mark.parametrize(
    ("store", "secret", "told"),
    [
        ("memory:", b"", "a memory store has another secret at each start; name a store that is kept"),
        (
            "postgresql://db.example/temppass",
            b"",
            (
                "TEMPPASS_SECRET is missing; "
                "set TEMPPASS_SECRET to the new secret and TEMPPASS_SECRET_PREVIOUS to the one of before"
            ),
        ),
        (
            "sqlite:///{}",
            NEW,
            (
                "TEMPPASS_SECRET_PREVIOUS is missing; "
                "set TEMPPASS_SECRET to the new secret and TEMPPASS_SECRET_PREVIOUS to the one of before"
            ),
        ),
    ],
)
def test_where_there_is_no_other_secret_the_change_says_which_is_missing(
    tmp_path: Path, store: str, secret: bytes, told: str
) -> None:
    (tmp_path / "store.db").write_bytes(b"there")
    settings = read_settings({"TEMPPASS_SECRET": secret.decode()}, store=store.format(tmp_path / "store.db"))
    with pytest.raises(SettingsError) as refused, another_secret(settings):
        raise AssertionError
    assert str(refused.value) == told
