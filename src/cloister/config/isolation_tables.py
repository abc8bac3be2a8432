"""`[apps.NAME.isolation]` as it is written: a part of ``syntax``."""

from typing import Annotated

from cloister.config import forms
from cloister.config.forms import Form, Table, setting
from cloister.model.id_map import LARGEST_ID
from cloister.model.isolation import Automount, Isolation, Namespaces, Temporary

LARGEST_OFFSET = 4 * 10**9
"""Seconds, more than a hundred years: the kernel takes no more (time_namespaces(7))."""

_own = Namespaces()
_automount = Automount()
_temporary = Temporary("/")
_isolation = Isolation()

Id = Annotated[int, Form("id")]


class NamespacesTable(Table):
    """`[apps.NAME.isolation.namespaces]`: which namespaces are the cell's own (namespaces(7)).

    Where one is not, the application is in the supervisor's.
    """

    user: forms.Flag = setting(
        "User and group ids. Without it the application has the host's, and only root can "
        "make the other namespaces.",
        example="false",
        default=_own.user,
    )
    mount: forms.Flag = setting(
        "The file system. Without it the application sees the host's whole, and nothing can be "
        "bound, made or handed over in files: `binds`, `credentials` and `tls` do not go with it.",
        example="false",
        default=_own.mount,
    )
    pid: forms.Flag = setting("Processes.", example="false", default=_own.pid)
    ipc: forms.Flag = setting(
        "System V objects and POSIX message queues.", example="false", default=_own.ipc
    )
    uts: forms.Flag = setting("The host name.", example="false", default=_own.uts)
    cgroup: forms.Flag = setting(
        "The view of control groups.", example="false", default=_own.cgroup
    )
    network: forms.Flag = setting(
        "The network: only a loopback interface of its own, which nothing outside reaches.",
        example="false",
        default=_own.network,
    )
    time: forms.Flag = setting(
        "The clocks that count from the machine's start.", example="false", default=_own.time
    )


class IdMappingTable(Table):
    """`[[apps.NAME.isolation.uid-map]]`: a run of ids; `gid-map` is made of the same."""

    inside: Id = setting("The first id in the cell.", example="0", at_least=0, at_most=LARGEST_ID)
    outside: Id = setting(
        "The first id on the host.", example="1000", at_least=0, at_most=LARGEST_ID
    )
    size: Annotated[int, Form("number")] = setting(
        "How many ids follow each other.",
        example="1000",
        default=1,
        at_least=1,
        at_most=LARGEST_ID + 1,
    )


class AutomountTable(Table):
    """`[apps.NAME.isolation.automount]`: what the cell has beside its root."""

    language_deps: forms.Flag = setting(
        "The interpreter of a `python` application with its libraries, read-only.",
        example="false",
        default=_automount.language_dependencies,
    )
    tmpfs: forms.Flag = setting("A private /tmp.", example="false", default=_automount.tmp)
    procfs: forms.Flag = setting(
        "A /proc that shows the cell's own processes and nothing else.",
        example="false",
        default=_automount.proc,
    )
    devfs: forms.Flag = setting(
        "A private /dev with null, zero, full, random, urandom, tty and terminals of its own.",
        example="false",
        default=_automount.dev,
    )


class TmpfsTable(Table):
    """`[[apps.NAME.isolation.tmpfs]]`: one more private file system in memory."""

    path: forms.CellPath = setting("Where the cell sees it.", example='"/var/cache"')
    size: forms.Size = setting("How much it may hold.", example='"64M"', default=_temporary.size)
    mode: forms.DirectoryMode = setting(
        "The permission bits of its top folder, which belongs to the application.",
        example='"0700"',
        default=_temporary.mode,
    )
    executable: forms.Flag = setting(
        "Whether programs in it may be executed.", example="true", default=_temporary.executable
    )


