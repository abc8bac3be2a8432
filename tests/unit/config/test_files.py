"""What the settings name, looked for on a real file system."""

import os
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

import pytest

from cloister.config import source
from cloister.config.load import build
from cloister.config.surroundings import Surroundings
from cloister.model.errors import ConfigError

APP = '[listeners.https]\nlisten = "*:443"\n[apps.a]\nhosts = ["a"]\ndirectory = "app"\n'

Codes = Callable[..., list[str]]


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that everybody may enter, unlike pytest's own."""
    path = Path(tempfile.mkdtemp())
    path.chmod(0o755)
    (path / "app").mkdir(mode=0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def codes(folder: Path) -> Codes:
    """The codes of what is wrong with ``APP`` and further lines."""

    def find(lines: str, *, uid: int = 0) -> list[str]:
        surroundings = Surroundings(PurePosixPath(folder), uid, {}, lambda name: f"/usr/bin/{name}")
        try:
            build(source.parse("cloister.toml", APP + lines), surroundings, check_files=True)
        except ConfigError as error:
            return [problem.code for problem in error.problems]
        return []

    return find


def test_a_program_in_the_folder(folder: Path, codes: Codes) -> None:
    assert codes('command = ["./server"]') == ["missing-file"]
    server = folder / "app" / "server"
    server.touch(0o644)
    assert codes('command = ["./server"]') == ["wrong-file-type"]
    server.chmod(0o755)
    assert codes('command = ["./server"]') == []
    assert codes(f'command = ["{server}"]') == []
    assert codes(f'command = ["{folder}/app"]') == ["wrong-file-type"]


def test_a_program_of_the_system(codes: Codes) -> None:
    assert codes('command = ["env"]') == []
    assert codes('command = ["/usr/bin/env"]') == []


def test_a_program_in_a_bind_is_looked_for_at_its_source(folder: Path, codes: Codes) -> None:
    (folder / "tools").mkdir()
    (folder / "tools" / "server").touch(0o755)
    bind = 'binds = [{ source = "tools", destination = "/srv/tools" }]'
    assert codes(f'command = ["/srv/tools/server"]\n{bind}') == []
    assert codes(f'command = ["/srv/tools/other"]\n{bind}') == ["missing-file"]
    assert codes(f'command = ["{folder}/tools/server"]\n{bind}') == ["missing-file"]


def test_a_bind_in_the_folder_needs_a_place(folder: Path, codes: Codes) -> None:
    (folder / "data").mkdir()
    lines = f'python = "a:b"\nbinds = [{{ source = "data", destination = "{folder}/app/uploads" }}]'
    assert codes(lines) == ["missing-file"]
    (folder / "app" / "uploads").mkdir()
    assert codes(lines) == []
    assert codes('python = "a:b"\nbinds = [{ source = "data", destination = "/data/new" }]') == []


@pytest.mark.parametrize(("mode", "exposed"), [(0o600, False), (0o640, False), (0o604, True)])
def test_who_may_read_a_key(folder: Path, codes: Codes, mode: int, exposed: bool) -> None:
    (folder / "certificate").touch()
    (folder / "key").touch()
    (folder / "key").chmod(mode)
    lines = 'python = "a:b"\ntls = { certificate = "certificate", key = "key" }'
    assert codes(lines) == (["exposed-key"] if exposed else [])


def test_a_folder_that_a_cell_cannot_read(folder: Path, codes: Codes) -> None:
    (folder / "app").chmod(0o750)
    assert codes('python = "a:b"') == ["unreadable-file"]
    # Without root the cell's user is the supervisor's own.
    lines = 'python = "a:b"\n[cloister]\nruntime-directory = "/r"\nstate-directory = "/s"\n'
    assert codes(lines, uid=1000) == []


def test_an_acl_may_let_a_cell_read_it(folder: Path, codes: Codes) -> None:
    (folder / "app").chmod(0o750)
    # acl(5) as the kernel keeps it: version 2, then tag, permissions and id of each entry.
    nobody = 2**32 - 1
    entries = [(0x01, 7, nobody), (0x02, 5, 500_001), (0x04, 5, nobody), (0x10, 5, nobody)]
    acl = struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", *entry) for entry in [*entries, (0x20, 0, nobody)]
    )
    try:
        os.setxattr(folder / "app", "system.posix_acl_access", acl)
    except OSError as error:
        pytest.skip(f"no ACLs on this file system: {error}")
    assert codes('python = "a:b"') == []


