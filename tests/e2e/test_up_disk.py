"""``cloister up`` bounds what applications have on disks, and says what they have. Most of it
needs a kernel with quotas of projects: ``make test-machine`` runs this in one that has them."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.quotas import PLAIN, disk, membership
from tests.support.up import WSGI, Up, open_folder
from tests.support.waiting import wait_until

from cloister.cells.quotas import helper
from cloister.cells.quotas.bounds import DiskUsage
from cloister.cells.quotas.messages import Look, Seen
from cloister.model.errors import CloisterError
from cloister.observe import metrics

MEGABYTE = 1 << 20
PATIENCE = 240.0
"""Seconds: an emulated machine takes many times longer for everything."""
FILLER = """
import errno, os
def fill():
    with open("/data/filling", "ab", buffering=0) as file:
        try:
            while True:
                file.write(os.urandom(1 << 16))
                os.fsync(file.fileno())
        except OSError as error:
            return errno.errorcode[error.errno]
def app(environ, start_response):
    path = environ["PATH_INFO"]
    body = {"/fill": fill, "/empty": lambda: str(os.truncate("/data/filling", 0))}.get(
        path, lambda: "filler")().encode()
    start_response("200 OK", [("content-length", str(len(body)))])
    return [body]
"""


@pytest.fixture
def up() -> Iterator[Up]:
    if os.geteuid() != 0:
        pytest.skip("needs root: only it may set quotas")
    with open_folder() as folder:
        running = Up(folder)
        running.patience = running.ready_timeout = PATIENCE
        try:
            yield running
        finally:
            running.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    with disk("ext4", tmp_path) as point:
        if not look(point).enforced:
            pytest.skip("this kernel has no quotas of projects on ext4")
        yield point


@pytest.fixture
def data(place: Path) -> Path:
    return folder(place / "data")


def folder(path: Path) -> Path:
    """One that every application may write to, though the folders above are closed."""
    path.mkdir()
    path.chmod(0o777)
    (path / "old").write_bytes(b"x" * MEGABYTE)
    return path


def look(path: Path, project: int = 500_001) -> Seen:
    (seen,) = asyncio.run(helper.ask([Look(str(path), project)]))
    assert isinstance(seen, Seen)
    return seen


def bounded(data: Path, name: str = "filler", limit: str = "8M", more: str = "") -> str:
    return (
        f'[[apps.{name}.binds]]\nsource = "{data}"\ndestination = "/data"\nwritable = true\n'
        f'[apps.{name}.limits]\ndisk = "{limit}"\n{more}'
    )


def usage(up: Up, name: str = "filler") -> DiskUsage:
    def found() -> tuple[DiskUsage, ...]:
        resources = up.app(name).resources
        return () if resources is None else resources.disks

    # Not known where the look takes longer than a status may.
    (one,) = wait_until(found, what="what is used", seconds=PATIENCE, interval=0.1)
    return one


def test_it_fills_its_own_bound_and_is_told_of(up: Up, data: Path) -> None:
    up.write({"filler": FILLER, "two": WSGI}, bounded(data))
    up.start("--log-format", "json")
    up.wait_ready()
    resources = up.app("filler").resources
    assert resources is not None
    limits = {one.name: one for one in resources.limits}
    assert limits["disk"].in_force
    assert limits["disk"].value == "8 MiB"
    assert limits["disk-files"].default
    assert limits["disk-files"].value == "1024"
    project = int(limits["disk"].detail.split()[1])
    assert membership(data / "old") == (project, False)
    assert membership(data) == (project, True)
    assert up.curl("filler.example", "/fill") == "EDQUOT"
    found = usage(up)
    assert found.place == str(data)
    assert found.bytes_limit == 8 * MEGABYTE
    assert found.files_limit == 1024
    assert 7 * MEGABYTE < found.bytes <= 8 * MEGABYTE
    assert found.files == 3
    wait_until(
        lambda: any(
            text.startswith(f"has used up its limit `disk` in {data}: ")
            for text in up.said("filler")
        ),
        what="the line in the log",
        seconds=PATIENCE,
        interval=0.1,
    )
    (data.parent / "others").write_bytes(b"x" * 16 * MEGABYTE)
    text = metrics.text(up.status())
    assert f'cloister_app_stored_bytes{{app="filler",place="{data}"}} {found.bytes}' in text
    shown = subprocess.run(
        [sys.executable, "-m", "cloister", "status", up.config],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert f"of 8.0 MiB and 3 of 1024 files on the disk of {data}" in shown
    explained = subprocess.run(
        [sys.executable, "-m", "cloister", "explain", "filler", "--config", up.config],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert f"disk 8 MiB, project {project} on {data.parent}" in explained
    up.curl("filler.example", "/empty")
    assert usage(up).bytes < 2 * MEGABYTE
    assert up.stop() == 0
    # A bound is the tree's, not the process's: it is there before the next start.
    assert look(data, project).usage.bytes_limit == 8 * MEGABYTE


def test_it_follows_the_configuration(up: Up, data: Path) -> None:
    up.write({"filler": FILLER}, bounded(data))
    up.start("--log-format", "json")
    up.wait_ready()
    assert up.curl("filler.example", "/fill") == "EDQUOT"
    up.write({"filler": FILLER}, bounded(data, limit="16M", more="disk-files = 50\n"))
    up.apply()
    wait_until(
        lambda: usage(up).bytes_limit == 16 * MEGABYTE,
        what="the new bound",
        seconds=PATIENCE,
        interval=0.1,
    )
    assert usage(up).files_limit == 50
    up.wait_ready()
    assert up.curl("filler.example", "/fill") == "EDQUOT"
    assert usage(up).bytes > 15 * MEGABYTE
    project = membership(data)[0]
    up.write({"two": WSGI})
    up.apply()
    left = f"has no bound on disks any more: its project {project} is kept for it, and still has"
    wait_until(
        lambda: any(left in text for text in up.said("filler")), what="the leftovers", seconds=60
    )
    assert look(data, project).usage.bytes_limit == 0
    up.write({"two": WSGI, "filler": FILLER}, bounded(data))
    up.apply()
    wait_until(
        lambda: usage(up).bytes_limit == 8 * MEGABYTE,
        what="the old bound",
        seconds=PATIENCE,
        interval=0.1,
    )
    assert membership(data)[0] == project


def test_two_applications_have_two_projects_and_no_folder_in_common(up: Up, data: Path) -> None:
    other = folder(data.parent / "other")
    apps = {"filler": FILLER, "second": FILLER}
    up.write(apps, bounded(data) + bounded(other, "second"))
    up.start("--log-format", "json")
    up.wait_ready()
    assert membership(data)[0] != membership(other)[0]
    assert up.curl("filler.example", "/fill") == "EDQUOT"
    assert usage(up, "second").bytes < 2 * MEGABYTE
    up.write(apps, bounded(data) + bounded(data / "inner", "second"))
    with pytest.raises(CloisterError) as caught:
        up.apply()
    assert "can both write to" in str(vars(caught.value))


def test_a_killed_supervisor_leaves_the_bound_to_the_next(up: Up, data: Path) -> None:
    up.write({"filler": FILLER}, bounded(data))
    up.start("--log-format", "json")
    up.wait_ready()
    pid = up.app("filler").pid
    up.kill()
    up.start("--log-format", "json")
    up.wait_ready()
    assert up.app("filler").pid == pid
    assert usage(up).bytes_limit == 8 * MEGABYTE
    assert up.curl("filler.example", "/fill") == "EDQUOT"
    stored = json.loads((up.state / "projects.json").read_text())
    assert stored["filler"]["places"] == {str(data): data.stat().st_ino}


def test_where_the_disk_keeps_no_bounds_it_does_not_start(up: Up, tmp_path: Path) -> None:
    with disk("ext4", tmp_path, options="", make=PLAIN["ext4"]) as point:
        data = folder(point / "data")
        up.write({"filler": FILLER, "two": WSGI}, bounded(data))
        up.start("--log-format", "json")
        up.wait_ready("two")

        def failed() -> bool:
            failure = up.app("filler").failure
            return failure is not None and "on disks cannot be put into force" in failure.message

        wait_until(failed, what="the refusal", seconds=PATIENCE, interval=0.1)
        assert "quotas of projects are not on" in up.log_path.read_text()
        assert "prjquota" in up.log_path.read_text()
        assert up.curl("two.example") == "wsgi https /"
        up.write({"filler": FILLER, "two": WSGI}, bounded(data, more="required = false\n"))
        up.apply()
        up.wait_ready()
        resources = up.app("filler").resources
        assert resources is not None
        (limit,) = [one for one in resources.limits if one.name == "disk"]
        assert not limit.in_force
        assert resources.disks == ()
        said = "disk 8 MiB is not in force"
        assert any(said in text for text in up.said("filler"))
