"""``cloister status``: how a status reads."""

import dataclasses

import pytest

from cloister.apps.status import (
    AppStatus,
    DaemonStatus,
    DoorStatus,
    EgressStatus,
    Failure,
    ListenerStatus,
    ProcessStatus,
    ProtectionStatus,
    ResourceStatus,
    Traffic,
)
from cloister.cells.cgroups.app_group import LimitStatus
from cloister.cells.cgroups.counters import Counters, Usage
from cloister.cli.commands.status import _print, ago, size

BLOG = AppStatus(
    name="blog",
    program="python blog:app",
    state="ready",
    since=40.0,
    pid=77,
    restarts=1,
    host_uid=500001,
    hosts=("blog.example", "*.blog.example"),
    socket="/run/cloister/apps/blog/socket",
    message=None,
    failure=None,
    traffic=Traffic(9, 1, 1000, 3 * 1024 * 1024),
    fences=(
        ProtectionStatus("system-calls", True, "profile default"),
        ProtectionStatus("landlock", False, "version 3: files"),
    ),
)
DOOR = DoorStatus(
    state="ready",
    since=40.0,
    pid=8,
    restarts=0,
    host_uid=500000,
    generation=1,
    replacements=1,
    draining=0,
    protections=(
        ProtectionStatus("capabilities", True, ""),
        ProtectionStatus("seccomp", False, "the kernel has none"),
    ),
    workers=2,
    accepted=10,
    active=1,
    log_lines_lost=0,
    accept_pauses=0,
    outcomes={"complete": 8, "refused-name": 1},
    failure=None,
)
STATUS = DaemonStatus(
    version="1.2.3",
    pid=7,
    since=40.0,
    config="/etc/cloister/cloister.toml",
    runtime_directory="/run/cloister",
    authority=None,
    rootless=False,
    listeners=(
        ListenerStatus(
            "https",
            "0.0.0.0:443",
            "by server name",
            10,
            1,
            {"complete": 9},
            bytes_to_target=10,
            bytes_to_client=2048,
        ),
    ),
    apps=(BLOG,),
    door=DOOR,
)


LIMITED = dataclasses.replace(
    BLOG,
    resources=ResourceStatus(
        (
            LimitStatus("memory", "256 MiB", True, "/sys/fs/cgroup/…/memory.max", default=False),
            LimitStatus("io-weight", "50", False, "no disk knows weights", default=False),
        ),
        Usage(1.5, 1 << 20, 2 << 20, None, None, 4),
        Counters(oom_kills=2, pids_refused=7),
    ),
)


def shown(status: DaemonStatus, capsys: pytest.CaptureFixture[str]) -> str:
    _print(status, 100.0)
    return capsys.readouterr().out


def test_everything_on_one_page(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(STATUS, capsys) == (
        "cloister 1.2.3, process 7, /etc/cloister/cloister.toml\n"
        "\n"
        "LISTENER  ADDRESS      ROUTE           ACCEPTED  OPEN  IN    OUT\n"
        "https     0.0.0.0:443  by server name  10        1     10 B  2.0 KiB\n"
        "\n"
        "APP   STATE  SINCE  PID  HOST UID  RESTARTS  CONNECTIONS  OPEN  IN      OUT      HOSTS\n"
        "blog  ready  60 s   77   500001    1         9            1     1000 B  3.0 MiB  "
        "blog.example, *.blog.example\n"
        "\n"
        "fences of blog: system-calls\n"
        "not in force: landlock (version 3: files)\n"
        "\n"
        "DOOR   SINCE  PID  HOST UID  RESTARTS  GENERATION  CONNECTIONS  OPEN\n"
        "ready  60 s   8    500000    0         1           10           1\n"
        "protections of the door: capabilities\n"
        "not in force: seccomp (the kernel has none)\n"
        "connections ended: complete 8, refused-name 1\n"
    )


def test_each_process_of_an_application_that_has_several(
    capsys: pytest.CaptureFixture[str],
) -> None:
    processes = (
        ProcessStatus("ready", 40.0, 77, 0, 3),
        ProcessStatus("starting", 99.0, 78, 2, None),
    )
    app = dataclasses.replace(BLOG, processes=processes)
    text = shown(dataclasses.replace(STATUS, apps=(app,)), capsys)
    assert (
        "\n\nPROCESSES OF  STATE     SINCE  PID  RESTARTS  REQUESTS\n"
        "blog          ready     60 s   77   0         3\n"
        "blog          starting  1 s    78   2         -\n\n"
    ) in text


def test_each_way_out(capsys: pytest.CaptureFixture[str]) -> None:
    egress = (
        EgressStatus("db.internal:5432", "tcp:db:5432", 7, 2, 1, 30, 4096, {"target-timeout": 1}),
        EgressStatus("/run/a.sock", "unix:/run/a", 0, 0, 0, 0, 0, {}),
    )
    app = dataclasses.replace(BLOG, egress=egress)
    text = shown(dataclasses.replace(STATUS, apps=(app,)), capsys)
    assert (
        "\n\nWAYS OUT OF  WAY               TO           CONNECTIONS  OPEN  FAILED  IN       OUT\n"
        "blog         db.internal:5432  tcp:db:5432  7            2     1       4.0 KiB  30 B\n"
        "blog         /run/a.sock       unix:/run/a  0            0     0       0 B      0 B\n\n"
    ) in text


def test_a_failure_with_its_last_lines_made_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    failure = Failure("ended by itself (exit status 1)", 97.0, ("Traceback", "\x1b[2Jgone"))
    app = dataclasses.replace(BLOG, state="backoff", pid=None, failure=failure)
    text = shown(dataclasses.replace(STATUS, apps=(app,)), capsys)
    assert text.endswith(
        "\nblog: ended by itself (exit status 1), 3 s ago\n    Traceback\n    \\x1b[2Jgone\n"
    )


def test_a_door_that_does_not_answer(capsys: pytest.CaptureFixture[str]) -> None:
    door = dataclasses.replace(
        DOOR, state="backoff", pid=None, accepted=None, active=None, outcomes={}, protections=()
    )
    app = dataclasses.replace(BLOG, traffic=None)
    text = shown(dataclasses.replace(STATUS, apps=(app,), door=door), capsys)
    assert "backoff  60 s   -    500000    0         1           -            -\n" in text
    assert "blog  ready  60 s   77   500001    1         -            -     -   -    " in text


def test_a_rootless_one_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(dataclasses.replace(STATUS, rootless=True), capsys)
    assert "rootless: the cells and the door share the user's own id\n" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (86400 * 3, "3 d")],
)
def test_times(seconds: float, text: str) -> None:
    assert ago(1000.0, 1000.0 + seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (1 << 30, "1.0 GiB"),
        (1 << 50, "1024.0 TiB"),
    ],
)
def test_sizes(count: int, text: str) -> None:
    assert size(count) == text


def test_what_is_used_bounded_and_missing(capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(dataclasses.replace(STATUS, apps=(LIMITED,)), capsys)
    assert (
        "APP   CPU     MEMORY   TASKS  READ  WRITTEN  LIMITS\n"
        "blog  1.50 s  1.0 MiB  4      -     -        memory 256 MiB\n"
        "\n"
        "blog: io-weight 50 is not in force: no disk knows weights\n"
        "blog: 2 processes killed for lack of memory, 7 processes refused at pids\n"
    ) in text