def test_a_folder_of_the_cells_own_user(folder: Path, codes: Codes, as_root: None) -> None:
    (folder / "app").chmod(0o700)
    os.chown(folder / "app", 500_001, 500_001)
    assert codes('python = "a:b"') == []


def test_a_credential_that_the_supervisor_cannot_read(folder: Path, codes: Codes) -> None:
    secret = folder / "secret"
    secret.touch(0o000)
    lines = 'python = "a:b"\ncredentials = { secret = "secret" }'
    before = os.geteuid()
    if before == 0:
        assert codes(lines) == []
        os.seteuid(65534)
    try:
        assert codes(lines) == ["unreadable-file"]
    finally:
        os.seteuid(before)


@pytest.mark.parametrize("kind", [Path.mkdir, os.mkfifo])
def test_a_credential_is_a_file(folder: Path, codes: Codes, kind: Callable[[Path], None]) -> None:
    kind(folder / "secret")
    assert codes('python = "a:b"\ncredentials = { secret = "secret" }') == ["wrong-file-type"]


ROOTED = 'isolation = {{ rootfs = "image"{} }}\n'


@pytest.fixture
def image(folder: Path) -> Path:
    """A root with a program and a folder; the host has neither at these places."""
    root = folder / "image"
    (root / "opt" / "own").mkdir(parents=True)
    (root / "opt" / "tool").touch(0o755)
    (root / "opt" / "link").symlink_to("/opt/tool")
    return root


@pytest.mark.usefixtures("image")
def test_with_a_root_of_its_own_everything_is_looked_for_in_that(folder: Path) -> None:
    def codes(lines: str) -> list[str]:
        text = '[listeners.https]\nlisten = "*:443"\n[apps.a]\nhosts = ["a"]\n' + lines
        surroundings = Surroundings(PurePosixPath(folder), 0, {}, lambda name: f"/usr/bin/{name}")
        try:
            build(source.parse("cloister.toml", text), surroundings, check_files=True)
        except ConfigError as error:
            return [problem.code for problem in error.problems]
        return []

    rooted = ROOTED.format("")
    assert codes(rooted + 'directory = "/opt/own"\ncommand = ["/opt/tool"]') == []
    assert codes(rooted + 'directory = "opt/own"\ncommand = ["../tool"]') == []
    assert codes(rooted + 'command = ["/opt/link"]') == []
    assert codes(rooted + 'command = ["/usr/bin/env"]') == ["missing-file"]
    assert codes(rooted + 'directory = "/usr"\ncommand = ["/opt/tool"]') == ["missing-file"]
    assert codes(rooted + 'command = ["/opt/own"]') == ["wrong-file-type"]
    assert codes(rooted + 'python = { app = "a:b", path = ["opt/own"] }') == []
    assert codes(rooted + 'python = { app = "a:b", path = ["/usr"] }') == ["missing-file"]
    assert codes(rooted + 'python = { app = "a:b", home = "/opt/none" }') == ["missing-file"]
    # What is missing in a root is made in memory.
    data = 'binds = [{ source = "app", destination = "/new/place" }]\n'
    assert codes(rooted + data + 'command = ["/opt/tool"]') == []
    bare = ROOTED.format(", automount = { language-deps = false }")
    assert codes(bare + 'python = "a:b"') == ["missing-file"]
    none = rooted.replace("image", "none")
    assert codes(none + 'command = ["/opt/tool"]') == ["missing-file"]


@pytest.mark.parametrize(
    ("root", "code"),
    [
        ("/", "broad-directory"),
        ("/etc", "broad-directory"),
        ("/home/somebody", "broad-directory"),
        ("/var/lib/cloister/x", "overlapping-directory"),
        ("link", "broad-directory"),
    ],
)
def test_a_root_that_shows_too_much(folder: Path, root: str, code: str) -> None:
    (folder / "link").symlink_to("/etc")
    text = f"""
[cloister]
state-directory = "/var/lib/cloister"
[listeners.https]
listen = "*:443"
[apps.a]
hosts = ["a"]
command = ["/bin/sh"]
isolation = {{ rootfs = "{root}" }}
"""
    surroundings = Surroundings(PurePosixPath(folder), 0, {}, lambda name: None)
    with pytest.raises(ConfigError) as caught:
        build(source.parse("cloister.toml", text), surroundings, check_files=True)
    assert code in [problem.code for problem in caught.value.problems]
