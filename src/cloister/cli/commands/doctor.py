"""``cloister doctor``: why a socket cannot be reached, and what cures it."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cloister.cli import output
from cloister.model.errors import CloisterError, UsageError, printable

if TYPE_CHECKING:
    from cloister.diagnose.asker import Asker
    from cloister.diagnose.probes.protocol import Probes
    from cloister.diagnose.target import Target
    from cloister.model.finding import Diagnosis

_FOUND = 1
_TAIL = 256 * 1024
"""Bytes of nginx's error log that are read from its end."""


@click.command()
@click.argument("target", required=False, metavar="[SOCKET|URL|APP|LISTENER]")
@click.option(
    "--as",
    "who",
    metavar="USER|PID|nginx",
    help="Who is to connect, also UID:GID[,GROUP...]; without it nginx's workers where nginx "
    "runs, the door for an app, whom a listener's socket is for, else you.",
)
@click.option(
    "--log",
    "complaint",
    metavar="LINE|FILE|-",
    help="Explain a line of nginx's error log, or the newest for each upstream of a file.",
)
@click.option(
    "--config",
    type=click.Path(),
    metavar="FILE",
    help="The configuration of the apps and listeners.",
)
@click.option(
    "--audit-log",
    "audit_logs",
    type=click.Path(exists=True, dir_okay=False),
    multiple=True,
    metavar="FILE",
    help="Another log in which SELinux or AppArmor may have refused something.",
)
@output.json_option
def command(
    *,
    target: str | None,
    who: str | None,
    complaint: str | None,
    config: str | None,
    audit_logs: tuple[str, ...],
    as_json: bool,
) -> int:
    """Find out why a socket cannot be reached, and print the command that cures it.

    Connects as the one who asks: with the ids, groups, mounts and network of the running
    process, where this command runs as root. Says hello where the other side's protocol is
    known, and changes nothing. Without a target all apps and Unix listeners of the
    configuration, its `metrics` sockets and all upstreams of nginx are looked at. Exits with 1
    where something is wrong.

    \b
    Examples:
      cloister doctor /run/app.sock --as nginx
      cloister doctor http://unix:/run/app.sock:/ --as www-data
      cloister doctor blog
      cloister doctor --log "$(tail -1 /var/log/nginx/error.log)"
    """
    from cloister.diagnose.doctor import diagnose
    from cloister.diagnose.probes.host import HostProbes

    if target is not None and complaint is not None:
        raise UsageError("either a target or a log can be explained, not both")
    with HostProbes(audit_logs) as probes:
        if complaint is not None:
            ways = list(_from_log(complaint, who, probes))
        elif target is not None:
            ways = _named(target, who, config, probes)
        else:
            ways = list(_everything(who, config, probes))
        diagnoses = [diagnose(place, asker, probes) for place, asker in ways]
    _print(diagnoses, as_json)
    return 0 if all(one.healthy for one in diagnoses) else _FOUND


def _named(
    text: str, who: str | None, config: str | None, probes: "Probes"
) -> "list[tuple[Target, Asker]]":
    from cloister.diagnose import asker, cloister, target
    from cloister.diagnose.nginx import running

    if not set(text) & set("/:@"):
        return _configured(text, who, config, probes)
    wanted, found = cloister.hosts_way(target.parse(text), probes), asker.find(who, probes)
    if found.process is None or found.process.name == "nginx":
        line = running.leads_to(running.configuration(probes), wanted.place)
        if line is not None:
            wanted = replace(line, speech=wanted.speech or line.speech)
    return [(wanted, found)]


def _configured(
    name: str, who: str | None, config: str | None, probes: "Probes"
) -> "list[tuple[Target, Asker]]":
    """The application and the listener of this name."""
    from cloister.config.load import find, load
    from cloister.diagnose import cloister

    snapshot = load(find(config), check_files=False)
    ways = [
        (target, asker)
        for target, asker in cloister.ways(snapshot, who, probes)
        if name in (target.app, target.listener)
    ]
    if ways:
        return ways
    listener = next((one for one in snapshot.listeners if one.name == name), None)
    if listener is not None:
        raise UsageError(
            f"the listener {name!r} has no Unix socket",
            why=f"it listens on {', '.join(map(str, listener.addresses))}",
            hint="name one of its addresses",
        )
    apps = [app.name for app in snapshot.apps]
    names = ", ".join([*apps, *(one.name for one in snapshot.listeners)]) or "nothing"
    raise UsageError(
        f"there is no app and no listener {name!r} in {snapshot.source}",
        why=f"it has {names}",
        hint="name one of these, or a socket by its path",
    )


def _from_log(text: str, who: str | None, probes: "Probes") -> "Iterator[tuple[Target, Asker]]":
    from cloister.diagnose import asker
    from cloister.diagnose.nginx import log, running

    complaints = list(log.complaints(_log_text(text)))
    if not complaints:
        raise CloisterError(
            "no line of the log speaks of an upstream",
            hint="a line such as `connect() to unix:/run/app.sock failed (13: …)` does",
        )
    configuration = running.configuration(probes)
    for found in complaints:
        pid = found.pid if who is None else None
        worker = probes.process(pid) if pid is not None else None
        if worker is not None and worker.name == "nginx":
            asks = asker.of_process(worker)
        else:
            asks = asker.find(who or "nginx", probes)
        target = running.complained_of(found, configuration, probes)
        if target is not None:
            yield target, asks


def _log_text(text: str) -> str:
    if text == "-":
        return sys.stdin.read()
    if "\n" in text or " " in text:
        return text
    with Path(text).open("rb") as file:
        file.seek(max(0, file.seek(0, 2) - _TAIL))
        return file.read().decode(errors="replace")


def _everything(
    who: str | None, config: str | None, probes: "Probes"
) -> "Iterator[tuple[Target, Asker]]":
    from cloister.config.load import LOCAL_FILE, find, load
    from cloister.diagnose import asker, cloister
    from cloister.diagnose.nginx import running
    from cloister.model.snapshot import SYSTEM_FILE

    ways: list[tuple[Target, Asker]] = []
    there = config is not None or any(Path(one).exists() for one in (LOCAL_FILE, SYSTEM_FILE))
    if there:
        ways = cloister.ways(load(find(config), check_files=False), who, probes)
        yield from ways
    told = {target.place for target, _ in ways if target.line is not None}
    targets = [one for one in running.configuration(probes).targets if one.place not in told]
    if not targets and not told and not there:
        raise CloisterError(
            "there is nothing to look at",
            why="neither a configuration of Cloister nor one of nginx that leads to a socket",
            hint="name a socket, a URL or an app",
        )
    for target in targets:
        yield target, asker.find(who or "nginx", probes)


def _print(diagnoses: "list[Diagnosis]", as_json: bool) -> None:
    from cloister.diagnose import report

    if as_json:
        output.print_json(diagnoses)
        return
    for line in report.lines(diagnoses):
        click.echo(printable(line))
