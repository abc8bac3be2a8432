"""What nginx's error log tells of reference 001's breaks, with a real nginx, and the command
itself: the log's line goes in, the cause comes out, the printed cure makes nginx answer."""

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.doctor.test_views import covered
from tests.support.broken import Corner
from tests.support.nginx_front import Front
from tests.support.packages import need

from cloister.cli.main import main

Json = dict[str, Any]


def doctor(*arguments: str) -> list[Json]:
    """Runs the command as a user does, but in this process."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.chdir("/"):
        status = main(["doctor", "--json", *arguments])
    assert status in (0, 1), printed.getvalue()
    diagnoses: list[Json] = json.loads(printed.getvalue())
    assert (status == 0) == all(
        not one["findings"] and one["outcome"] != "refused" for one in diagnoses
    )
    return diagnoses


def explained(line: str) -> list[str]:
    """The codes for a line of the log; runs every cure."""
    (diagnosis,) = doctor("--log", line)
    for finding in diagnosis["findings"]:
        assert finding["cure"] is not None, finding
        subprocess.run(["sh", "-c", finding["cure"]], check=True, timeout=30)
    return [finding["code"] for finding in diagnosis["findings"]]


def proxied(path: Path | str) -> str:
    return f"proxy_pass http://unix:{path};"


@pytest.fixture
def path(corner: Corner) -> Path:
    return corner.directory("run") / "app.sock"


def test_a_socket_left_closed_by_its_server(corner: Corner, path: Path) -> None:
    """uvicorn 337, romm 3809, quart 65: 0755."""
    corner.serve(path, umask="022")
    front = Front(corner, proxied(path))
    line = front.complaint()
    assert "(13: Permission denied)" in line
    assert explained(line) == ["socket-mode"]
    front.wait_until_served()
    assert doctor("--log", line)[0]["findings"] == []


def test_the_group_of_the_server(corner: Corner, path: Path) -> None:
    corner.serve(path)
    front = Front(corner, proxied(path))
    assert explained(front.complaint()) == ["socket-group"]
    front.wait_until_served()


def test_a_home_directory_and_a_closed_socket_in_it(corner: Corner) -> None:
    """bepasty 277 and gunicorn 160 at once; nginx tells of "Permission denied" only."""
    path = corner.directory("home/alice", mode=0o700) / "app.sock"
    corner.serve(path, umask="077")
    front = Front(corner, proxied(path))
    assert explained(front.complaint()) == ["no-execute-bit", "socket-mode"]
    front.wait_until_served()


def test_a_private_tmp(corner: Corner) -> None:
    """Reference 001's second surprise; gunicorn 2399."""
    private = corner.directory("systemd-private-0123-nginx.service-abcd/tmp", uid=0, mode=0o777)
    path = Path(tempfile.mktemp(prefix="printerfacts-", suffix=".sock", dir="/tmp"))
    try:
        corner.serve(path, umask="000")
        front = Front(corner, proxied(path), before=covered("/tmp", private))
        line = front.complaint()
        assert "(2: No such file or directory)" in line
        assert explained(line) == ["private-tmp"]
        front.wait_until_served()
    finally:
        path.unlink(missing_ok=True)


def test_a_wrong_path_and_the_colon_after_it(corner: Corner, path: Path) -> None:
    """gunicorn 1452: upstream: "http://unix:/…/ap.sock:/"."""
    corner.serve(path, umask="000")
    front = Front(corner, proxied(f"{path.parent}/ap.sock:/"))
    line = front.complaint()
    assert "ap.sock:/" in line
    (diagnosis,) = doctor("--log", line)
    assert diagnosis["target"] == f"unix:{path.parent}/ap.sock"
    assert "`:/`" in diagnosis["findings"][0]["why"]
    assert explained(line) == ["no-socket"]
    front.wait_until_served()


def test_the_socket_of_a_dead_server(corner: Corner, path: Path) -> None:
    server = corner.serve(path, umask="000")
    server.kill()
    server.wait()
    front = Front(corner, proxied(path))
    line = front.complaint()
    assert "(111: Connection refused)" in line
    assert explained(line) == ["stale-socket"]
    corner.serve(path, umask="000")
    front.wait_until_served()


def test_a_uri_in_an_upstream(corner: Corner, path: Path) -> None:
    corner.serve(path, umask="000")
    upstream = f"upstream app {{\n    server unix:{path}/api;\n}}"
    front = Front(corner, "proxy_pass http://app;", outside=upstream)
    assert explained(front.complaint()) == ["nginx-path"]
    front.wait_until_served()


def test_a_uri_behind_the_path_without_its_colon(corner: Corner, path: Path) -> None:
    corner.serve(path, umask="000")
    front = Front(corner, proxied(f"{path}/api"))
    assert explained(front.complaint()) == ["nginx-path"]
    assert f"unix:{path}:/api;" in front.site.read_text()
    front.wait_until_served()


