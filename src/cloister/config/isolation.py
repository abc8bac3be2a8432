"""From the tables of `[apps.NAME.isolation]` to a value. No system calls."""

from collections.abc import Callable

from cloister.config.isolation_tables import IdMappingTable, IsolationTable
from cloister.model.id_map import host_root_sentence
from cloister.model.isolation import (
    Automount,
    IdMap,
    IdMapping,
    Isolation,
    Namespaces,
    RootFilesystem,
    Temporary,
)


def resolve(name: str, table: IsolationTable, absolute: Callable[[str], str]) -> Isolation:
    """The isolation of the application ``name``; ``absolute`` completes a path of the host."""
    own = table.namespaces
    rootfs = None
    if table.rootfs is not None:
        path = absolute(table.rootfs)
        rootfs = RootFilesystem(path, table.rootfs_writable, table.rootfs_mapped)
    return Isolation(
        namespaces=Namespaces(
            user=own.user,
            mount=own.mount,
            pid=own.pid,
            ipc=own.ipc,
            uts=own.uts,
            cgroup=own.cgroup,
            network=own.network,
            time=own.time,
        ),
        init=table.init,
        uid=table.uid,
        gid=table.gid,
        uid_map=_map(table.uid_map),
        gid_map=_map(table.gid_map),
        host_root=table.allow_host_root == host_root_sentence(name),
        rootfs=rootfs,
        automount=Automount(
            language_dependencies=table.automount.language_deps,
            tmp=table.automount.tmpfs,
            proc=table.automount.procfs,
            dev=table.automount.devfs,
        ),
        temporary=tuple(
            Temporary(one.path, one.size, one.mode, one.executable) for one in table.tmpfs
        ),
        hostname=table.hostname,
        monotonic_offset=table.monotonic_offset,
        boottime_offset=table.boottime_offset,
    )


def _map(tables: list[IdMappingTable]) -> IdMap:
    return tuple(IdMapping(one.inside, one.outside, one.size) for one in tables)
