"""From what is known to one HTML document. Pure; every text in it is escaped.

The document names no other: style and script are in it, and the policy (CSP) lets nothing
else run or load.
"""

import base64
import hashlib
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from html import escape
from pathlib import Path

from cloister.apps.status import AppStatus, DaemonStatus, DoorStatus, EgressStatus
from cloister.model.finding import Diagnosis
from cloister.observe.host_names import HostName, HostNames, Place
from cloister.observe.rates import ListenerRow, Row, View, size

_FOLDER = Path(__file__).parent
_AT_ONCE = 12
"""Names of a hosts directory that are seen without a click."""
SPARK = 60
"""Values of a sparkline."""


@dataclass(frozen=True, slots=True)
class Page:
    """Everything that the page shows."""

    status: DaemonStatus
    view: View
    cpu: Mapping[str, Sequence[float]]
    """Of each application, the newest last."""
    totals: Mapping[str, Sequence[float]]
    """``connections``, ``bytes`` and ``cpu`` of all together."""
    diagnoses: tuple[Diagnosis, ...] | None
    """What doctor found; ``None`` before it has looked."""
    now: float
    """Seconds since 1970-01-01 UTC."""
    hosts: Mapping[Place, HostNames] = field(default_factory=dict)
    """What is in the hosts directories."""


