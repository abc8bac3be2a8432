"""What has to hold between settings. No system calls: see ``files`` for the machine's part."""

from collections.abc import Iterator
from pathlib import PurePosixPath

from cloister.config import disk_checks, egress, isolation_checks, lifecycle_checks, signing
from cloister.config.checks_metrics import check_metrics
from cloister.config.lines import KeyPath
from cloister.config.problems import Code
from cloister.config.surroundings import Report
from cloister.config.validation import Checked
from cloister.model.app import App, PythonProgram
from cloister.model.errors import Problem
from cloister.model.listener import Address, Listener, TcpAddress, UnixAddress
from cloister.model.route import ServerNameRoute, TargetRoute, UnixPathTarget
from cloister.model.snapshot import Paths, Snapshot

BROAD = frozenset(
    {"/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib32", "/lib64", "/libx32"}
    | {"/media", "/mnt", "/opt", "/proc", "/root", "/run", "/sbin", "/srv", "/sys", "/tmp"}  # noqa: S108
    | {"/usr", "/usr/local", "/var", "/var/cache", "/var/lib", "/var/log", "/var/run"}
    | {"/var/spool", "/var/tmp"}  # noqa: S108
)
"""Folders that belong to more than one application."""
_KERNEL = ("/proc", "/sys", "/dev")
"""Views of the kernel: a folder there is no application's own."""
_CELL_EXACT = frozenset(
    {"/", "/bin", "/etc", "/lib", "/lib32", "/lib64", "/libx32", "/run", "/sbin"}
    | {"/tmp", "/usr", "/usr/bin", "/usr/lib", "/usr/sbin"}  # noqa: S108
)
"""What every cell has of its own: programs and libraries, the few files of /etc, /tmp."""
_WILDCARDS = frozenset({"0.0.0.0", "::"})
_CELL_BELOW = (*_KERNEL, "/run/credentials", "/run/notify", "/run/signer.sock")


def check(snapshot: Snapshot, checked: Checked, report: Report, *, home: str | None) -> None:
    """Reports whatever in ``snapshot`` does not go together.

    ``home`` is the supervisor's own home folder, where that is known. Checks for something
    missing are left to a later run where the source has problems that may explain it.
    """
    _listeners(snapshot, checked, report)
    _hosts(snapshot, report)
    if _listeners_complete(checked):
        _reachable(snapshot, checked, report)
    _ids(snapshot, report)
    check_metrics(snapshot, checked, report)
    disk_checks.check(snapshot, report)
    signing.check(snapshot, checked, report)
    for app in snapshot.apps:
        lifecycle_checks.check(app, checked.file.apps[app.name], report)
        if app.isolation.rootfs is None:
            _directories(app, snapshot, report, home)
            _python_folders(app, snapshot.paths, report, home)
        else:
            _root(app, app.isolation.rootfs.path, snapshot, report, home)
        _binds(app, snapshot.paths, report, home)
        isolation_checks.check(app, checked.file.apps[app.name], report)
        egress.check(app, report)


def _listeners_complete(checked: Checked) -> bool:
    return checked.complete(("listeners",)) and not any(len(path) < 2 for path in checked.left_out)


def _listeners(snapshot: Snapshot, checked: Checked, report: Report) -> None:
    if not snapshot.listeners and _listeners_complete(checked):
        report.add(
            Code.NO_LISTENERS,
            "there is no listener",
            (),
            why="nothing could ever be reached",
            hint='add [listeners.https] with listen = "*:443"',
        )
    taken = Taken()
    for listener in snapshot.listeners:
        for address, path in _places(listener, checked):
            taken.add(address, path, report)
        _socket_options(listener, checked, report)


def _places(listener: Listener, checked: Checked) -> Iterator[tuple[Address, KeyPath]]:
    """Each address with the element of ``listen`` that it comes from."""
    addresses = iter(listener.addresses)
    table = checked.file.listeners.get(listener.name)
    groups = checked.file.apps[listener.name].listen if table is None else table.listen
    for index, group in enumerate(groups):
        for _ in group:
            kind = "apps" if table is None else "listeners"
            yield next(addresses), (kind, listener.name, "listen", index)


