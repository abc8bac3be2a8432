"""What has to hold between the settings of an application's life."""

from dataclasses import dataclass

from cloister.config.app_tables import AppTable
from cloister.config.lines import KeyPath
from cloister.config.problems import Code
from cloister.config.surroundings import Report
from cloister.model.app import App, CommandProgram, Endpoint
from cloister.model.lifecycle import HttpProbe, LogTarget


@dataclass(frozen=True, slots=True)
class _Rule:
    broken: bool
    code: Code
    what: str
    key: tuple[str, ...]
    why: str
    hint: str


def check(app: App, table: AppTable, report: Report) -> None:
    """Reports what does not go together. ``table`` is what ``app`` was made from."""
    path: KeyPath = ("apps", app.name)
    for rule in (*_endpoints(app, table), *_processes(app, table), *_logs(app, table)):
        if rule.broken:
            place = (*path, *rule.key)
            report.add(rule.code, rule.what, place, why=rule.why, hint=rule.hint)


def _endpoints(app: App, table: AppTable) -> tuple[_Rule, ...]:
    word = f'`endpoint = "{app.endpoint.value}"`'
    brought = (Endpoint.INHERIT, Endpoint.HANDOFF)
    return (
        _Rule(
            table.python is not None and app.endpoint not in brought,
            Code.CONFLICTING_KEYS,
            f"{word} does not go with `python`",
            ("endpoint",),
            "the server that Cloister brings takes the socket that it inherits",
            "remove it, or name a `command`",
        ),
        _Rule(
            app.endpoint is not Endpoint.PORT and table.port is not None,
            Code.UNUSED_SETTING,
            '`port` has no effect without `endpoint = "port"`',
            ("port",),
            "the application listens on no TCP port",
            'remove it, or add endpoint = "port"',
        ),
        _Rule(
            app.endpoint is Endpoint.HANDOFF and isinstance(app.ready, HttpProbe),
            Code.CONFLICTING_KEYS,
            f"`ready` by HTTP does not go with {word}",
            ("ready",),
            "what comes over the application's socket are connections, not requests",
            'take "accept" or "notify"',
        ),
        _Rule(
            app.endpoint is Endpoint.STDIO and table.ready is not None,
            Code.UNUSED_SETTING,
            f"`ready` has no effect with {word}",
            ("ready",),
            "a process is made for each connection, which is there before it",
            "remove it",
        ),
        _Rule(
            app.endpoint is Endpoint.STDIO and table.idle_stop is not None,
            Code.UNUSED_SETTING,
            f"`idle-stop` has no effect with {word}",
            ("idle-stop",),
            "without a connection there is no process anyway",
            "remove it",
        ),
    )


def _processes(app: App, table: AppTable) -> tuple[_Rule, ...]:
    spare = app.processes.spare
    unseen = app.endpoint is Endpoint.HANDOFF and isinstance(app.program, CommandProgram)
    return (
        _Rule(
            spare is not None and spare > app.processes.most,
            Code.CONFLICTING_KEYS,
            f"{spare} `spare` processes are more than the {app.processes.most} of `max`",
            ("processes", "spare"),
            "the spare ones count among all",
            "lower `spare` or raise `max`",
        ),
        _Rule(
            spare is not None and app.endpoint is Endpoint.STDIO,
            Code.CONFLICTING_KEYS,
            '`spare` does not go with `endpoint = "stdio"`',
            ("processes", "spare"),
            "a process is made for each connection, and ends with it",
            "write processes = 64 for at most so many at once",
        ),
        _Rule(
            unseen and spare is not None,
            Code.CONFLICTING_KEYS,
            '`spare` does not go with `endpoint = "handoff"` and `command`',
            ("processes", "spare"),
            "nobody sees how many connections such a process holds",
            "give a fixed number of processes",
        ),
        _Rule(
            unseen and table.idle_stop is not None,
            Code.CONFLICTING_KEYS,
            '`idle-stop` does not go with `endpoint = "handoff"` and `command`',
            ("idle-stop",),
            "nobody sees whether such a process holds a connection",
            "remove it",
        ),
        _Rule(
            app.restart.after_requests is not None and isinstance(app.program, CommandProgram),
            Code.CONFLICTING_KEYS,
            "`after-requests` does not go with `command`",
            ("restart", "after-requests"),
            "nobody but a program's own server can count its requests",
            "have that end it after so many, for example gunicorn --max-requests or uvicorn "
            "--limit-max-requests: the supervisor starts the next process",
        ),
    )


def _logs(app: App, table: AppTable) -> tuple[_Rule, ...]:
    given = {"size", "files"} & table.log.model_fields_set
    fileless = app.log.target in (LogTarget.JOURNAL, LogTarget.NONE)
    return tuple(
        _Rule(
            fileless,
            Code.UNUSED_SETTING,
            f'`{name}` has no effect with to = "{app.log.target.value}"',
            ("log", name),
            "it says how large files become, and there are none",
            "remove it",
        )
        for name in sorted(given)
    )
