"""The specification of a default cell."""

import contextlib
import json
import os
import resource
import socket
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from tests.conftest import Golden

from cloister.cells import plan, python, spec, view
from cloister.cells.plan import build_cell
from cloister.model.app import (
    App,
    CommandProgram,
    Credential,
    Endpoint,
    FileTls,
    Interface,
    PythonProgram,
    Readiness,
    SelfSignedTls,
)
from cloister.model.errors import CloisterError
from cloister.model.isolation import Bind, HostIdentity, Isolation, Namespaces

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
    monkeypatch.setattr(resource, "getrlimit", lambda number: (1024, resource.RLIM_INFINITY))


def text_of(built: plan.CellPlan) -> str:
    """The specification with its descriptors by order instead of by number."""
    value = json.loads(spec.encode(built.spec))
    numbers = {number: index for index, number in enumerate(built.descriptors)}
    # That has a golden of its own: test_system_calls.
    assert value["fences"].pop("system_calls")["profile"] == "default"
    for entry in value["descriptors"]:
        entry["descriptor"] = numbers[entry["descriptor"]]
    for file in value["filesystem"]["files"]:
        if file["content"]["kind"] == "descriptor":
            file["content"]["descriptor"] = numbers[file["content"]["descriptor"]]
    return json.dumps(value, indent=2) + "\n"


def test_the_signers_socket_is_seen_where_nobody_else_has_one() -> None:
    path = "/run/cloister/signer/app-blog.sock"
    with (
        socket.socket(socket.AF_UNIX) as listening,
        contextlib.closing(build_cell(PLAIN, IDENTITY, listening, signer_socket=path)) as built,
    ):
        (bind,) = [one for one in built.spec.filesystem.binds if one.source == path]
        assert (bind.destination, bind.writable) == ("/run/signer.sock", False)
        variables = {one.name: one.value for one in built.spec.environment}
        assert variables["SIGNER_SOCKET"] == "/run/signer.sock"
    open_cell = replace(PLAIN, isolation=replace(Isolation(), namespaces=Namespaces(mount=False)))
    with (
        socket.socket(socket.AF_UNIX) as listening,
        contextlib.closing(build_cell(open_cell, IDENTITY, listening, signer_socket=path)) as built,
    ):
        assert built.spec.filesystem.binds == ()
        variables = {one.name: one.value for one in built.spec.environment}
        assert variables["SIGNER_SOCKET"] == path


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


@pytest.mark.usefixtures("one_host")
def test_a_python_application_in_its_own_environment(tmp_path: Path) -> None:
    base, home, library = (tmp_path / name for name in ("python", "venv", "lib"))
    for folder in (base / "bin", home / "bin", library):
        folder.mkdir(parents=True)
    (base / "bin" / "python3.12").touch(mode=0o755)
    (home / "bin" / "python3").symlink_to(base / "bin" / "python3.12")
    (home / "bin" / "python").symlink_to("python3")
    program = PythonProgram(
        "web",
        "make",
        factory=True,
        interface=Interface.WSGI,
        threads=3,
        home=str(home),
        path=(str(library),),
    )
    built = build_cell(App("blog", program, "/srv/blog"), IDENTITY, None)
    interpreter, script, folders, *arguments = built.spec.command
    assert interpreter == f"{home}/bin/python"
    assert script.endswith("/cloister/apps/borrowed.py")
    # Neither the standard library of another Python, nor where its archive would be.
    assert not [one for one in folders.split(":") if one.endswith((".zip", "lib-dynload"))]
    assert arguments == [
        *("--stop-timeout", "8", "--factory", "--interface", "wsgi", "--threads", "3"),
        *("--path", str(library), "web:make"),
    ]
    seen = {bind.destination: bind for bind in built.spec.filesystem.binds}
    for folder in (base, home, library):
        assert not seen[str(folder)].writable


