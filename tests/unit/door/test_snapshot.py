"""From the configuration to the door's messages."""

import os
from pathlib import Path

import pytest

from cloister.door import messages
from cloister.door.snapshot import (
    ListeningSocket,
    door_snapshot,
    open_hosts_directories,
    target_kinds,
)
from cloister.model.app import App, CommandProgram
from cloister.model.errors import CloisterError
from cloister.model.isolation import IdRange
from cloister.model.listener import Keepalive, Listener, ListenerLimits, UnixAddress
from cloister.model.route import (
    Balance,
    SendProxy,
    ServerNameRoute,
    SrvTarget,
    Target,
    TargetRoute,
    TcpTarget,
    UnixAbstractTarget,
    UnixPathTarget,
    VsockTarget,
)
from cloister.model.snapshot import DoorOptions, Paths, Snapshot

ANY = (UnixAddress("any", abstract=True),)
KEPT = Keepalive(idle=60, interval=10, probes=6)


def configuration(*listeners: Listener, apps: tuple[App, ...] = (), workers: int | None = 3):
    return Snapshot(
        source="/etc/cloister/cloister.toml",
        paths=Paths("/run/cloister", "/var/lib/cloister"),
        ids=IdRange(500000, 565535),
        door=DoorOptions(workers=workers),
        listeners=listeners,
        apps=apps,
    )


def app(name: str, *hosts: str, send_proxy: SendProxy = SendProxy.NONE) -> App:
    return App(name, CommandProgram(("/bin/x",)), "/srv", hosts=hosts, send_proxy=send_proxy)


def test_listeners_routes_hosts_and_descriptors() -> None:
    snapshot = configuration(
        Listener(
            "https",
            ANY,
            ServerNameRoute("/srv/hosts", hashed=True),
            limits=ListenerLimits(5, 0.25, 1.5, 3, 4, 60),
            accept_proxy=("10.0.0.0/8",),
        ),
        Listener("named", ANY, ServerNameRoute()),
        Listener("php", ANY, TargetRoute(UnixAbstractTarget("php"), SendProxy.V2), keepalive=KEPT),
        apps=(app("blog", "blog.example", "*.blog.example", send_proxy=SendProxy.V1), app("rest")),
    )
    bound = [
        ListeningSocket("https", "0.0.0.0:443", 11),
        ListeningSocket("https", "[::]:443", 12),
        ListeningSocket("named", "unix:/n", 13),
        ListeningSocket("php", "unix:@php", 14),
    ]
    targets = {"blog": UnixPathTarget("/run/blog"), "rest": UnixPathTarget("/run/rest")}
    message, descriptors = door_snapshot(
        snapshot, 7, bound, targets, directories={"/srv/hosts": 15}
    )
    assert descriptors == [11, 15, 12, 13, 14] or sorted(descriptors) == [11, 12, 13, 14, 15]
    at = descriptors.index
    limits = messages.Limits(5, 3, 4, 250, 1500, 60_000)
    directory = messages.HostsDirectory("/srv/hosts", at(15), hashed=True)
    by_directory = messages.ServerNameRoute(directory)
    by_name = messages.ServerNameRoute(None)
    usual = messages.Limits(10_000, 0, 0, 10_000, 5_000, 0)
    proxies = ("10.0.0.0/8",)
    php = messages.TargetRoute(
        messages.UnixAbstract("php"), messages.SendProxy.V2, messages.Balance.ROUND_ROBIN
    )
    kept = messages.Keepalive(60, 10, 6)
    assert message == messages.Snapshot(
        generation=7,
        workers=3,
        log_connections=True,
        listeners=(
            messages.Listener("https", "0.0.0.0:443", at(11), by_directory, proxies, limits, None),
            messages.Listener("https", "[::]:443", at(12), by_directory, proxies, limits, None),
            messages.Listener("named", "unix:/n", at(13), by_name, (), usual, None),
            messages.Listener("php", "unix:@php", at(14), php, (), usual, kept),
        ),
        hosts=tuple(
            messages.HostRoute(
                host,
                "blog",
                messages.UnixPath("/run/blog"),
                messages.SendProxy.V1,
                messages.Delivery.RELAY,
            )
            for host in ("blog.example", "*.blog.example")
        ),
    )
    assert messages.decode(messages.Snapshot, messages.encode(message)) == message


@pytest.mark.parametrize(
    ("target", "written", "kind"),
    [
        (UnixPathTarget("/x"), messages.UnixPath("/x"), set()),
        (UnixAbstractTarget("x"), messages.UnixAbstract("x"), {"abstract"}),
        (TcpTarget("::1", 80), messages.Tcp("::1", 80), {"tcp"}),
        (TcpTarget("a.b", 80), messages.Tcp("a.b", 80), {"tcp", "names"}),
        (SrvTarget("_a._tcp.b"), messages.Srv("_a._tcp.b"), {"tcp", "names"}),
        (VsockTarget(3, 80), messages.Vsock(3, 80), {"vsock"}),
    ],
)
def test_every_kind_of_target(target: Target, written: messages.Target, kind: set[str]) -> None:
    route = TargetRoute(target, balance=Balance.LEAST_CONNECTIONS)
    snapshot = configuration(Listener("x", ANY, route), Listener("y", ANY, ServerNameRoute()))
    message, _ = door_snapshot(snapshot, 1, [ListeningSocket("x", "", 3)], {})
    expected = messages.TargetRoute(
        written, messages.SendProxy.NONE, messages.Balance.LEAST_CONNECTIONS
    )
    assert message.listeners[0].route == expected
    assert target_kinds(snapshot) == kind


def test_one_worker_for_each_processor_unless_told() -> None:
    message, _ = door_snapshot(configuration(workers=None), 1, [], {})
    assert message.workers == len(os.sched_getaffinity(0))


def test_a_tiny_timeout_does_not_become_none() -> None:
    listener = Listener(
        "x", ANY, TargetRoute(UnixPathTarget("/x")), limits=ListenerLimits(0, 0.0001, 0.0)
    )
    message, _ = door_snapshot(configuration(listener), 1, [ListeningSocket("x", "", 3)], {})
    assert message.listeners[0].limits == messages.Limits(0, 0, 0, 1, 1, 0)


def test_hosts_directories_are_open_inside_the_block(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    snapshot = configuration(
        Listener("a", ANY, ServerNameRoute(str(one))),
        Listener("b", ANY, ServerNameRoute(str(two))),
        Listener("c", ANY, ServerNameRoute(str(one))),
        Listener("d", ANY, ServerNameRoute()),
    )
    with open_hosts_directories(snapshot) as directories:
        assert set(directories) == {str(one), str(two)}
        assert os.path.samestat(os.fstat(directories[str(one)]), one.stat())
        kept = list(directories.values())
    for descriptor in kept:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(descriptor)
    two.rmdir()
    before = len(list(Path("/proc/self/fd").iterdir()))
    with (
        pytest.raises(CloisterError, match="two cannot be opened"),
        open_hosts_directories(snapshot),
    ):
        pass
    assert len(list(Path("/proc/self/fd").iterdir())) == before
