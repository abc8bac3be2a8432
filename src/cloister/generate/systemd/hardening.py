"""The fences that systemd puts around a door, beside those that it puts up itself.

What each setting does: systemd.exec(5), systemd.resource-control(5). ``systemd-analyze
security`` measures the result; the tests hold it to at most 1.5.
"""

from pathlib import PurePosixPath

from cloister.generate.systemd import syntax
from cloister.generate.target import Reach, RelayTarget
from cloister.model.errors import UsageError

ALWAYS = (
    "UMask=0077",
    "CapabilityBoundingSet=",
    "AmbientCapabilities=",
    "NoNewPrivileges=yes",
    "KeyringMode=private",
    "LockPersonality=yes",
    "MemoryDenyWriteExecute=yes",
    "PrivateDevices=yes",
    "PrivateIPC=yes",
    "PrivateMounts=yes",
    "PrivateTmp=yes",
    "ProcSubset=pid",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHome=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "ProtectProc=invisible",
    "RemoveIPC=yes",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "SystemCallArchitectures=native",
    "SystemCallErrorNumber=EPERM",
    # seccomp(2) is in no group, and the door puts a closer filter on itself.
    "SystemCallFilter=@system-service seccomp",
    "SystemCallFilter=~@privileged @resources",
)
"""For every door, whatever it reaches."""

RELAY = ("PrivateUsers=yes", "ProtectSystem=strict", "RestrictSUIDSGID=yes")
"""For relays. A door with a hosts directory has reasons against each: the first shows
everybody's files as nobody's, and links are followed by their owners; the last has the kernel
deny openat2(2), whose mode a filter cannot read, and every lookup with it. The second is a
mount over / itself, which would take the place of the one in :func:`view`."""

_HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 (not used, but refused)
"""What ``ProtectHome=`` and ``PrivateTmp=`` hide."""


def visible(path: str, what: str) -> str:
    """``path``, unless the service would not see it."""
    for folder in _HIDDEN:
        if path == folder or path.startswith(f"{folder}/"):
            raise UsageError(
                f"{path} cannot be {what}",
                why=f"the service does not see {folder} (ProtectHome=, PrivateTmp=)",
                hint="put it elsewhere, for example below /run, /srv or /usr/local",
            )
    return path


def network(target: RelayTarget) -> list[str]:
    """What the service may use of the network, for one target.

    The listening socket is systemd's: it was made outside of the fences, and what is accepted
    from it works inside them, whatever its family.
    """
    match target.reach:
        case Reach.UNIX_PATH:
            return [*_families(), "PrivateNetwork=yes", "IPAddressDeny=any"]
        case Reach.UNIX_ABSTRACT:
            # Abstract names belong to a network namespace: in an empty one it has none.
            return [*_families(), "IPAddressDeny=any"]
        case Reach.ADDRESS:
            assert target.address is not None  # noqa: S101 (Reach says so)
            family = "AF_INET6" if target.address.version == 6 else "AF_INET"
            return [
                *_families(family),
                "IPAddressDeny=any",
                f"IPAddressAllow={target.address}",
            ]
        case Reach.NAME:
            return _families("AF_INET", "AF_INET6")
        case Reach.VSOCK:
            return [*_families("AF_VSOCK"), "IPAddressDeny=any"]


def _families(*beside: str) -> list[str]:
    """Only these and Unix sockets, which notify systemd; the template's are taken back."""
    return ["RestrictAddressFamilies=", " ".join(["RestrictAddressFamilies=AF_UNIX", *beside])]


def identity(user: str | None, groups: tuple[str, ...]) -> list[str]:
    """The service's user: one made for as long as it runs, or a named one."""
    lines = ["DynamicUser=yes"] if user is None else [f"User={user}"]
    return [*lines, *(f"SupplementaryGroups={group}" for group in groups)]


def view(program: str, hosts: str) -> list[str]:
    """A root with nothing in it but the program's folder, its libraries and the hosts
    directory."""
    folder = str(PurePosixPath(program).parent)
    if folder == "/":
        raise UsageError(
            f"{program} cannot be the program",
            why="the service sees the whole folder of its program",
            hint="put it into a folder, for example /usr/local/bin",
        )
    return [
        "TemporaryFileSystem=/:ro",
        "BindReadOnlyPaths=/usr/lib -/usr/lib64 -/lib -/lib64 -/etc/ld.so.cache",
        # For ExecReload=, inside the fences as well.
        "BindReadOnlyPaths=/usr/bin/kill",
        # How many CPUs there are; where systemd listens for notifications.
        "BindReadOnlyPaths=/sys/devices/system/cpu /run/systemd/notify",
        # The folder: a package's upgrade renames a new file over the old one, and a mount of
        # the file itself would go on to show the old one to whoever reloads.
        f"BindReadOnlyPaths={syntax.path_word(folder, 'the folder of the program')}",
        f"BindReadOnlyPaths={syntax.path_word(hosts, 'the hosts directory')}",
    ]
