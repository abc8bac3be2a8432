"""What can a process read, and what can be done elsewhere with that?"""

from cloister.audit.risk import Question
from cloister.audit.subject import Rule, Subject, rule, some


@rule(
    "system-secrets",
    Question.READING,
    8,
    "with them one logs in as another user, or is this machine for others",
    app="no setting: a default cell does not see them",
    unit="DynamicUser=yes with ProtectSystem=strict",
)
def system_secrets(subject: Subject) -> tuple[str, float] | None:
    """Password hashes and the machine's own keys."""
    found = subject.reach.system_secrets
    return (f"it may read {some(found)}", 1.0) if found else None


@rule(
    "keys",
    Question.READING,
    6,
    "they open other machines and accounts, and a backup's key deletes the backup",
    app='credentials = { NAME = "/path" } for the one that it needs; for an S3 store `sign`, '
    "which hands over no key",
    unit="LoadCredential=NAME:/path, with InaccessiblePaths= for the others",
)
def keys(subject: Subject) -> tuple[str, float] | None:
    """Private keys and access tokens."""
    found = subject.reach.keys
    return (f"it may read {some(found)}", min(1.0, 0.5 + len(found) / 10)) if found else None


@rule(
    "agents",
    Question.READING,
    4,
    "an agent signs for whoever connects, as long as its user is logged in",
    app="no setting: a default cell does not see them",
    unit="PrivateTmp=yes with ProtectHome=yes",
)
def agents(subject: Subject) -> tuple[str, float] | None:
    """Sockets of ssh-agent, gpg-agent and the like."""
    found = subject.reach.agents
    return (f"it may ask {some(found)}", 1.0) if found else None


@rule(
    "foreign-data",
    Question.READING,
    4,
    "one site's code reads the other's passwords",
    app='directory = "/srv/NAME": the cell sees this folder and none beside it',
    unit="TemporaryFileSystem=/srv with BindReadOnlyPaths=/srv/NAME",
)
def foreign_data(subject: Subject) -> tuple[str, float] | None:
    """Folders of others."""
    found = subject.reach.foreign_data
    return (f"it may read {some(found)}", min(1.0, 0.4 + len(found) / 10)) if found else None


@rule(
    "secret-variables",
    Question.READING,
    2,
    "every child inherits them, and its user's other processes read them in /proc",
    app='credentials = { NAME = "/path" } instead of `environment`',
    unit="LoadCredential=NAME:/path instead of Environment=",
)
def secret_variables(subject: Subject) -> tuple[str, float] | None:
    """Secrets in its environment, by their names: no value is looked at."""
    found = subject.process.secret_variables
    return (f"its environment has {some(found)}", 1.0) if found else None


@rule(
    "other-processes",
    Question.READING,
    2,
    "command lines hold secrets, and tell what else runs here",
    app="isolation = { pid = true }",
    unit="ProtectProc=invisible",
)
def other_processes(subject: Subject) -> tuple[str, float] | None:
    """Whether it shares the host's processes."""
    shared = subject.process.shared_namespaces
    if shared is None or "pid" not in shared or "mnt" not in shared:
        return None
    return "it sees the command lines of all processes", 1.0


@rule(
    "core-dumps",
    Question.READING,
    1,
    "when it crashes, what it had in memory lies on the disk",
    app="no setting: a default cell writes none",
    unit="LimitCORE=0",
)
def core_dumps(subject: Subject) -> tuple[str, float] | None:
    """Whether a crash may write its memory out. A limit of one byte is none for a file and, other
    than 0, one for a program that core_pattern pipes to as well (core(5))."""
    return None if subject.process.core_size in (0, 1) else ("a crash may dump its memory", 1.0)


RULES: tuple[Rule, ...] = (
    system_secrets,
    keys,
    agents,
    foreign_data,
    secret_variables,
    other_processes,
    core_dumps,
)
