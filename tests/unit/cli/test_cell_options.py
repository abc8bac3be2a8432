"""What the options of a cell are read as."""

from pathlib import Path
from typing import Any

import click
import pytest

from cloister.cli import cell_options
from cloister.cli.cell_options import CellOptions
from cloister.model.egress import Egress
from cloister.model.errors import UsageError
from cloister.model.isolation import Bind, IdMapping, Isolation, RootFilesystem, Temporary
from cloister.model.limits import NO_LIMITS, Limits
from cloister.model.route import TcpTarget, UnixPathTarget


def parse(*words: str) -> CellOptions:
    found: list[CellOptions] = []

    @click.command()
    @cell_options.options
    def command(**given: Any) -> None:
        assert cell_options.given_options(given) == bool(words)
        found.append(cell_options.parse(given))

    command.main(list(words), standalone_mode=False)
    return found[0]


def test_nothing_given_is_the_default_cell() -> None:
    assert parse() == CellOptions()


def test_binds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    more = "data:/x:rw,noexec,owner=me,group=us"
    texts = ("data", "./data:/data", "data:/data:rw", "link::ro", more)
    source = str(tmp_path / "data")
    assert parse(*(word for text in texts for word in ("--bind", text))).binds == (
        Bind(source, source),
        Bind(source, "/data"),
        Bind(source, "/data", writable=True),
        Bind(str(tmp_path / "link"), str(tmp_path / "link")),
        Bind(source, "/x", writable=True, executable=False, owner="me", group="us"),
    )


@pytest.mark.parametrize(
    ("option", "text"),
    [
        *(("--bind", text) for text in ("", ":/x", "/usr:/x:rx", "/no/such", "/usr:x")),
        *(("--tmpfs", text) for text in ("x", "/x:size=5", "/x:size=K", "/x:mode=9", "/x:noexec")),
        *(("--uid-map", text) for text in ("1", "1:2:3:4", "a:2", "1:2:0", "-1:2")),
        ("--gid-map", "1:"),
        ("--rootfs", "/x:wr"),
        *(("--env", text) for text in ("A", "=1", "A=\0")),
        *(("--limit", text) for text in ("memory=256", "pids=many", "threads=3", "pids")),
        ("--fence", "profile=none-such"),
        ("--allow-host-root", "yes"),
    ],
)
def test_options_of_another_form(option: str, text: str) -> None:
    with pytest.raises(UsageError):
        parse(option, text)


def test_every_part_of_the_isolation() -> None:
    parsed = parse(
        *("--share", "network", "--share", "time", "--uid", "0", "--gid", "5", "--no-init"),
        *("--uid-map", "0:1000:1000", "--uid-map", "5000:7", "--gid-map", "0:2000:10"),
        *("--rootfs", "/srv/image/:rw,mapped", "--without", "tmpfs", "--hostname", "shop"),
        *("--tmpfs", "/x:size=4k,mode=0700,exec", "--tmpfs", "/y", "--monotonic-offset", "-5"),
        *("--boottime-offset", "60", "--allow-host-root", "run-is-root-on-the-host"),
    ).isolation
    namespaces = parsed.namespaces
    assert (namespaces.network, namespaces.time, namespaces.ipc) == (False, False, True)
    assert (parsed.uid, parsed.gid, parsed.init, parsed.host_root) == (0, 5, False, True)
    assert parsed.uid_map == (IdMapping(0, 1000, 1000), IdMapping(5000, 7))
    assert parsed.gid_map == (IdMapping(0, 2000, 10),)
    assert parsed.rootfs == RootFilesystem("/srv/image", writable=True, mapped=True)
    assert parsed.automount.tmp is False
    assert parsed.automount.proc is True
    assert parsed.temporary == (Temporary("/x", 4096, 0o700, executable=True), Temporary("/y"))
    assert (parsed.hostname, parsed.monotonic_offset, parsed.boottime_offset) == ("shop", -5, 60)
    # Every field of it has an option.
    for name in Isolation.__slots__:
        assert getattr(parsed, name) != getattr(Isolation(), name), name


def test_limits_and_fences_are_settings_of_the_configuration() -> None:
    parsed = parse(
        *("--limit", "memory=256M", "--limit", "pids=20", "--limit", "cpu-max=1.5"),
        *("--fence", 'allow=["ptrace"]', "--fence", "open-files=64"),
    )
    assert (parsed.limits.memory, parsed.limits.pids) == (256 * 2**20, 20)
    assert parsed.limits.cpu_max == 1.5
    assert "ptrace" in parsed.fences.allow
    with pytest.raises(UsageError, match="`open-flies` is no setting") as caught:
        parse("--fence", "open-flies=1")
    assert caught.value.hint == "did you mean `open-files`?"
    words = ("memory=256M", "pids=64", "cpu-max=0.5", "cpus=0-1,3", "swap=0", "required=false")
    limits = parse(*(word for text in words for word in ("--limit", text))).limits
    assert limits == Limits(
        memory=256 << 20, pids=64, cpu_max=0.5, cpus=(0, 1, 3), swap=0, required=False
    )
    assert parse().limits is NO_LIMITS


def test_ways_out_are_elements_of_egress(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir("/")
    text = '{ name = "cache", port = 1, socket = "/run/a", to = "unix:a.sock" }'
    assert parse("--egress", "DB.internal:5432", "--egress", text).egress == (
        Egress("db.internal", 5432, "127.0.1.1", TcpTarget("db.internal", 5432)),
        Egress("cache", 1, "127.0.1.2", UnixPathTarget("/a.sock"), "/run/a"),
    )


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--egress", "a"], "is no target"),
        (["--egress", 'a:1"'], "is no target"),
        (["--egress", "{ to"], "--egress: "),
        (["--egress", "{}, {}"], "--egress: "),
        (["--egress", "a:1", "--egress", "a:1"], "a:1 stands twice"),
        (["--egress", '{ socket = "/x/a", to = "a:1" }', "--bind", "/usr:/x"], "no socket can be"),
        (["--egress", "a:1", "--fence", "profile=strict"], "has no effect"),
    ],
)
def test_ways_out_that_lead_nowhere(words: list[str], what: str) -> None:
    with pytest.raises(UsageError, match=what):
        parse(*words)
