"""Files that an application's lines are written to, beside a tenant who means ill."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cloister.apps.logs import Level, LogEvent
from cloister.apps.output_files import OutputKeeper, UnsafeFileError, open_appending
from cloister.model.lifecycle import OutputFiles

TENANT = 54321


def line(text: str, stream: str = "stdout") -> LogEvent:
    return LogEvent("blog", text, fields={"event": "output", "stream": stream, "process": 0})


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose way there nobody else can write, unlike /tmp."""
    base = Path("/var/lib" if os.geteuid() == 0 else Path.home())
    made = Path(subprocess.check_output(["mktemp", "-d", "-p", base], text=True).strip())
    made.chmod(0o755)
    yield made
    subprocess.run(["rm", "-r", made], check=True)


@pytest.fixture
def tenant(folder: Path) -> Path:
    """A folder that somebody else can write."""
    made = folder / "tenant"
    made.mkdir()
    made.chmod(0o777)
    return made


def test_lines_of_each_stream_go_to_their_file(folder: Path) -> None:
    said: list[tuple[str, Level]] = []
    kept: list[str] = []

    class Inner:
        alone = True

        def keep(self, event: LogEvent) -> None:
            kept.append(event.message)

        def close(self) -> None:
            kept.append("closed")

    files = OutputFiles(f"{folder}/out", f"{folder}/errors")
    keeper = OutputKeeper(files, Inner(), lambda text, level: said.append((text, level)))
    assert keeper.alone
    keeper.keep(line("one"))
    keeper.keep(line("two", "stderr"))
    keeper.keep(LogEvent("blog", "ready", fields={"event": "service"}))
    assert (folder / "out").read_text() == "one\n"
    assert (folder / "errors").read_text() == "two\n"
    # logrotate(8): by moving, and by removing.
    (folder / "out").rename(folder / "out.1")
    (folder / "errors").unlink()
    keeper.keep(line("three"))
    keeper.keep(line("four", "stderr"))
    assert (folder / "out").read_text() == "three\n"
    assert (folder / "out.1").read_text() == "one\n"
    assert (folder / "errors").read_text() == "four\n"
    assert (folder / "out").stat().st_mode & 0o777 == 0o644 & ~current_umask()
    keeper.close()
    keeper.close()
    assert kept == ["one", "two", "ready", "three", "four", "closed", "closed"]
    assert said == []


def current_umask() -> int:
    text = Path("/proc/self/status").read_text()
    return int(next(one for one in text.splitlines() if one.startswith("Umask")).split()[1], 8)


def test_a_file_that_cannot_be_written_is_told_once_and_loses_no_other_line(folder: Path) -> None:
    said: list[str] = []
    keeper = OutputKeeper(
        OutputFiles(f"{folder}/none/out"), None, lambda text, level: said.append(text)
    )
    for text in ("lost", "lost too"):
        keeper.keep(line(text))
    assert said == [
        f"cannot write to {folder}/none/out: No such file or directory: `cloister logs` has the "
        "lines"
    ]
    (folder / "none").mkdir()
    keeper.keep(line("found"))
    assert said[1:] == [f"writes to {folder}/none/out again"]
    assert (folder / "none" / "out").read_text() == "found\n"
    keeper.close()


def test_a_link_in_place_of_the_file_is_not_followed(folder: Path, tenant: Path) -> None:
    victim = folder / "victim"
    victim.write_text("")
    for place in (folder / "link", tenant / "link"):
        place.symlink_to(victim)
        with pytest.raises(UnsafeFileError):
            open_appending(str(place))
    (tenant / "dangling").symlink_to(folder / "made-by-root")
    with pytest.raises(UnsafeFileError):
        open_appending(str(tenant / "dangling"))
    assert not (folder / "made-by-root").exists()


def test_a_link_on_the_way_counts_only_where_nobody_else_could_have_made_it(
    folder: Path, tenant: Path
) -> None:
    (folder / "real").mkdir()
    (folder / "absolute").symlink_to(folder / "real")
    (folder / "relative").symlink_to("real/../real")
    for name in ("absolute", "relative"):
        os.close(open_appending(f"{folder}/{name}/out"))
    assert (folder / "real" / "out").exists()
    (tenant / "log").symlink_to(folder / "real")
    with pytest.raises(UnsafeFileError, match="a link in a folder that others can write"):
        open_appending(f"{tenant}/log/out")
    (tenant / "inner").mkdir()
    (tenant / "inner" / "log").symlink_to(folder / "real")
    with pytest.raises(UnsafeFileError, match="a link in a folder that others can write"):
        open_appending(f"{tenant}/inner/log/out")
    with pytest.raises(UnsafeFileError, match=r"\.\."):
        open_appending(f"{tenant}/inner/../../real/out")
    os.close(open_appending(f"{tenant}/inner/out"))


def test_what_is_no_file_of_one_name_takes_nothing(folder: Path, tenant: Path) -> None:
    victim = folder / "victim"
    victim.write_text("")
    os.link(victim, tenant / "second-name")
    os.mkfifo(tenant / "fifo")
    (tenant / "folder").mkdir()
    for name in ("second-name", "fifo", "folder", "folder/"):
        with pytest.raises(OSError, match=r"two names|No such device|directory|no file"):
            open_appending(f"{tenant}/{name}")
    # Not even one with a reader, and without waiting for it.
    reader = os.open(tenant / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(UnsafeFileError):
        open_appending(f"{tenant}/fifo")
    os.close(reader)


def test_in_a_root_no_link_is_followed(folder: Path) -> None:
    root = folder / "image"
    (root / "log").mkdir(parents=True)
    (root / "link").symlink_to("/")
    os.close(open_appending("/log/out", str(root)))
    assert (root / "log" / "out").exists()
    for path in ("/link/out", "/log/../out", "/../out"):
        with pytest.raises(UnsafeFileError, match=r"a link|\.\."):
            open_appending(path, str(root))
    assert not (folder / "out").exists()
    assert not Path("/out").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be a tenant's victim")
def test_a_tenant_who_exchanges_file_and_link_gets_nothing_written(
    folder: Path, tenant: Path
) -> None:
    """The race itself: while lines are written, the file is a link to root's every other time."""
    victim = folder / "victim"
    victim.write_text("")
    victim.chmod(0o600)
    script = f"""
import os, sys
os.setuid({TENANT})
while True:
    for make in (lambda: os.symlink({str(victim)!r}, "x"), lambda: open("x", "w").close()):
        make(); os.rename("x", "out")
"""
    with subprocess.Popen([sys.executable, "-c", script], cwd=tenant) as attack:
        # Whoever simply opens the path is deceived.
        while not victim.read_text():
            with contextlib.suppress(FileNotFoundError), (tenant / "out").open("a") as naive:
                naive.write("evil")
        victim.write_text("")
        keeper = OutputKeeper(OutputFiles(f"{tenant}/out"), None, lambda text, level: None)
        for _ in range(5000):
            keeper.keep(line("evil"))
        keeper.close()
        assert attack.poll() is None
        attack.kill()
    assert victim.read_text() == ""
