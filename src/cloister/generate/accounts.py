"""Folders and accounts that sockets need: tmpfiles.d(5) and sysusers.d(5)."""

from dataclasses import dataclass

from cloister.generate import checks
from cloister.generate.file import Generated, GeneratedFile
from cloister.generate.upstream import plain_socket
from cloister.model.errors import UsageError
from cloister.sockets.plan import SocketPlan


@dataclass(frozen=True, slots=True)
class FolderRequest:
    """The folder of one socket, made at each start of the machine."""

    name: str
    plan: SocketPlan
    user: str = "root"
    """Who may make sockets in it: whoever owns a folder decides what its names stand for."""
    mode: int | None = None
    """``None``: as planned."""


def tmpfiles(request: FolderRequest) -> Generated:
    """``/etc/tmpfiles.d/NAME.conf``. Raises :class:`UsageError`."""
    name = checks.name(request.name, "a file of tmpfiles.d")
    plain_socket(request.plan.path)
    directory = request.plan.directories[-1]
    folder = directory.path
    if folder in {"/", "/run", "/tmp", "/var", "/var/lib", "/etc", "/srv"}:  # noqa: S108 (refused)
        raise UsageError(
            f"{folder} cannot be the socket's own folder",
            why="it belongs to the system, and would get another owner and mode",
            hint=f"put the socket into one of its own: /run/{name}/socket",
        )
    user = checks.account(request.user, "user")
    group = checks.account(directory.group or "root", "group")
    mode = directory.mode if request.mode is None else request.mode
    # `z` would change what is there; `d` makes and corrects the folder and leaves its content.
    text = f"d {folder} {mode:04o} {user} {group} -\n"
    path = f"/etc/tmpfiles.d/{name}.conf"
    return Generated((GeneratedFile(path, text),), (f"systemd-tmpfiles --create {path}",))


@dataclass(frozen=True, slots=True)
class AccountsRequest:
    """A service's user and group, and who else is in the group."""

    name: str
    user: str | None
    group: str
    members: tuple[str, ...] = ()
    """Users that the group lets in, such as the web server's."""


def sysusers(request: AccountsRequest) -> Generated:
    """``/etc/sysusers.d/NAME.conf``. Raises :class:`UsageError`."""
    name = checks.name(request.name, "a file of sysusers.d")
    group = _named(request.group, "group")
    lines = [f"g {group} -"]
    if request.user is not None:
        user = _named(request.user, "user")
        # No colon in the comment: it is a field of passwd(5). `ID:GID` with a group's name
        # makes it the primary one (sysusers.d(5), since systemd 238).
        lines.append(f'u {user} -:{group} "Service {name}" - -')
    lines += [f"m {_named(member, 'user')} {group}" for member in request.members]
    path = f"/etc/sysusers.d/{name}.conf"
    steps = [f"systemd-sysusers {path}"]
    if request.members:
        steps.append(
            "restart what runs as " + ", ".join(request.members) + ": a process has the groups "
            "that it was started with"
        )
    return Generated((GeneratedFile(path, "\n".join([*lines, ""])),), tuple(steps))


def _named(text: str, what: str) -> str:
    if text.isdecimal():
        raise UsageError(f"{text!r} cannot be a {what} here", hint="give it a name")
    return checks.account(text, what)