class Taken:
    """Addresses that are listened on, each with where it stands.

    The kernel refuses a second one with EADDRINUSE. A wildcard takes its port on every address
    of its family (ip(7)). The families do not meet, since IPv6 sockets are bound with
    IPV6_V6ONLY. Port 0 is always another one.
    """

    def __init__(self) -> None:
        self._places: dict[Address, KeyPath] = {}
        self._first: dict[tuple[bool, int], TcpAddress] = {}
        """Of each family and port: the wildcard where that is taken, and otherwise any."""

    def add(self, address: Address, path: KeyPath, report: Report) -> None:
        """Takes ``address``, which stands at ``path``, or reports what has it already."""
        other = self._in_the_way(address)
        if other is None:
            self._places[address] = path
            return
        report.add(
            Code.DUPLICATE_ADDRESS,
            f"{address} cannot be listened on twice",
            path,
            why=f"{other} is taken by {report.place(self._places[other])}",
            hint="remove one of them, or take another port",
        )

    def _in_the_way(self, address: Address) -> Address | None:
        if address in self._places:
            return None if isinstance(address, TcpAddress) and address.port == 0 else address
        if not isinstance(address, TcpAddress) or address.port == 0:
            return None
        first = self._first.setdefault((":" in address.host, address.port), address)
        return first if first is not address and {first.host, address.host} & _WILDCARDS else None


def _socket_options(listener: Listener, checked: Checked, report: Report) -> None:
    """Owners and modes are refused where nothing has them: somebody relies on them."""
    if any(isinstance(a, UnixAddress) and not a.abstract for a in listener.addresses):
        return
    table = checked.file.listeners.get(listener.name)
    given = table.socket.model_fields_set - {"backlog"} if table is not None else set()
    for name in sorted(given):
        key = name.replace("_", "-")
        report.add(
            Code.UNUSED_SETTING,
            f"`{key}` has no effect on {listener.addresses[0]}",
            ("listeners", listener.name, "socket", key),
            why="only Unix sockets with a path have an owner, a group and a mode",
            hint='remove it, or listen on a path, for example "unix:/run/example.sock"',
        )


def _hosts(snapshot: Snapshot, report: Report) -> None:
    taken: dict[str, KeyPath] = {}
    for app in snapshot.apps:
        for index, host in enumerate(app.hosts):
            path: KeyPath = ("apps", app.name, "hosts", index)
            if host in taken:
                report.add(
                    Code.DUPLICATE_HOST,
                    f'"{host}" is claimed twice',
                    path,
                    why=f"{report.place(taken[host])} has it already",
                    hint="a name leads to one application: remove one of the two",
                )
            else:
                taken[host] = path


def _reachable(snapshot: Snapshot, checked: Checked, report: Report) -> None:
    by_name = [e.route for e in snapshot.listeners if isinstance(e.route, ServerNameRoute)]
    targets = {
        e.route.target.path
        for e in snapshot.listeners
        if isinstance(e.route, TargetRoute) and isinstance(e.route.target, UnixPathTarget)
    }
    for app in snapshot.apps:
        socket = snapshot.paths.app_socket(app.name)
        if not checked.complete(("apps", app.name)) or socket in targets or not snapshot.listeners:
            continue
        if not app.hosts and not any(route.hosts_directory for route in by_name):
            report.add(
                Code.UNREACHABLE_APP,
                f"nothing leads to the application {app.name}",
                ("apps", app.name),
                why="it has no `hosts`, no listener has a hosts directory, and none has its "
                "socket as target",
                hint='add hosts = ["…"], or a listener with '
                f'route = {{ target = "unix:{socket}" }}',
            )
        elif app.hosts and not by_name:
            report.add(
                Code.UNREACHABLE_APP,
                f"no listener goes by the names of the application {app.name}",
                ("apps", app.name, "hosts"),
                why="every listener sends all its connections to one target",
                hint='add [listeners.https] with listen = "*:443"',
            )


def _ids(snapshot: Snapshot, report: Report) -> None:
    size = snapshot.ids.last - snapshot.ids.first + 1
    needed = len(snapshot.apps) + 1
    if size < needed:
        report.add(
            Code.TOO_FEW_IDS,
            f"{size} ids are too few",
            ("cloister", "ids"),
            why=f"the door and every application need one each, {needed} together",
            hint='take a wider range, for example ids = "500000-565535"',
        )


def _directories(app: App, snapshot: Snapshot, report: Report, home: str | None) -> None:
    path: KeyPath = ("apps", app.name, "directory")
    if app.directory is None:
        return
    if is_broad(app.directory, home):
        report.add(
            Code.BROAD_DIRECTORY,
            f"{app.directory} is too much for the application {app.name}",
            path,
            why="the whole folder becomes readable in its cell",
            hint=f'give it a folder of its own, for example directory = "/srv/{app.name}"',
        )
        return
    if len(snapshot.apps) > 1 and _is_below(snapshot.source, (app.directory,)):
        report.add(
            Code.SHARED_DIRECTORY,
            f"the application {app.name} could read {snapshot.source}",
            path,
            why=f"it lies in its folder, {app.directory}, and holds other applications' settings",
            hint=f'give it a folder of its own, for example directory = "{app.name}"',
        )
    overlap(app.directory, "directory", path, snapshot.paths, report)