@pytest.mark.parametrize(
    ("location", "outside"),
    [
        ("proxy_pass unix:{path};", ""),
        ("proxy_pass http://{path};", ""),
        ("proxy_pass http://app;", "upstream app {{ server http://unix:{path}; }}"),
        ("proxy_pass http://app;", "upstream app {{ server {path}; }}"),
    ],
)
def test_a_form_that_nginx_refuses(corner: Corner, path: Path, location: str, outside: str) -> None:
    corner.serve(path, umask="000")
    front = Front(
        corner, location.format(path=path), outside=outside.format(path=path), start=False
    )
    refused = subprocess.run(
        ["nginx", "-t", "-c", front.config], capture_output=True, text=True, check=False
    )
    assert refused.returncode != 0
    (diagnosis,) = doctor("--log", refused.stderr)
    (finding,) = diagnosis["findings"]
    assert finding["code"] == "nginx-syntax"
    edit = finding["cure"].partition(" && ")[0]  # what follows reloads the system's own nginx
    subprocess.run(["sh", "-c", edit], check=True)
    front.start()
    front.wait_until_served()


def test_a_path_that_nginx_finds_too_long(corner: Corner) -> None:
    folder = corner.directory("x" * 60 + "/" + "y" * 60)
    corner.serve("app.sock", umask="000", before=["env", f"--chdir={folder}"])
    front = Front(corner, proxied(f"{folder}/app.sock"), start=False)
    refused = subprocess.run(
        ["nginx", "-t", "-c", front.config], capture_output=True, text=True, check=False
    )
    (diagnosis,) = doctor("--log", refused.stderr)
    (finding,) = diagnosis["findings"]
    assert finding["code"] == "path-too-long"
    link, _, rest = finding["cure"].partition(" && ")
    short = link.split()[-1]
    try:
        run(["sh", "-c", f"{link} && {rest.partition(' && ')[0]}"])
        front.start()
        front.wait_until_served()
    finally:
        Path(short).unlink()


def test_a_group_that_the_workers_do_not_have_yet(corner: Corner, path: Path) -> None:
    name = f"cl-doctor-{os.getpid()}"
    run(["useradd", "--system", "--user-group", "--no-create-home", name])
    run(["groupadd", "--system", f"{name}-g"])
    try:
        shared = int(Path("/etc/group").read_text().split(f"\n{name}-g:x:")[1].split(":")[0])
        corner.serve(path, gid=shared)
        front = Front(corner, proxied(path), user=name)
        run(["usermod", "--append", "--groups", f"{name}-g", name])
        assert explained(front.complaint()) == ["group-not-in-process"]
        front.wait_until_served()
        assert front.master is not None
        front.master.terminate()
        front.master.wait(10)
    finally:
        run(["groupdel", f"{name}-g"])
        run(["userdel", name])


def run(command: Sequence[str]) -> None:
    subprocess.run(command, check=True)


def test_tls_to_a_server_without_it(corner: Corner, path: Path) -> None:
    corner.serve(path, umask="000")
    front = Front(corner, f"proxy_pass https://unix:{path};")
    assert explained(front.complaint()) == ["tls-to-plain"]
    front.wait_until_served()


def test_a_denying_list_on_the_socket(corner: Corner, path: Path) -> None:
    need("acl")
    corner.serve(path, umask="000")
    run(["setfacl", "--modify", "u:www-data:---", str(path)])
    front = Front(corner, proxied(path))
    assert explained(front.complaint()) == ["acl-denies"]
    front.wait_until_served()


def test_all_upstreams_of_the_running_nginx(corner: Corner, path: Path) -> None:
    """Without a target; two of three fail, each for its own reason."""
    good, closed = path.with_name("good.sock"), path.with_name("closed.sock")
    corner.serve(good, umask="000")
    corner.serve(closed, umask="022")
    outside = "\n".join(
        f"upstream u{number} {{ server unix:{one}; }}"
        for number, one in enumerate((good, closed, path.with_name("gone")))
    )
    front = Front(corner, "proxy_pass http://u0;", outside=outside)
    # As this nginx's worker: another nginx may run on this machine.
    asked = doctor("--as", str(front.worker()))
    found = {one["target"]: [f["code"] for f in one["findings"]] for one in asked}
    assert found[f"unix:{good}"] == []
    assert found[f"unix:{closed}"] == ["socket-mode"]
    assert found[f"unix:{path.with_name('gone')}"] == ["no-socket"]
    assert front.status() == 200


def test_a_whole_log(corner: Corner, path: Path) -> None:
    """A file: the newest line of each upstream is explained, once."""
    corner.serve(path, umask="022")
    front = Front(corner, proxied(path))
    for _ in range(3):
        front.complaint()
    (diagnosis,) = doctor("--log", str(front.folder / "error.log"))
    assert [finding["code"] for finding in diagnosis["findings"]] == ["socket-mode"]


def test_text_for_people(corner: Corner, path: Path) -> None:
    corner.serve(path, umask="022")
    front = Front(corner, proxied(path))
    command = [sys.executable, "-m", "cloister", "doctor", "--log", front.complaint()]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 1
    assert "socket-mode (certain)" in done.stdout
    assert f"chgrp www-data {path} && chmod 0660 {path}" in done.stdout
    assert "13: Permission denied" in done.stdout
