"""The settings of an application's life: processes, restarts, readiness, log.

Declared as in ``syntax``, with what makes a frozen value of each.
"""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from cloister.config import forms
from cloister.config.forms import TABLE_FORM, WORD, WORD_FORM, Form, Table, setting
from cloister.model.lifecycle import (
    LogOptions,
    LogTarget,
    Processes,
    RestartPolicy,
    RestartWhen,
)

MAX_PROCESSES = 1000
MAX_FAILURES = 1000
MAX_FILES = 1000
MAX_RATE = 1_000_000
MAX_REQUESTS = 1_000_000_000

_processes = Processes()
_restart = RestartPolicy()
_log = LogOptions()

RestartWord = Annotated[Literal["always", "on-failure", "never"], WORD]
LogWord = Annotated[Literal["auto", "journal", "files", "none"], WORD]


class ProcessesTable(Table):
    """`[apps.NAME.processes]`: as many processes as the load asks for.

    A process is busy while it answers a request, or, where it does not tell (a `command`),
    while it holds a connection.
    """

    max: Annotated[int, Form("number")] = setting(
        "How many processes there are at most.",
        example="10",
        default=_processes.most,
        at_least=1,
        at_most=MAX_PROCESSES,
    )
    spare: Annotated[int, Form("number")] = setting(
        "How many idle ones stand by. With 0 none runs until the first connection comes, "
        "which waits for it.",
        example="2",
        default=0,
        at_least=0,
        at_most=MAX_PROCESSES,
    )
    idle_timeout: forms.Duration = setting(
        "How long an idle one beyond `spare` is kept.",
        example='"15s"',
        default=_processes.idle_timeout,
    )


class RestartTable(Table):
    """`[apps.NAME.restart]`: what follows when a process ends, and how a restart goes."""

    when: RestartWord = setting(
        "Whether a process that ended by itself is started again: `always`, `on-failure` "
        "(unless its exit status is 0), or `never`.",
        example='"on-failure"',
        default=_restart.when.value,
    )
    failures: Annotated[int, Form("number")] = setting(
        "How many failures within `window` are a crash loop, after which it is left alone "
        "until a request to start or restart it; its last output stays in the status.",
        example="5",
        default=_restart.failures,
        at_least=1,
        at_most=MAX_FAILURES,
    )
    window: forms.Duration = setting(
        "The time in which `failures` are counted.",
        example='"10m"',
        default=_restart.window,
    )
    rolling: forms.Flag = setting(
        "Whether a restart that is asked for has the next process ready before the running one "
        "is told to stop, so that for a while there are two. `false` for a program of which "
        "there must be one: connections then wait until the next one is ready.",
        example="false",
        default=_restart.rolling,
    )
    after_requests: Annotated[int, Form("number")] | None = setting(
        "How many requests a process of a `python` application answers at most, against what it "
        "may leak: then another one takes its place, as `rolling` says, and no request fails for "
        "that. Each draws a number up to a tenth lower, so that not all have it at once. It "
        "serves 5 seconds at least, and one process a second is replaced at most. It counts "
        "as no failure.",
        example="10000",
        default=None,
        default_text="any number",
        at_least=1,
        at_most=MAX_REQUESTS,
    )


class LogTable(Table):
    """`[apps.NAME.log]`: where the application's output is kept for `cloister logs`."""

    to: LogWord = setting(
        "`journal`: the system's journal, with the fields `CLOISTER_APP` and `CLOISTER_STREAM`; "
        "`files`: `log/NAME.log` in `state-directory`, one JSON object a line, with the older "
        "ones as `NAME.log.1` and so on; `auto`: the journal where there is one, else files; "
        "`none`: the supervisor's own output only.",
        example='"files"',
        default=_log.target.value,
    )
    size: forms.Size = setting(
        "How large a file may become before the next one begins.",
        example='"10M"',
        default=_log.size,
    )
    files: Annotated[int, Form("number")] = setting(
        "How many files there are at most.",
        example="4",
        default=_log.files,
        at_least=1,
        at_most=MAX_FILES,
    )
    rate: Annotated[int, Form("number")] = setting(
        "How many lines a second are kept for long, ten times as many at once. What is more is "
        "lost and counted: 6 MB in a second at most, more has to wait.",
        example="1000",
        default=_log.rate,
        at_least=1,
        at_most=MAX_RATE,
    )


def _form(value: object) -> str:
    return TABLE_FORM if isinstance(value, dict | Table) else WORD_FORM


ProcessesChoice = Annotated[
    Annotated[int, Field(ge=1, le=MAX_PROCESSES), Tag(WORD_FORM)]
    | Annotated[ProcessesTable, Tag(TABLE_FORM)],
    Discriminator(_form),
    Form("number, or table", str),
]
RestartChoice = Annotated[
    Annotated[Literal["always", "on-failure", "never"], Tag(WORD_FORM)]
    | Annotated[RestartTable, Tag(TABLE_FORM)],
    Discriminator(_form),
    Form("word, or table", lambda value: f'"{value}"'),
]


def processes(choice: int | ProcessesTable) -> Processes:
    """What was chosen."""
    if isinstance(choice, int):
        return Processes(choice)
    return Processes(choice.max, choice.spare, choice.idle_timeout)


def restart(choice: str | RestartTable) -> RestartPolicy:
    """What was chosen."""
    if isinstance(choice, str):
        return RestartPolicy(RestartWhen(choice))
    return RestartPolicy(
        RestartWhen(choice.when),
        choice.failures,
        choice.window,
        choice.rolling,
        choice.after_requests,
    )


def log(table: LogTable) -> LogOptions:
    """What was chosen."""
    return LogOptions(LogTarget(table.to), table.size, table.files, table.rate)