def _root(app: App, rootfs: str, snapshot: Snapshot, report: Report, home: str | None) -> None:
    """With a root of its own all that an application names of its own is in that."""
    path: KeyPath = ("apps", app.name, "isolation", "rootfs")
    if is_broad(rootfs, home):
        report.add(
            Code.BROAD_DIRECTORY,
            f"{rootfs} is too much for the application {app.name}",
            path,
            why="the whole folder is the cell's root",
            hint=f'give it a folder of its own, for example rootfs = "/srv/images/{app.name}"',
        )
        return
    if len(snapshot.apps) > 1 and _is_below(snapshot.source, (rootfs,)):
        report.add(
            Code.SHARED_DIRECTORY,
            f"the application {app.name} could read {snapshot.source}",
            path,
            why="it lies in its root, and holds other applications' settings",
            hint="move the configuration",
        )
    overlap(rootfs, "rootfs", path, snapshot.paths, report)


def _python_folders(app: App, paths: Paths, report: Report, home: str | None) -> None:
    if not isinstance(app.program, PythonProgram):
        return
    python: KeyPath = ("apps", app.name, "python")
    found = [(app.program.home, "home", (*python, "home"))] if app.program.home else []
    found += [(one, "path", (*python, "path", at)) for at, one in enumerate(app.program.path)]
    for folder, key, path in found:
        if is_broad(folder, home):
            report.add(
                Code.BROAD_DIRECTORY,
                f"{folder} is too much for the application {app.name}",
                path,
                why="the whole folder becomes readable in its cell",
                hint=f"name the folder that holds nothing but its modules in `{key}`",
            )
        else:
            overlap(folder, key, path, paths, report)


def _binds(app: App, paths: Paths, report: Report, home: str | None) -> None:
    seen: dict[str, KeyPath] = {}
    if app.directory is not None:
        seen[app.directory] = ("apps", app.name, "directory")
    for index, bind in enumerate(app.binds):
        path: KeyPath = ("apps", app.name, "binds", index)
        if is_broad(bind.source, home):
            report.add(
                Code.BROAD_DIRECTORY,
                f"{bind.source} is too much for the application {app.name}",
                (*path, "source"),
                why="the whole folder becomes "
                + ("writable" if bind.writable else "readable")
                + " in its cell",
                hint="name the folder in it that the application needs",
            )
        else:
            overlap(bind.source, "source", (*path, "source"), paths, report)
        if bind.destination in _CELL_EXACT or _is_below(bind.destination, _CELL_BELOW):
            report.add(
                Code.PROTECTED_DESTINATION,
                f"nothing can be put at {bind.destination}",
                (*path, "destination"),
                why="the cell's own programs, devices, processes or credentials are there",
                hint='take another place, for example destination = "/srv/data"',
            )
        if bind.destination in seen:
            report.add(
                Code.DUPLICATE_DESTINATION,
                f"{bind.destination} is taken in the cell already",
                (*path, "destination"),
                why=f"by {report.place(seen[bind.destination])}",
                hint="give each its own destination",
            )
        seen.setdefault(bind.destination, path)


def is_broad(folder: str, home: str | None) -> bool:
    """Whether ``folder``, absolute and normal, belongs to more than one application."""
    whole_home = folder == home or PurePosixPath(folder).parent == PurePosixPath("/home")
    return folder in BROAD or whole_home or _is_below(folder, _KERNEL)


def position(problem: Problem) -> int:
    """By this problems are sorted."""
    return problem.where.line or 0


def overlap(folder: str, key: str, path: KeyPath, paths: Paths, report: Report) -> None:
    """Reports a folder that an application would see, and that holds what is Cloister's."""
    for own, setting in ((paths.runtime, "runtime-directory"), (paths.state, "state-directory")):
        contains = _is_below(own, (folder,))
        if contains or _is_below(folder, (own,)):
            report.add(
                Code.OVERLAPPING_DIRECTORY,
                f"{folder} {'contains' if contains else 'lies in'} Cloister's own {own}",
                path,
                why="the cell could see the sockets or the secrets of others",
                hint=f"set `{key}` to a folder apart, or move `{setting}`",
            )


def _is_below(path: str, folders: tuple[str, ...]) -> bool:
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)