class IsolationTable(Table):
    """`[apps.NAME.isolation]`: what keeps an application and the machine apart."""

    namespaces: NamespacesTable = setting(
        "Which namespaces are the cell's own.", example="{ ipc = false }", default=NamespacesTable()
    )
    init: forms.Flag = setting(
        "Whether process 1 of the cell is Cloister's init, which reaps what ends and forwards "
        "signals. Without it the application is process 1, and the kernel withholds from it "
        "every signal for which it has no handler.",
        example="false",
        default=_isolation.init,
    )
    uid: Id | None = setting(
        "The application's user id in the cell.",
        example="0",
        default=None,
        default_text="what `uid-map` makes of its id on the host; 1000 without a map",
        at_least=0,
        at_most=LARGEST_ID,
    )
    gid: Id | None = setting(
        "The application's group id in the cell.",
        example="0",
        default=None,
        default_text="what `gid-map` makes of its id on the host; 1000 without a map",
        at_least=0,
        at_most=LARGEST_ID,
    )
    uid_map: Annotated[list[IdMappingTable], Form("list of tables")] = setting(
        "The user ids that exist in the cell, at most 340 runs. More than one's own id needs "
        "root, or newuidmap(1) with a line for the supervisor's user in /etc/subuid.",
        example="[{ inside = 0, outside = 1000, size = 1000 }]",
        default=[],
        default_text="the application's own and no other",
    )
    gid_map: Annotated[list[IdMappingTable], Form("list of tables")] = setting(
        "The same for groups, with newgidmap(1) and /etc/subgid.",
        example="[{ inside = 0, outside = 1000, size = 1000 }]",
        default=[],
        default_text="the application's own and no other",
    )
    allow_host_root: forms.Sentence | None = setting(
        "Takes only the sentence `NAME-is-root-on-the-host` with the application's own name: "
        "then its user may be the host's root, mapped into the cell or not. Whoever takes such "
        "an application over has the machine.",
        example='"blog-is-root-on-the-host"',
        default=None,
        default_text="refused",
    )
    rootfs: forms.PathText | None = setting(
        "A folder that is the cell's `/`, instead of an empty one with the host's /usr. "
        "`directory` (by default the root itself), `python` and `command` are looked for in it. "
        "Where the cell needs a place that the folder does not have, it is made in memory, never "
        "on the host.",
        example='"/srv/images/blog"',
        default=None,
        default_text="none",
    )
    rootfs_writable: forms.Flag = setting(
        "Whether what the application may write in `rootfs` by its permissions stays there.",
        example="true",
        default=False,
    )
    rootfs_mapped: forms.Flag = setting(
        "Whether the owners of the files in `rootfs` are ids of the cell, as in an image that "
        "root has unpacked: files of user 0 then belong to the cell's user 0. An id-mapped "
        "mount: it needs root.",
        example="true",
        default=False,
    )
    automount: AutomountTable = setting(
        "What the cell has beside its root.",
        example="{ language-deps = false }",
        default=AutomountTable(),
    )
    tmpfs: Annotated[list[TmpfsTable], Form("list of tables")] = setting(
        "Further private file systems in memory.",
        example='[{ path = "/var/cache", size = "64M" }]',
        default=[],
        default_text="none",
    )
    hostname: forms.AppName | None = setting(
        "The host name in the cell.",
        example='"blog"',
        default=_isolation.hostname,
        default_text="the application's name",
    )
    monotonic_offset: Annotated[int, Form("number")] = setting(
        "Seconds that the cell's monotonic clock is ahead of the machine's.",
        example="86400",
        default=_isolation.monotonic_offset,
        at_least=-LARGEST_OFFSET,
        at_most=LARGEST_OFFSET,
    )
    boottime_offset: Annotated[int, Form("number")] = setting(
        "Seconds that the cell's time since the machine's start is ahead of the machine's.",
        example="86400",
        default=_isolation.boottime_offset,
        at_least=-LARGEST_OFFSET,
        at_most=LARGEST_OFFSET,
    )