@cache
def _asset(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def policy() -> str:
    """The Content-Security-Policy: this style, this script, this server, nothing else."""

    def digest(name: str) -> str:
        found = hashlib.sha256(_asset(name).encode()).digest()
        return f"'sha256-{base64.b64encode(found).decode()}'"

    rules = (
        "default-src 'none'",
        f"style-src {digest('style.css')}",
        f"script-src {digest('script.js')}",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
    return "; ".join(rules)


def render(page: Page) -> str:
    """The document."""
    status = page.status
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{_title(page)}</title>
<noscript><meta http-equiv="refresh" content="10"></noscript>
<style>{_asset("style.css")}</style>
</head>
<body>
<a class="skip" href="#apps">Skip to the applications</a>
<header>
<h1>Cloister</h1>
<p><code>{escape(status.config)}</code></p>
<p>{escape(status.version)}, process {status.pid}, up {_ago(page.now - status.since)}</p>
{_live(page.now)}
</header>
<main>
{_summary(page)}
{_findings(page.diagnoses)}
{_routes(page)}
{_apps(page)}
{_door(status.door, page.now)}
</main>
<footer><p><kbd>/</kbd> filters applications, <kbd>Esc</kbd> clears, <kbd>Tab</kbd> and
<kbd>Enter</kbd> open one. The same in a terminal: <code>cloister top</code>,
<code>cloister status</code>, <code>cloister doctor</code>.</p></footer>
<script>{_asset("script.js")}</script>
</body>
</html>
"""


def _title(page: Page) -> str:
    ready = sum(app.state == "ready" for app in page.status.apps)
    return f"{ready}/{len(page.status.apps)} ready - Cloister"


def _live(now: float) -> str:
    clock = time.strftime("%H:%M:%S", time.localtime(now))
    return f'<p class="live" id="live">as of <time>{clock}</time></p>'


def _summary(page: Page) -> str:
    apps, view = page.status.apps, page.view
    ready = sum(app.state == "ready" for app in apps)
    connections = sum(one.connections for one in view.listeners)
    refusals = sum(one.refusals for one in view.listeners)
    moved = sum(row.received + row.sent for row in view.rows)
    cpu = sum(row.cpu or 0.0 for row in view.rows)
    memory = sum(row.usage.memory_bytes or 0 for row in view.rows)
    active = sum(one.active for one in view.listeners)
    tiles = (
        _tile("Applications", f"{ready} <small>of {len(apps)} ready</small>"),
        _tile("Door", _badge(page.status.door.state)),
        _tile("Open connections", str(active)),
        _tile(
            "Connections",
            f"{connections:.1f} <small>/s</small>",
            page.totals.get("connections", ()),
        ),
        _tile("Refused", f"{refusals:.1f} <small>/s</small>"),
        _tile("Bytes", f"{size(moved)} <small>B/s</small>", page.totals.get("bytes", ())),
        _tile("Processors", f"{cpu * 100:.0f} <small>%</small>", page.totals.get("cpu", ())),
        _tile("Memory", f"{size(memory)} <small>B</small>"),
    )
    return f'<dl class="tiles" id="summary">{"".join(tiles)}</dl>'


def _tile(name: str, value: str, history: Sequence[float] = ()) -> str:
    spark = _spark(history, f"{name}, the last minutes") if history else ""
    return f'<div class="tile"><dt>{name}</dt><dd>{value}</dd>{spark}</div>'


def _spark(values: Sequence[float], label: str) -> str:
    """A line of the values, as wide as there could be, the newest at the right."""
    newest = list(values)[-SPARK:]
    highest = max([*newest, 0.0]) or 1.0
    first = SPARK - len(newest)
    points = [
        f"{first + place},{20 - 18 * value / highest:.1f}" for place, value in enumerate(newest)
    ]
    if len(points) < 2:
        return ""
    area = " ".join((f"{first},20", *points, f"{SPARK - 1},20"))
    return (
        f'<svg class="spark" viewBox="0 0 {SPARK - 1} 20" preserveAspectRatio="none" role="img"'
        f' aria-label="{escape(label)}"><polygon points="{area}"/>'
        f'<polyline points="{" ".join(points)}"/></svg>'
    )


def _badge(state: str) -> str:
    kind = {
        **dict.fromkeys(("ready", "serving"), "good"),
        **dict.fromkeys(("failed", "backoff", "refused"), "bad"),
    }.get(state, "wait")
    return f'<span class="state {kind}">{escape(state)}</span>'


def _findings(diagnoses: tuple[Diagnosis, ...] | None) -> str:
    if diagnoses is None:
        body = '<p class="calm">doctor has not looked yet</p>'
        note = ""
    else:
        sick = [one for one in diagnoses if not one.healthy]
        body = "".join(_diagnosis(one) for one in sick)
        body = body or '<p class="calm">doctor found nothing</p>'
        note = f"{len(diagnoses)} sockets looked at"
    return f'<section id="findings"><h2>Findings <small>{note}</small></h2>{body}</section>'


def _diagnosis(one: Diagnosis) -> str:
    head = f"<h3><code>{escape(one.target)}</code></h3>"
    if not one.findings:
        error = escape(one.error or "it cannot be reached")
        return f'<article class="card finding"><header>{head}</header><p>{error}</p></article>'
    parts = []
    for finding in one.findings:
        cure = f"<pre>{escape(finding.cure)}</pre>" if finding.cure else ""
        lasting = f"<p>{escape(finding.lasting)}</p>" if finding.lasting else ""
        parts.append(
            f'<article class="card finding"><header>{head}'
            f"<p>as {escape(one.asker)}</p>"
            f'<p class="code">{escape(finding.code)}, {finding.confidence.value}</p></header>'
            f"<p>{escape(finding.seen)}: {escape(finding.why)}.</p>{cure}{lasting}</article>"
        )
    return "".join(parts)


def _routes(page: Page) -> str:
    """A card for each listener, with all its addresses."""
    rows = {(one.name, one.address): one for one in page.view.listeners}
    by_name = [app for app in page.status.apps if app.hosts]
    listeners: dict[tuple[str, str], list[str]] = {}
    directories: dict[str, Place] = {}
    for one in page.status.listeners:
        listeners.setdefault((one.name, one.route), []).append(one.address)
        if one.hosts_directory is not None:
            directories[one.name] = (one.hosts_directory, one.hashed)
    cards = []
    for number, ((name, route), addresses) in enumerate(listeners.items()):
        places = "".join(f"<p><code>{escape(address)}</code></p>" for address in addresses)
        known = [row for address in addresses if (row := rows.get((name, address)))]
        hosts = _hosts(by_name) if route.startswith("by server name") else ""
        if name in directories:
            known_names = page.hosts.get(directories[name])
            hosts += _directory(directories[name][0], known_names, by_name, number)
        cards.append(
            f'<article class="card"><header><h3>{escape(name)}</h3>{places}'
            f"<p>{escape(route)}</p></header>{_listener_numbers(known)}{hosts}</article>"
        )
    body = "".join(cards) or '<p class="calm">nothing is listened on</p>'
    return f'<section id="routes"><h2>Routes</h2><div class="routes">{body}</div></section>'


def _listener_numbers(rows: Sequence[ListenerRow]) -> str:
    if not rows:
        return '<p class="numbers">no door has told of it yet</p>'
    return (
        f'<p class="numbers">{sum(row.active for row in rows)} open, '
        f"{sum(row.connections for row in rows):.1f}/s, "
        f"{sum(row.accepted for row in rows)} in all, "
        f"{sum(row.refused for row in rows)} refused</p>"
    )


def _hosts(apps: Iterable[AppStatus]) -> str:
    items = [
        f'<li><span class="host mono">{escape(host)}</span><span class="arrow" aria-label="to">→'
        f'</span><a href="#app-{escape(app.name)}">{escape(app.name)}</a>{_badge(app.state)}</li>'
        for app in apps
        for host in app.hosts
    ]
    return f'<ul class="hosts">{"".join(items)}</ul>'


def _directory(path: str, found: HostNames | None, apps: Sequence[AppStatus], number: int) -> str:
    """The names of a hosts directory; the first ones at once, the others on demand."""
    head = f'<p class="calm">in <code>{escape(path)}</code></p>'
    if found is None:
        return f'{head}<p class="calm">not looked at yet</p>'
    if found.problem is not None:
        return f'{head}<p class="problem">{escape(found.problem)}</p>'
    if not found.names:
        return f'{head}<p class="calm">no names</p>'
    taken = {host: app for app in apps for host in app.hosts}
    items = [_host_name(one, taken.get(one.name)) for one in found.names]
    more = "".join(items[_AT_ONCE:])
    if found.more:
        more += f'<li class="calm">and more, beyond the first {len(items)}</li>'
    shown = f'<ul class="hosts">{"".join(items[:_AT_ONCE])}</ul>'
    if not more:
        return head + shown
    count = f"{len(items) - _AT_ONCE} more names{', and others' if found.more else ''}"
    return (
        f'{head}{shown}<details id="names-{number}"><summary>{count}</summary>'
        f'<ul class="hosts">{more}</ul></details>'
    )


def _host_name(one: HostName, app: AppStatus | None) -> str:
    """A name, what stands behind it, and whose it is. An application has a name before any
    directory does."""
    name = f'<li><span class="host mono">{escape(one.name)}</span><span class="arrow" '
    name += 'aria-label="to">→</span>'
    if app is not None:
        way = f'<a href="#app-{escape(app.name)}">{escape(app.name)}</a>, before this folder'
        return f"{name}{way}{_badge(app.state)}</li>"
    targets = ", ".join(f"<code>{escape(target)}</code>" for target in one.targets) or "nothing"
    owner = f' <span class="calm">of {escape(one.owner)}</span>' if one.owner else ""
    problem = f'<span class="problem">{escape(one.problem)}</span>' if one.problem else ""
    return f"{name}<span>{targets}{owner}</span>{problem}{_badge(one.state)}</li>"


_HEADINGS = (
    *("Application", "State", "CPU %", "History", "Memory", "Disk/s", "Tasks"),
    *("Open", "Conn/s", "In/s", "Out/s", "Restarts"),
)


def _apps(page: Page) -> str:
    rows = {row.name: row for row in page.view.rows}
    body = "".join(
        _app(app, rows.get(app.name), page.cpu.get(app.name, ()), page.now)
        for app in page.status.apps
    )
    head = "".join(f'<th scope="col">{one}</th>' for one in _HEADINGS)
    return (
        '<section id="apps"><div class="bar"><h2>Applications</h2><p class="filter">'
        '<input id="filter" type="search" placeholder="filter by name, host or state" '
        'aria-label="filter applications"></p></div>'
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f'<tbody id="rows">{body}</tbody></table></div></section>'
    )


def _app(app: AppStatus, row: Row | None, history: Sequence[float], now: float) -> str:
    words = escape(" ".join((app.name, app.state, *app.hosts)).lower())
    cells: tuple[str, ...] = ("-",) * 10
    if row is not None:
        cells = (
            "-" if row.cpu is None else f"{row.cpu * 100:.1f}",
            _spark(history, f"processors of {app.name}") or "-",
            size(row.usage.memory_bytes),
            "-" if row.io_read is None and row.io_write is None else size(row.io),
            "-" if row.usage.tasks is None else str(row.usage.tasks),
            str(row.active),
            f"{row.connections:.1f}",
            size(row.received),
            size(row.sent),
            str(row.restarts),
        )
    numbers = "".join(f"<td>{cell}</td>" for cell in cells)
    name = escape(app.name)
    return (
        f'<tr data-words="{words}"><th scope="row"><details id="app-{name}">'
        f"<summary>{name}</summary>{_more(app, now)}</details></th>"
        f"<td>{_badge(app.state)}</td>{numbers}</tr>"
    )


def _more(app: AppStatus, now: float) -> str:
    facts = [
        ("program", app.program),
        ("hosts", ", ".join(app.hosts) or "none"),
        ("socket", app.socket),
        ("in this state", f"for {_ago(now - app.since)}"),
        ("user on the host", str(app.host_uid)),
    ]
    if app.message:
        facts.append(("says", app.message))
    facts += [(f"way out {way.name}", _way_out(way)) for way in app.egress]
    if app.resources is not None:
        facts += [
            (f"limit {one.name}", one.value + ("" if one.in_force else " (not in force)"))
            for one in app.resources.limits
        ]
        if app.resources.gives_way:
            facts.append(("processors", "gives way: it uses more than its share of busy ones"))
        if app.resources.slowed:
            facts.append(("memory", "slowed down: it uses up its limit again and again"))
    last = ""
    if app.failure is not None:
        facts.append(("last failure", f"{app.failure.message}, {_ago(now - app.failure.time)} ago"))
        output = "\n".join(app.failure.last_output)
        last = f"<pre>{escape(output)}</pre>" if output else ""
    pairs = "".join(f"<dt>{escape(one)}</dt><dd>{escape(two)}</dd>" for one, two in facts)
    return f'<div class="more"><dl>{pairs}</dl>{last}</div>'


def _way_out(way: EgressStatus) -> str:
    """Seen from the application: what goes to the target goes out."""
    return (
        f"to {way.target}: {way.accepted} connections, {way.active} open, {way.failed} failed, "
        f"{size(way.bytes_to_client)} in, {size(way.bytes_to_target)} out"
    )


def _door(door: DoorStatus, now: float) -> str:
    outcomes = "".join(
        f"<li>{escape(name)} <b>{count}</b></li>" for name, count in sorted(door.outcomes.items())
    )
    protections = "".join(
        f'<li>{escape(one.name)} <span class="state {"good" if one.active else "bad"}">'
        f"{'on' if one.active else 'off'}</span> {escape(one.detail)}</li>"
        for one in door.protections
    )
    facts = (
        f"{door.state} for {_ago(now - door.since)}, {door.accepted or 0} connections, "
        f"{door.restarts} restarts, {door.replacements} replacements"
    )
    return (
        f'<section id="door"><h2>Door <small>{escape(facts)}</small></h2><div class="card">'
        f'<p class="calm">How connections ended</p><ul class="pairs">{outcomes}</ul>'
        f'<p class="calm">What it took on itself</p><ul class="pairs">{protections}</ul>'
        "</div></section>"
    )


def _ago(seconds: float) -> str:
    """A duration with its largest unit and the next."""
    whole = max(0, int(seconds))
    for length, unit, part, smaller in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= length:
            return f"{whole // length} {unit} {whole % length // part} {smaller}"
    return f"{whole} s"
