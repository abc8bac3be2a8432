"""Unit's `isolation` in Cloister's terms."""

from cloister.config.lines import KeyPath
from cloister.config.problems import Code
from cloister.config.surroundings import Report
from cloister.config.unit_dialect.identity import Identity
from cloister.config.unit_dialect.syntax import IsolationObject
from cloister.model.id_map import host_root_sentence, map_problems, maps_host_root
from cloister.model.isolation import Automount, Isolation, Namespaces, RootFilesystem

WHOLE_HOST = RootFilesystem("/", writable=True)
"""Unit's `mount` without a `rootfs`: a table of mounts of one's own, which shows what the host's
does; the user's rights are the only fence."""
AS_IT_IS = Automount(language_dependencies=False, tmp=False, proc=False)
"""Nothing is put over what the host shows but a /dev: the host's devices are closed to a cell."""


def isolation(path: KeyPath, asked: IsolationObject, who: Identity, report: Report) -> Isolation:
    """The isolation of the application at ``path``; what is wrong goes to ``report``."""
    _check(path, asked, who, report)
    own = asked.namespaces
    rootfs, automount = None, Automount()
    if asked.rootfs is not None:
        rootfs = RootFilesystem("/" + asked.rootfs.strip("/"), writable=True)
        automount = Automount(
            language_dependencies=asked.automount.language_deps,
            tmp=asked.automount.tmpfs,
            proc=asked.automount.procfs,
        )
    elif own.mount:
        rootfs, automount = WHOLE_HOST, AS_IT_IS
    return Isolation(
        namespaces=Namespaces(
            user=own.credential,
            # A root of its own takes a table of mounts of its own; Unit would use chroot(2),
            # which whoever is root inside leaves again.
            mount=own.mount or asked.rootfs is not None,
            pid=own.pid,
            ipc=own.ipc,
            uts=own.uname,
            cgroup=own.cgroup,
            network=own.network,
            time=own.time,
        ),
        # With Unit the application itself is process 1.
        init=not own.pid,
        uid=who.uid,
        gid=who.gid,
        uid_map=who.uid_map,
        gid_map=who.gid_map,
        host_root=_host_root(path, asked),
        rootfs=rootfs,
        automount=automount,
    )


def _host_root(path: KeyPath, asked: IsolationObject) -> bool:
    return asked.allow_host_root == host_root_sentence(str(path[-1]))


def _check(path: KeyPath, asked: IsolationObject, who: Identity, report: Report) -> None:
    where = (*path, "isolation")
    if not asked.namespaces.credential:
        for key in ("uidmap", "gidmap"):
            if getattr(asked, key):
                report.add(
                    Code.UNUSED_SETTING,
                    f"`{key}` has no effect without the namespace `credential`",
                    (*where, key),
                    hint='add "credential": true to `namespaces`, or remove the map',
                )
    if asked.rootfs is None and "automount" in asked.model_fields_set:
        report.add(
            Code.UNUSED_SETTING,
            "`automount` has no effect without `rootfs`",
            (*where, "automount"),
            hint="remove it, or name the root",
        )
    if asked.new_privs and "new_privs" in asked.model_fields_set:
        report.add(
            Code.UNSUPPORTED,
            "`new_privs` cannot be true",
            (*where, "new_privs"),
            why="set-user-id programs give no rights in a cell",
            hint="remove it; give the application the rights that it needs by `user` and `group`",
        )
    _check_maps(where, asked, who, report)
    sentence = host_root_sentence(str(path[-1]))
    if asked.allow_host_root not in (None, sentence):
        report.add(
            Code.HOST_ROOT,
            "`allow_host_root` does not say what it has to say",
            (*where, "allow_host_root"),
            why="whoever takes an application over that is root on the host has the machine",
            hint=f'remove it; only if that is meant: "allow_host_root": "{sentence}"',
        )
    if 0 in (who.host_uid, who.host_gid) and not _host_root(path, asked):
        kind, mapped = ("user", "uidmap") if who.host_uid == 0 else ("group", "gidmap")
        report.add(
            Code.HOST_ROOT,
            f"the application would be the host's root {kind}",
            (*where, mapped) if getattr(asked, mapped) else (*path, kind),
            why="whoever takes the application over has the machine",
            hint='name another one, or map it: `namespaces` = {"credential": true} with a '
            "`uidmap` and a `gidmap` that begin at the host's id of somebody else; only if that "
            f'is meant: "allow_host_root": "{sentence}" in `isolation`',
        )


def _check_maps(where: KeyPath, asked: IsolationObject, who: Identity, report: Report) -> None:
    allowed = _host_root(where[:-1], asked)
    for key, mappings in (("uidmap", who.uid_map), ("gidmap", who.gid_map)):
        for what, why, hint in map_problems(mappings):
            report.add(
                Code.BAD_ID_MAP,
                f"`{key}` cannot be used: {what}",
                (*where, key),
                why=why,
                hint=hint,
            )
        if maps_host_root(mappings) and not allowed and 0 not in (who.host_uid, who.host_gid):
            report.add(
                Code.HOST_ROOT,
                f"`{key}` maps the host's root into the cell",
                (*where, key),
                why="whoever takes the application over, and becomes that id, has the machine",
                hint="begin `host` at an id that belongs to nobody",
            )
