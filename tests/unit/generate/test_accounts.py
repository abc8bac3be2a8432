"""tmpfiles.d and sysusers.d: goldens, refusals, and what systemd's own programs make of them."""

import subprocess
from pathlib import Path

import pytest
from tests.conftest import Golden
from tests.support.generated import check_goldens

from cloister.generate.accounts import AccountsRequest, FolderRequest, sysusers, tmpfiles
from cloister.generate.file import Generated
from cloister.model.errors import UsageError
from cloister.model.listener import SocketOptions
from cloister.sockets.plan import plan_socket

FOLDER = FolderRequest(
    "web",
    plan_socket("/run/web/web.sock", SocketOptions(group="www-data", directory_mode=0o710)),
    "web",
)
ACCOUNTS = AccountsRequest("web", "web", "webgroup", ("www-data", "caddy"))


@pytest.mark.parametrize(
    ("case", "generated"),
    [
        ("tmpfiles", tmpfiles(FOLDER)),
        ("sysusers", sysusers(ACCOUNTS)),
        ("sysusers-group", sysusers(AccountsRequest("web", None, "web"))),
    ],
)
def test_goldens(golden: Golden, case: str, generated: Generated) -> None:
    check_goldens(golden, case, generated)


@pytest.mark.parametrize("path", ["/x.sock", "/run/x.sock", "/tmp/x.sock", "/srv/x.sock"])
def test_a_folder_of_the_systems_is_left_alone(path: str) -> None:
    with pytest.raises(UsageError, match="cannot be the socket's own folder"):
        tmpfiles(FolderRequest("x", plan_socket(path, SocketOptions())))


def test_accounts_have_names() -> None:
    with pytest.raises(UsageError, match="'12' cannot be a group"):
        sysusers(AccountsRequest("x", None, "12"))
    with pytest.raises(UsageError, match="'12' cannot be a user"):
        sysusers(AccountsRequest("x", None, "x", ("12",)))


def table(path: Path) -> dict[str, list[str]]:
    """The fields of each line by the first one."""
    lines = [line.split(":") for line in path.read_text().splitlines()]
    return {fields[0]: fields for fields in lines}


@pytest.mark.usefixtures("as_root")
def test_systemd_makes_the_accounts_and_the_folder(tmp_path: Path) -> None:
    etc = tmp_path / "etc"
    etc.mkdir()
    # Both programs read accounts from the root that they work on.
    (etc / "passwd").write_text("root:x:0:0::/root:/bin/sh\nwww-data:x:33:33::/:/bin/false\n")
    (etc / "group").write_text("root:x:0:\nwww-data:x:33:\n")
    for generated in (
        sysusers(AccountsRequest("web", "web", "web", ("www-data",))),
        tmpfiles(FOLDER),
    ):
        (file,) = generated.files
        place = tmp_path / file.path.lstrip("/")
        place.parent.mkdir(exist_ok=True)
        place.write_text(file.text)
    root = f"--root={tmp_path}"
    subprocess.run(["systemd-sysusers", root], check=True, capture_output=True)
    users = table(etc / "passwd")
    groups = table(etc / "group")
    assert users["web"][3] == groups["web"][2]
    assert groups["web"][3] == "www-data"
    subprocess.run(["systemd-tmpfiles", "--create", root], check=True, capture_output=True)
    made = (tmp_path / "run/web").stat()
    assert made.st_mode & 0o7777 == 0o710
    assert (made.st_uid, made.st_gid) == (int(users["web"][2]), 33)
