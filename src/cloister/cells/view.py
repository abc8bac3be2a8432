"""What a cell sees of the host's file system, and what is made for it."""

import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from cloister.cells.spec import Bind, File, HostName, Hosts, Identity, Link, Text
from cloister.model.egress import Egress
from cloister.model.errors import CloisterError

USER = "app"
"""The application's user and group inside, unless they are root's."""
HOSTS = "/etc/hosts"
HOME = "/tmp"  # noqa: S108 - the cell's own

SYSTEM_FOLDERS = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
"""Links into /usr on a merged system, folders of their own on an older one."""

LIBRARY_FOLDERS = ("/lib", "/lib32", "/lib64", "/libx32")
"""Where programs expect their loader, and it the libraries."""

SYSTEM_FILES = (
    "/etc/alternatives",
    "/etc/ca-certificates",
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/mime.types",
    # Not /etc/pki and /etc/ssl as a whole: private keys lie beside the certificates.
    "/etc/pki/ca-trust/extracted",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/openssl.cnf",
    "/etc/protocols",
    "/etc/services",
    "/etc/ssl/certs",
    "/etc/ssl/openssl.cnf",
)
"""Seen where the host has them."""

OWN_FOLDERS = ("/", "/dev", "/etc", "/proc", "/run", "/sys", "/tmp")  # noqa: S108
"""What the cell has for itself; the host's cannot be seen there."""


def read_only(path: str, *, executable: bool = True, optional: bool = False) -> Bind:
    """``path`` of the host, at the same path in the cell."""
    return Bind(path, path, False, executable, optional, owners=None)


def system_view() -> tuple[list[Bind], list[Link]]:
    """The host's programs and libraries, and what they need of /etc."""
    binds = [read_only("/usr")]
    links = []
    for folder in SYSTEM_FOLDERS:
        path = Path(folder)
        if path.is_symlink():
            links.append(Link(folder, str(path.readlink())))
        elif path.is_dir():
            binds.append(read_only(folder))
    binds += [
        read_only(path, executable=False, optional=True)
        for path in SYSTEM_FILES
        if Path(path).exists()
    ]
    return binds, links


def python_view() -> list[Bind]:
    """The running interpreter with its libraries, and this package.

    Of the module search path everything that the interpreter itself put there: not the
    folder of the script, nor the current one, nor ``PYTHONPATH``.
    """
    package = Path(__file__).absolute().parent.parent
    paths = [sys.base_prefix, sys.prefix, str(package), *follow_links(sys.executable)]
    return [read_only(path) for path in (*paths, *import_folders())]


def import_folders() -> list[str]:
    """Of the module search path what :func:`python_view` says of it."""
    foreign = {"", str(Path.cwd()), str(Path(__file__).absolute().parent.parent.parent)}
    foreign.update(os.environ.get("PYTHONPATH", "").split(os.pathsep))
    if not sys.flags.safe_path and sys.path:
        # The script's folder; with -m and -c the current one.
        foreign.add(sys.path[0])
    return [path for path in sys.path if path not in foreign and Path(path).exists()]


def library_view(rootfs: str) -> list[Bind]:
    """The host's shared libraries, for a root filesystem without any: its own would be
    covered otherwise. Where it has a program loader it has libraries.
    """
    loaders = [entry for entry in Path("/lib64").glob("ld-*") if entry.exists()]
    loaders += [entry for entry in Path("/lib").glob("ld-*") if entry.exists()]
    if any(
        Path(f"{rootfs}{loader}").is_symlink() or Path(f"{rootfs}{loader}").exists()
        for loader in loaders
    ):
        return []
    folders = [folder for folder in LIBRARY_FOLDERS if Path(folder).is_dir()]
    return [
        Bind(os.path.realpath(folder), folder, False, True, False, owners=None)
        for folder in ("/usr/lib", *folders)
    ]


def follow_links(path: str) -> list[str]:
    """``path`` and every link on the way to what it finally names (``venv``, pyenv)."""
    found = [path]
    while len(found) < 40 and Path(found[-1]).is_symlink():
        target = Path(found[-1]).readlink()
        found.append(os.path.normpath(Path(found[-1]).parent / target))
    return found


def user_name(identity: Identity) -> str:
    """What the application's user is called inside."""
    return "root" if identity.uid == 0 else USER