def test_the_prefix_of_an_interpreter_is_never_the_whole_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os.path, "realpath", lambda path: "/bin/python3")
    program = PythonProgram("web", "app", home=str(tmp_path))
    assert "/" not in {bind.destination for bind in python.binds(program)}


def test_a_root_is_covered_as_little_as_can_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "base_prefix", "/usr")
    monkeypatch.setattr(sys, "prefix", "/usr")
    program = PythonProgram("web", "app", home="/venv", path=("/app",))
    shown = {bind.destination for bind in python.binds(program, str(tmp_path))}
    assert sys.executable in shown
    # Its own folders are in the root; the system's stay the root's.
    assert {"/", "/usr", "/usr/local", "/usr/bin", "/venv", "/app"}.isdisjoint(shown)


def test_a_root_with_an_interpreter_of_its_own_gets_the_server_only(tmp_path: Path) -> None:
    binary = tmp_path / "opt" / "python3"
    binary.parent.mkdir()
    binary.touch(0o755)
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").symlink_to("/opt/python3")
    program = PythonProgram("web", "app", home="/venv", path=("/app",))
    shown = {bind.destination for bind in python.binds(program, str(tmp_path))}
    assert str(Path(python.__file__).parents[1]) in shown
    assert sys.executable not in shown
    assert "/usr/lib" not in shown


@pytest.mark.parametrize(
    ("endpoint", "expected", "variable"),
    [
        (Endpoint.INHERIT, ("/srv/server", "3", "{socket}", "{port}"), None),
        (Endpoint.HANDOFF, ("/srv/server", "3", "{socket}", "{port}"), None),
        (Endpoint.STDIO, ("/srv/server", "{fd}", "{socket}", "{port}"), None),
        (
            Endpoint.BIND,
            ("/srv/server", "{fd}", "/tmp/cloister.socket", "{port}"),
            ("SOCKPATH", "/tmp/cloister.socket"),
        ),
        (Endpoint.PORT, ("/srv/server", "{fd}", "{socket}", "3000"), ("PORT", "3000")),
    ],
)
def test_a_command_is_told_where_its_connections_come(
    endpoint: Endpoint, expected: tuple[str, ...], variable: tuple[str, str] | None
) -> None:
    program = CommandProgram(("/srv/server", "{fd}", "{socket}", "{port}"))
    app = App("blog", program, None, endpoint=endpoint, port=3000, stop_timeout=8.0)
    with contextlib.closing(build_cell(app, IDENTITY, None)) as built:
        command = built.spec.command
        if variable is not None:
            shim = command[: command.index("--") + 1]
            command = command[len(shim) :]
            assert shim[:4] == (sys.executable, "-P", "-m", "cloister.apps.shim")
            assert shim[5] in ("127.0.0.1:3000", "/tmp/cloister.socket")
            assert shim[6:] == ("4", "--")
            seen = {bind.destination for bind in built.spec.filesystem.binds}
            assert any(shim[4].startswith(f"{folder}/") or shim[4] == folder for folder in seen)
        assert command == expected
        variables = {one.name: one.value for one in built.spec.environment}
        given = {name: variables[name] for name in ("SOCKPATH", "PORT") if name in variables}
        assert given == (dict([variable]) if variable else {})


@pytest.mark.parametrize(
    ("endpoint", "kept"), [(Endpoint.BIND, "network"), (Endpoint.PORT, "mount")]
)
def test_a_socket_of_its_own_needs_a_place_of_its_own(endpoint: Endpoint, kept: str) -> None:
    namespaces = replace(Isolation().namespaces, mount=kept == "mount", network=kept == "network")
    app = App(
        "blog",
        CommandProgram(("/srv/server",)),
        None,
        endpoint=endpoint,
        isolation=replace(Isolation(), namespaces=namespaces),
    )
    with pytest.raises(CloisterError, match=f"endpoint `{endpoint.value}` of blog needs"):
        build_cell(app, IDENTITY, None)
