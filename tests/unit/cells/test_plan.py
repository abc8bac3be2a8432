"""The specification of a default cell."""

import json
import os
import socket
import sys
from pathlib import Path

import pytest
from tests.conftest import Golden

from cloister.cells import plan, spec, view
from cloister.cells.plan import build_cell
from cloister.model.app import (
    App,
    CommandProgram,
    Credential,
    FileTls,
    PythonProgram,
    Readiness,
    SelfSignedTls,
)
from cloister.model.errors import CloisterError
from cloister.model.isolation import Bind, HostIdentity

GOLDENS = Path(__file__).parents[2] / "golden" / "cells"
IDENTITY = HostIdentity(500001, 500002)
PLAIN = App("blog", CommandProgram(("/srv/blog/serve", "--quiet")), "/srv/blog")


@pytest.fixture
def one_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same system and the same interpreter wherever the test runs."""
    system = ([view.read_only("/usr")], [spec.Link("/bin", "usr/bin")])
    monkeypatch.setattr(view, "system_view", lambda: system)
    monkeypatch.setattr(view, "python_view", lambda: [view.read_only("/opt/python")])
    monkeypatch.setattr(sys, "executable", "/opt/python/bin/python3")


def text_of(built: plan.CellPlan) -> str:
    """The specification with its descriptors by order instead of by number."""
    value = json.loads(spec.encode(built.spec))
    numbers = {number: index for index, number in enumerate(built.descriptors)}
    for entry in value["descriptors"]:
        entry["descriptor"] = numbers[entry["descriptor"]]
    for file in value["filesystem"]["files"]:
        if file["content"]["kind"] == "descriptor":
            file["content"]["descriptor"] = numbers[file["content"]["descriptor"]]
    return json.dumps(value, indent=2) + "\n"


@pytest.mark.usefixtures("one_host")
def test_a_command(golden: Golden) -> None:
    with socket.socket() as listening:
        built = build_cell(PLAIN, IDENTITY, listening)
        assert built.descriptors == (listening.fileno(),)
        golden.check(GOLDENS / "command.json", text_of(built))
        built.close()
        assert listening.fileno() >= 0


@pytest.mark.usefixtures("one_host")
def test_a_python_application_with_everything(golden: Golden, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    app = App(
        "shop",
        PythonProgram("shop.main", "app"),
        "/srv/shop",
        hosts=("shop.example",),
        tls=SelfSignedTls(),
        environment=(("LANG", "de_DE.UTF-8"), ("LISTEN_FDS", "9"), ("NOTIFY_SOCKET", "/evil")),
        credentials=(Credential("token", str(secret)),),
        binds=(Bind("/var/lib/shop", "/data", writable=True, executable=False),),
        ready=Readiness.NOTIFY,
        stop_timeout=5.0,
        tmp_size=1024,
    )
    with socket.socket() as listening:
        built = build_cell(
            app,
            IDENTITY,
            listening,
            credentials=(Credential("tls.crt", str(secret)), Credential("tls.key", str(secret))),
            environment=(("REGION", "eu"),),
            notify_socket="/run/cloister/apps/shop/notify",
        )
    golden.check(GOLDENS / "python.json", text_of(built))
    assert len(built.descriptors) == 4
    assert os.read(built.descriptors[1], 100) == b"hunter2"
    assert "hunter2" not in text_of(built)
    built.close()
    built.close()


@pytest.mark.usefixtures("one_host")
def test_another_command_and_no_folder(golden: Golden) -> None:
    built = build_cell(PLAIN, IDENTITY, None, command=["/bin/sh"], working_directory="/tmp")
    assert built.descriptors == ()
    golden.check(GOLDENS / "no-folder.json", text_of(built))


def test_a_file_that_the_operator_binds_is_not_made() -> None:
    app = App("blog", PLAIN.program, "/usr/share", binds=(Bind("/etc/hosts", "/etc/hosts"),))
    built = build_cell(app, IDENTITY, None)
    files = {file.path for file in built.spec.filesystem.files}
    assert "/etc/hosts" not in files
    assert "/etc/passwd" in files
    # /usr shows it already.
    assert "/usr/share" not in {bind.destination for bind in built.spec.filesystem.binds}


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("missing", "No such file"),
        ("folder", "no regular file"),
        ("fifo", "no regular file"),
        ("large", "larger than 1 MiB"),
    ],
)
def test_credentials_that_cannot_be_used(tmp_path: Path, kind: str, why: str) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_text("x")
    if kind == "folder":
        bad.mkdir()
    elif kind == "fifo":
        os.mkfifo(bad)
    elif kind == "large":
        bad.write_bytes(bytes(2**20 + 1))
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(CloisterError, match="credential two of blog") as caught:
        build_cell(
            PLAIN,
            IDENTITY,
            None,
            credentials=(Credential("one", str(good)), Credential("two", str(bad))),
        )
    assert why in str(caught.value.why)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_certificate_of_the_operator_is_served_as_one_of_our_own() -> None:
    app = App("blog", PythonProgram("m", "a"), "/usr/share", tls=FileTls("/c", "/k"))
    assert "--tls" in build_cell(app, IDENTITY, None).spec.command
    plain = App("blog", PythonProgram("m", "a"), "/usr/share")
    assert "--tls" not in build_cell(plain, IDENTITY, None).spec.command
