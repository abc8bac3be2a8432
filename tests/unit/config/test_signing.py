"""`[signer.NAME]` and `sign`: what they come to, and what is refused."""

from pathlib import Path

import pytest

from cloister.config.load import load
from cloister.model.errors import ConfigError
from cloister.model.signing import Grant, Store
from cloister.model.snapshot import Snapshot

BASE = """
[listeners.https]
listen = "127.0.0.1:0"
[apps.blog]
command = ["/bin/true"]
hosts = ["blog.example"]
"""
STORE = """
[signer.backups]
bucket = "example-backups"
region = "eu-central-1"
credentials = "keys"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "keys").write_text("")
    (tmp_path / "keys").chmod(0o600)
    return tmp_path


def loaded(folder: Path, text: str, *, check_files: bool = True) -> Snapshot:
    file = folder / "cloister.toml"
    file.write_text(text)
    return load(str(file), check_files=check_files)


def codes(folder: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(folder, text)
    assert all(problem.hint for problem in caught.value.problems)
    return [problem.code for problem in caught.value.problems]


def store(folder: Path, more: str) -> Store:
    (found,) = loaded(folder, BASE + STORE + more).stores
    return found


def test_a_store_is_amazons_unless_it_says_otherwise(folder: Path) -> None:
    found = store(folder, "")
    assert (found.endpoint, found.path_style) == ("https://s3.eu-central-1.amazonaws.com", False)
    assert (found.credentials, found.profile) == (f"{folder}/keys", "default")
    own = store(folder, 'endpoint = "https://s3.example.org:9000/"\nprofile = "x"\n')
    assert (own.endpoint, own.path_style) == ("https://s3.example.org:9000", True)
    assert not store(folder, 'endpoint = "https://s3.example.org"\npath-style = false').path_style


def test_a_bucket_with_a_dot_has_no_certificate_of_its_own(folder: Path) -> None:
    text = (BASE + STORE).replace("example-backups", "backups.example.org")
    assert loaded(folder, text).stores[0].path_style


def test_a_grant_has_its_defaults_and_its_settings(folder: Path) -> None:
    sign = 'sign = { backups = { put = "blog/{date}/*" } }\n'
    (app,) = loaded(folder, BASE + sign + STORE).apps
    (grant,) = app.sign
    assert grant == Grant("backups", put=grant.put)
    assert [str(one) for one in grant.put] == ["blog/{date}/*"]
    sign = 'sign = { backups = { put = ["a", "b"], get = "c/**", valid = "90s", largest = "2G"'
    (app,) = loaded(folder, BASE + sign + ", per-day = 3 } }\n" + STORE).apps
    (grant,) = app.sign
    assert (grant.valid, grant.largest, grant.per_day) == (90.0, 2 * 1024**3, 3)
    assert (len(grant.put), [str(one) for one in grant.get]) == (2, ["c/**"])


def test_users_have_grants_of_the_store(folder: Path) -> None:
    (user,) = store(folder, 'users = { alice = { put = "alice/*" } }').users
    assert (user.user, user.grant.store) == ("alice", "backups")


@pytest.mark.parametrize(
    ("setting", "code"),
    [
        ('endpoint = "ftp://s3.example"', "bad-url"),
        ('endpoint = "https://s3.example/x"', "bad-url"),
        ('endpoint = "https://a:b@s3.example"', "bad-url"),
        ('endpoint = "https://s3.example?x"', "bad-url"),
        ('endpoint = "https://"', "bad-url"),
        ('endpoint = "https://s3.example:0"', "bad-url"),
        ('endpoint = "https://s3.example:99999"', "bad-url"),
        ('endpoint = "https://s3.exämple"', "bad-url"),
        ('endpoint = "https://s3 .example"', "bad-url"),
        ('profile = "a]b"', "bad-name"),
        ('users = { "a b" = { put = "x" } }', "bad-user"),
        ("users = { alice = {} }", "missing-key"),
        ('users = { alice = { put = "x", valid = "61m" } }', "bad-duration"),
        ('users = { alice = { put = "x", valid = "500ms" } }', "bad-duration"),
        ('users = { alice = { put = "x", largest = "6G" } }', "bad-size"),
        ('users = { alice = { put = "x", per-day = 0 } }', "out-of-range"),
        ('users = { alice = { put = "x", delete = "x" } }', "unknown-key"),
    ],
)
def test_what_is_no_setting(folder: Path, setting: str, code: str) -> None:
    assert codes(folder, BASE + STORE + setting) == [code]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"example-backups"', '"a/b"'),
        ('"eu-central-1"', '"eu/x"'),
        ("[signer.backups]", '[signer."a b"]'),
    ],
)
def test_names_stand_in_urls_and_requests(folder: Path, before: str, after: str) -> None:
    assert codes(folder, (BASE + STORE).replace(before, after)) == ["bad-name"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610])
def test_a_file_with_keys_is_nobody_elses(folder: Path, mode: int) -> None:
    (folder / "keys").chmod(mode)
    assert codes(folder, BASE + STORE) == ["exposed-key"]


def test_without_a_store_nothing_can_be_granted(folder: Path) -> None:
    assert codes(folder, BASE + 'sign = { backups = { put = "x" } }') == ["unknown-store"]


def test_a_store_that_is_wrong_is_not_said_to_be_missing(folder: Path) -> None:
    sign = 'sign = { backups = { put = "x" } }\n'
    assert codes(folder, BASE + sign + STORE + "bukket = 1") == ["unknown-key"]


def test_no_key_is_in_the_snapshot(folder: Path) -> None:
    (folder / "keys").write_text("[default]\naws_secret_access_key = s3cr3t\n")
    assert "s3cr3t" not in repr(loaded(folder, BASE + STORE))


def test_the_sockets_variable_is_cloisters(folder: Path) -> None:
    assert codes(folder, BASE + 'environment = { SIGNER_SOCKET = "x" }') == ["bad-environment"]
