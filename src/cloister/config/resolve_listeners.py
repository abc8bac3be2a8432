"""From the tables of listeners to listeners, routes and targets."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

from cloister.config.lines import KeyPath
from cloister.config.listener_tables import KeepaliveTable, ListenerTable, RouteTable
from cloister.config.problems import Code
from cloister.config.surroundings import Report
from cloister.config.syntax import File
from cloister.config.validation import Checked
from cloister.model.listener import (
    Address,
    Keepalive,
    Listener,
    ListenerLimits,
    SocketOptions,
    UnixAddress,
)
from cloister.model.route import (
    Balance,
    Route,
    SendProxy,
    ServerNameRoute,
    Target,
    TargetRoute,
    UnixPathTarget,
)
from cloister.model.snapshot import Paths


class ListenerResolver:
    """Reports what is wrong to ``report``; ``absolute`` completes a path of the host."""

    def __init__(self, checked: Checked, absolute: Callable[[str], str], report: Report) -> None:
        self._checked = checked
        self._absolute = absolute
        self._report = report

    def listener(self, name: str, table: ListenerTable) -> Listener:
        """One of the file's own."""
        socket = table.socket
        return Listener(
            name=name,
            addresses=self.addresses(table.listen),
            route=self._route(("listeners", name, "route"), table.route or RouteTable()),
            socket=SocketOptions(
                owner=socket.owner,
                group=socket.group,
                mode=socket.mode,
                directory_mode=socket.directory_mode,
                backlog=socket.backlog,
            ),
            limits=ListenerLimits(
                connections=table.limits.connections,
                connections_per_client=table.limits.connections_per_client,
                connections_per_host=table.limits.connections_per_host,
                hello_timeout=table.limits.hello_timeout,
                connect_timeout=table.limits.connect_timeout,
                idle_timeout=table.limits.idle_timeout,
            ),
            accept_proxy=tuple(table.accept_proxy),
            keepalive=self._keepalive(table.keepalive),
        )

    def app_listeners(self, file: File, paths: Paths) -> Iterator[Listener]:
        """Those that applications have of their own, by their names."""
        for name, table in file.apps.items():
            if not table.listen:
                continue
            path: KeyPath = ("apps", name, "listen")
            if name in file.listeners:
                self._report.add(
                    Code.CONFLICTING_KEYS,
                    f"there is a listener called {name} already",
                    path,
                    why="`listen` of an application makes a listener of the application's name",
                    hint="give that listener another name",
                )
            if table.endpoint == "handoff":
                self._report.add(
                    Code.CONFLICTING_KEYS,
                    '`listen` does not go with `endpoint = "handoff"`',
                    path,
                    why="a connection is handed off by its TLS server name",
                    hint="give it `hosts`, or another `endpoint`",
                )
            yield Listener(
                name=name,
                addresses=self.addresses(table.listen),
                route=TargetRoute(
                    UnixPathTarget(paths.app_socket(name)), SendProxy(table.send_proxy)
                ),
            )

    def _keepalive(self, table: KeepaliveTable | None) -> Keepalive | None:
        if table is None:
            return None
        # The kernel counts whole seconds; a fraction waits for the next one.
        return Keepalive(math.ceil(table.idle), math.ceil(table.interval), table.probes)

    def addresses(self, groups: list[tuple[Address, ...]]) -> tuple[Address, ...]:
        """The single ones."""
        return tuple(self._address(address) for group in groups for address in group)

    def _address(self, address: Address) -> Address:
        if isinstance(address, UnixAddress) and not address.abstract:
            return replace(address, path=self._absolute(address.path))
        return address

    def _route(self, path: KeyPath, table: RouteTable) -> Route:
        if table.target is None:
            if table.balance is not None and self._checked.complete(path):
                self._report.add(
                    Code.UNUSED_SETTING,
                    "`balance` has no effect without `target`",
                    (*path, "balance"),
                    why="an application and a host have one socket each",
                    hint="remove it",
                )
            if table.send_proxy is not None and self._checked.complete(path):
                self._report.add(
                    Code.UNUSED_SETTING,
                    "`send-proxy` has no effect without `target`",
                    (*path, "send-proxy"),
                    why="with server names each application and each host says for itself",
                    hint="set it in [apps.NAME], or put an empty file `send-proxy-v1` or "
                    "`send-proxy-v2` into the host's folder",
                )
            if table.hosts is None:
                self._hashed_for_nothing(path, table)
                return ServerNameRoute()
            return ServerNameRoute(self._absolute(table.hosts), hashed=bool(table.hashed))
        if table.hosts is not None:
            self._report.add(
                Code.CONFLICTING_KEYS,
                "`hosts` and `target` exclude each other",
                (*path, "target"),
                why="a listener sends its connections to one target, or each by its server name",
                hint="remove one of them, or make two listeners",
            )
        self._hashed_for_nothing(path, table)
        return TargetRoute(
            self.target(table.target),
            SendProxy(table.send_proxy or "none"),
            Balance(table.balance or "round-robin"),
        )

    def _hashed_for_nothing(self, path: KeyPath, table: RouteTable) -> None:
        if table.hashed is not None and table.hosts is None and self._checked.complete(path):
            self._report.add(
                Code.UNUSED_SETTING,
                "`hashed` has no effect without `hosts`",
                (*path, "hashed"),
                why="it says how the folders of a hosts directory are called",
                hint='name the directory: hosts = "/srv/hosts"',
            )

    def target(self, target: Target) -> Target:
        """The same with a whole path."""
        if isinstance(target, UnixPathTarget):
            return UnixPathTarget(self._absolute(target.path))
        return target