def made_files(hostname: str, identity: Identity, egress: Iterable[Egress] = ()) -> list[File]:
    """The files below /etc that are the cell's own. The names of ``egress`` stand in its
    /etc/hosts."""
    user = user_name(identity)
    group = "root" if identity.gid == 0 else USER
    hosts = "".join(f"{one.address} {one.name}\n" for one in _names(egress))
    texts = {
        "/etc/passwd": f"{user}:x:{identity.uid}:{identity.gid}:{user}:{HOME}:/bin/sh\n"
        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
        "/etc/group": f"{group}:x:{identity.gid}:\nnogroup:x:65534:\n",
        "/etc/hostname": f"{hostname}\n",
        HOSTS: _local_hosts(hostname) + hosts,
        # No name server is reachable; asking one would only take time.
        "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
        "/etc/resolv.conf": "",
    }
    return [File(path, 0o444, Text(text)) for path, text in texts.items()]


def added_hosts(hostname: str, egress: Iterable[Egress]) -> Hosts | None:
    """The names of ``egress`` for a cell that has another /etc/hosts than its own; ``None``
    where there are none."""
    names = _names(egress)
    return Hosts(names, _local_hosts(hostname)) if names else None


def _names(egress: Iterable[Egress]) -> tuple[HostName, ...]:
    addresses = {one.name: one.address for one in egress}
    return tuple(HostName(address, name) for name, address in addresses.items() if name and address)


def _local_hosts(hostname: str) -> str:
    return f"127.0.0.1 localhost {hostname}\n::1 localhost ip6-localhost ip6-loopback\n"


def arrange(binds: Iterable[Bind]) -> list[Bind]:
    """The binds, parents first, without those that another one shows already.

    Of two at one place the later one counts. Raises :class:`CloisterError` for a bind that
    lies in another one whose source has no place for it.
    """
    last = {bind.destination: bind for bind in map(_normal, binds)}
    kept: list[Bind] = []
    for bind in sorted(last.values(), key=lambda bind: PurePosixPath(bind.destination).parts):
        parent = _innermost(bind.destination, kept)
        if parent is None:
            kept.append(bind)
            continue
        place = _through(parent, bind.destination)
        if _same(parent, bind) and place == bind.source:
            continue
        if not parent.optional and not bind.optional and not Path(place).exists():
            raise CloisterError(
                f"nothing can be bound to {bind.destination}",
                why=f"it lies in {parent.destination}, which shows {parent.source}, "
                f"and {place} does not exist",
                hint=f"make an empty {place}, or choose another destination",
            )
        kept.append(bind)
    return kept


def covered(path: str, binds: Sequence[Bind]) -> bool:
    """Whether a bind decides what is at ``path``."""
    return _innermost(path, binds) is not None


def application_folder(app: str, path: str) -> Bind:
    """The bind for an application's folder.

    Raises :class:`CloisterError` where the cell's own folders are in the way.
    """
    normal = os.path.normpath(path)
    if normal in OWN_FOLDERS or normal.startswith(("/proc/", "/sys/", "/dev/")):
        raise CloisterError(
            f"{normal} cannot be the folder of {app}",
            why="it would show far more of the host than the application, "
            "and the cell has a folder of its own there",
            hint="put the application into a folder of its own and name that in `directory`",
        )
    return read_only(normal)


def _normal(bind: Bind) -> Bind:
    return replace(
        bind,
        source=os.path.normpath(bind.source),
        destination=os.path.normpath(bind.destination),
    )


def _innermost(path: str, binds: Sequence[Bind]) -> Bind | None:
    """The bind with the longest destination that is ``path`` or lies above it."""
    above = [bind for bind in binds if PurePosixPath(path).is_relative_to(bind.destination)]
    return max(above, key=lambda bind: len(bind.destination), default=None)


def _through(parent: Bind, destination: str) -> str:
    """Which path of the host ``parent`` shows at ``destination``."""
    inner = PurePosixPath(destination).relative_to(parent.destination)
    return os.path.normpath(PurePosixPath(parent.source) / inner)


def _same(parent: Bind, bind: Bind) -> bool:
    return (
        parent.writable == bind.writable
        and parent.owners == bind.owners
        and (parent.executable or not bind.executable)
    )
