"""What has to hold between the settings of `[apps.NAME.isolation]`. No system calls."""

from cloister.config.app_tables import AppTable
from cloister.config.isolation_tables import IsolationTable
from cloister.config.lines import KeyPath
from cloister.config.problems import Code
from cloister.config.surroundings import Report
from cloister.model.app import App
from cloister.model.id_map import host_root_sentence, map_problems, maps_host_root


def check(app: App, table: AppTable, report: Report) -> None:
    """Reports whatever in the isolation of ``app`` does not go together."""
    path: KeyPath = ("apps", app.name, "isolation")
    isolation = app.isolation
    _sentence(app.name, table.isolation, path, report)
    _maps(app, path, report)
    if not isolation.namespaces.mount:
        _without_mounts(app, table, path, report)
    if not isolation.namespaces.time:
        for key in ("monotonic-offset", "boottime-offset"):
            if getattr(isolation, key.replace("-", "_")) != 0:
                _unused(report, (*path, key), "time")
    if not isolation.namespaces.uts and isolation.hostname is not None:
        _unused(report, (*path, "hostname"), "uts")
    if isolation.rootfs is None:
        given = table.isolation.model_fields_set & {"rootfs_writable", "rootfs_mapped"}
        for name in sorted(given):
            key = name.replace("_", "-")
            report.add(
                Code.UNUSED_SETTING,
                f"`{key}` has no effect without `rootfs`",
                (*path, key),
                hint="remove it, or name the folder, for example rootfs = "
                f'"/srv/images/{app.name}"',
            )


def _sentence(name: str, table: IsolationTable, path: KeyPath, report: Report) -> None:
    if table.allow_host_root not in (None, host_root_sentence(name)):
        report.add(
            Code.HOST_ROOT,
            "`allow-host-root` does not say what it has to say",
            (*path, "allow-host-root"),
            why="whoever takes an application over that is root on the host has the machine",
            hint="remove it; only if that is meant: "
            f'allow-host-root = "{host_root_sentence(name)}"',
        )


def _maps(app: App, path: KeyPath, report: Report) -> None:
    isolation = app.isolation
    for key, mappings, wanted in (
        ("uid-map", isolation.uid_map, isolation.uid),
        ("gid-map", isolation.gid_map, isolation.gid),
    ):
        if not mappings:
            continue
        where = (*path, key)
        if not isolation.namespaces.user:
            _unused(report, where, "user")
            continue
        for what, why, hint in map_problems(mappings):
            report.add(
                Code.BAD_ID_MAP, f"`{key}` cannot be used: {what}", where, why=why, hint=hint
            )
        if wanted is not None and not any(wanted in one.inside_ids for one in mappings):
            report.add(
                Code.BAD_ID_MAP,
                f"`{key}` has no id {wanted} inside",
                where,
                why=f"`{key[:3]}` says that the application has it",
                hint="map it, or choose one of the ids that are mapped",
            )
        if maps_host_root(mappings) and not isolation.host_root:
            report.add(
                Code.HOST_ROOT,
                f"`{key}` maps the host's root into the cell",
                where,
                why="whoever takes the application over, and becomes that id, has the machine",
                hint="begin `outside` at an id that belongs to nobody; only if that is meant: "
                f'allow-host-root = "{host_root_sentence(app.name)}"',
            )


def _without_mounts(app: App, table: AppTable, path: KeyPath, report: Report) -> None:
    above = path[:-1]
    needing: list[tuple[KeyPath, object]] = [
        ((*above, "binds"), app.binds),
        ((*above, "credentials"), app.credentials),
        ((*above, "tls"), app.tls),
        ((*path, "rootfs"), app.isolation.rootfs),
        ((*path, "tmpfs"), app.isolation.temporary),
        ((*path, "automount"), "automount" in table.isolation.model_fields_set),
    ]
    for where, given in needing:
        if given:
            report.add(
                Code.CONFLICTING_KEYS,
                f"`{where[-1]}` needs a mount namespace",
                where,
                why="`namespaces` says that the application sees the host's file system as it is",
                hint="remove it, or leave out `mount = false`",
            )


def _unused(report: Report, where: KeyPath, namespace: str) -> None:
    report.add(
        Code.UNUSED_SETTING,
        f"`{where[-1]}` has no effect without the namespace `{namespace}`",
        where,
        hint=f"remove it, or leave out `{namespace} = false`",
    )
