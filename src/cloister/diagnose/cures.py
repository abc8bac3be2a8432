"""Commands for a root shell, quoted so that they can be run as printed."""

import shlex

from cloister.diagnose.facts import Credentials, Limit, Process, Step
from cloister.diagnose.probes.protocol import Probes
from cloister.model.listener import SocketOptions

quote = shlex.quote


def name_of(uid: int, probes: Probes) -> str:
    """A user as commands take him: by name where he has one."""
    account = probes.account(uid)
    return account[0] if account else str(uid)


def describe(who: Credentials, probes: Probes) -> str:
    """A user and his groups, for people."""
    groups = sorted({probes.group_name(gid) for gid in who.all_groups})
    return f"user {name_of(who.uid, probes)} (groups {', '.join(groups)})"


def restart(process: Process, probes: Probes) -> str:
    """Starts the program afresh: through its service manager where it has one, nginx through
    its master, and anything else as it was started."""
    master = nginx_master(process, probes)
    if process.unit is not None:
        return f"systemctl restart {quote(process.unit)}"
    if master is not None:
        return f"kill -HUP {master.pid}"
    who = process.credentials
    account = probes.account(who.uid)
    groups = "--init-groups" if account else _groups(who)
    become = f"setpriv --reuid={who.uid} --regid={who.gid} {groups}"
    start = f"setsid --fork env --chdir={quote(process.folder or '/')} {become}"
    return f"{end(process)}; {start} -- {shlex.join(process.command)}"


def set_limit(process: Process, option: str, wanted: int, limit: Limit) -> str:
    """Raises a resource limit of a running process, as its own user where that is enough:
    raising the soft one up to the hard one takes no privilege (prlimit(2))."""
    enough = limit.hard < 0 or wanted <= limit.hard
    bounds = f"{wanted}:" if enough else f"{wanted}:{wanted}"
    command = f"prlimit --pid {process.pid} --{option}={bounds}"
    who = process.credentials
    if not enough or who.uid == 0:
        return command
    return f"setpriv --reuid={who.uid} --regid={who.gid} --clear-groups {command}"


def restore(step: Step, planned: SocketOptions, probes: Probes) -> str | None:
    """Gives a socket the owner, group and mode that it is made with; ``None`` where it has
    them."""
    path = quote(step.path)
    commands = []
    if planned.owner is not None and planned.owner not in (
        str(step.uid),
        name_of(step.uid, probes),
    ):
        commands.append(f"chown {quote(planned.owner)} {path}")
    if planned.group is not None and planned.group not in (
        str(step.gid),
        probes.group_name(step.gid),
    ):
        commands.append(f"chgrp {quote(planned.group)} {path}")
    if step.mode != planned.mode:
        commands.append(f"chmod {planned.mode:04o} {path}")
    return " && ".join(commands) or None


def end(process: Process) -> str:
    """Ends a process, and waits until it has ended."""
    return f"kill {process.pid}; timeout 10 tail --pid={process.pid} --follow /dev/null"


def _groups(who: Credentials) -> str:
    if not who.groups:
        return "--clear-groups"
    return f"--groups={','.join(str(group) for group in sorted(who.groups))}"


def nginx_master(process: Process, probes: Probes) -> Process | None:
    """The process that starts nginx's workers anew on SIGHUP: they ask for their groups and
    read the configuration then (ngx_worker_process_init)."""
    if process.name != "nginx":
        return None
    parent = probes.process(process.parent)
    return parent if parent is not None and parent.name == "nginx" else process


def drop_in(unit: str, section: str, *settings: str) -> str:
    """Adds settings to a unit and applies them. Of two drop-ins the later name counts."""
    folder = quote(f"/etc/systemd/system/{unit}.d")
    lines = " ".join(quote(line) for line in (f"[{section}]", *settings))
    return (
        f"mkdir --parents {folder} && printf '%s\\n' {lines} > {folder}/zz-cloister-doctor.conf"
        f" && systemctl daemon-reload && systemctl restart {quote(unit)}"
    )


def pattern(text: str) -> str:
    """A text as a pattern of sed(1), between bars."""
    return "".join(f"\\{one}" if one in r"\.*[]^$|" else one for one in text)


def replace_in_line(file: str, line: int, old: str, new: str) -> str:
    """Changes one text in one line of a file. The new text may hold ``&`` and ``\\``."""
    replacement = "".join(f"\\{one}" if one in r"\&|" else one for one in new)
    return f"sed -i {quote(f'{line}s|{pattern(old)}|{replacement}|')} {quote(file)}"


def set_key(file: str, app: str, key: str, value: str) -> str:
    """Sets a text in the table ``[apps.APP]`` of a configuration, whether it is there or not."""
    header = f"/^\\[apps\\.{app}\\]/"
    drop = f"{header},/^\\[/{{/^{key} *=/d}}"
    add = f'{header}a {key} = "{value}"'
    return f"sed -i -e {quote(drop)} -e {quote(add)} {quote(file)}"


def reload_nginx(asker: Process | None, probes: Probes) -> str:
    """Has the running nginx read its configuration."""
    if asker is not None and (master := nginx_master(asker, probes)) is not None:
        return f"kill -HUP {master.pid}"
    return "nginx -t && systemctl reload-or-restart nginx"
