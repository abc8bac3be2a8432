"""Every rule of an audit, asked of a process that has the risk and of one that has it not."""

from dataclasses import replace
from typing import Any

import pytest

from cloister.audit import auditor, exhaustion
from cloister.audit.facts import (
    LOOKED_AT,
    BoundedDisk,
    Bounds,
    Host,
    Identity,
    Listening,
    Origin,
    Process,
    Reach,
)
from cloister.audit.risk import Question
from cloister.audit.subject import Subject, some

SAFE = Process(
    pid=10,
    parent=1,
    name="app",
    identity=Identity(uid=1000, gid=1000, groups=frozenset(), capabilities=0),
    bounding=0,
    own_user_namespace=True,
    no_new_privileges=True,
    seccomp=True,
    shared_namespaces=frozenset(),
    view=(1, "/"),
    network=7,
    control_groups=(),
    label="app (enforce)",
    oom_score_adjust=0,
    open_files=1024,
    user_processes=100,
    core_size=0,
    writable_code=(),
    writable_and_executable=False,
    secret_variables=(),
    unit="app.service",
    app=None,
)
BOUNDS = Bounds(memory=2**28, tasks=100, processors=0.5, processor_weight=True, io=True)
HOST = Host(2**32, 4, True, (SAFE,), {}, ())
NOBODY = Subject(SAFE, Reach(), BOUNDS, HOST, ())
ROOT = Identity(0, 0, frozenset(), (1 << 41) - 1)


def process(**changes: Any) -> Subject:
    return replace(NOBODY, process=replace(SAFE, **changes))


def ports(*addresses: tuple[str, int, int]) -> Subject:
    listening = tuple(Listening(host, port, frozenset({pid})) for host, port, pid in addresses)
    return replace(NOBODY, host=replace(HOST, listening={7: listening}))


def reach(**found: tuple[str, ...]) -> Subject:
    return replace(NOBODY, reach=Reach(**found))


def bounded(**changes: Any) -> Subject:
    """Writes to a disk only where a quota bounds it."""
    reach = Reach(bounded_disks=(BoundedDisk("/srv", 4096),))
    return replace(process(**changes), reach=reach)


def bounds(**changes: Any) -> Subject:
    return replace(NOBODY, bounds=replace(BOUNDS, **changes))


CASES: dict[str, list[tuple[Subject, str, float]]] = {
    "root-user": [
        (process(identity=ROOT), "its user is root", 1.0),
        (process(identity=replace(ROOT, capabilities=0)), "its user is root", 0.8),
    ],
    "shared-user": [
        (replace(NOBODY, same_user=("b.service",)), "user 1000 is also that of b.service", 1.0),
        (process(identity=ROOT), "root is every user", 1.0),
    ],
    "capabilities": [
        (
            process(identity=replace(SAFE.identity, capabilities=1 << 21 | 1 << 10)),
            "it has 2 capabilities, with them SYS_ADMIN",
            1.0,
        ),
        (
            process(identity=replace(SAFE.identity, capabilities=1 << 10)),
            "it has 1 capabilities",
            0.4,
        ),
    ],
    "new-privileges": [
        (
            process(no_new_privileges=False, bounding=1, own_user_namespace=False),
            "it may execute set-user-ID programs",
            1.0,
        )
    ],
    "system-calls": [(process(seccomp=False), "no system call is filtered", 1.0)],
    "namespaces": [
        (process(shared_namespaces=frozenset({"net"})), "it shares the host's network", 0.25),
        (
            process(shared_namespaces=frozenset(LOOKED_AT)),
            "it shares the host's user, mount, pid, network, ipc, uts, cgroup",
            1.0,
        ),
    ],
    "writable-code": [
        (process(writable_code=("/a", "/b")), "it may write to its own code: /a, /b", 1.0)
    ],
    "writable-memory-code": [
        (
            process(writable_and_executable=True),
            "it has memory that is writable and executable",
            1.0,
        )
    ],
    "mandatory-access": [(process(label=None), "no profile and no domain confines it", 1.0)],
    "network-listener": [
        (ports(("0.0.0.0", 80, 10)), "it listens on 0.0.0.0:80", 1.0),
        (ports(("::", 80, 10)), "it listens on [::]:80", 1.0),
        (
            ports(("127.0.0.1", 80, 10)),
            "it listens on 127.0.0.1:80, for every user of this machine",
            0.4,
        ),
    ],
    "reachable-ports": [(ports(("127.0.0.1", 5432, 11)), "it can dial 127.0.0.1:5432", 0.5)],
    "reachable-sockets": [(reach(sockets=("/run/b",)), "it may connect to /run/b", 0.4)],
    "master-sockets": [
        (reach(masters=("/run/docker.sock",)), "it may connect to /run/docker.sock", 1.0)
    ],
    "system-secrets": [(reach(system_secrets=("/etc/shadow",)), "it may read /etc/shadow", 1.0)],
    "keys": [(reach(keys=("/root/.aws/credentials",)), "it may read /root/.aws/credentials", 0.6)],
    "agents": [(reach(agents=("/tmp/ssh-x/agent.1",)), "it may ask /tmp/ssh-x/agent.1", 1.0)],
    "foreign-data": [(reach(foreign_data=("/srv/b",)), "it may read /srv/b", 0.5)],
    "secret-variables": [
        (process(secret_variables=("DB_PASSWORD",)), "its environment has DB_PASSWORD", 1.0)
    ],
    "other-processes": [
        (
            process(shared_namespaces=frozenset({"pid", "mnt"})),
            "it sees the command lines of all processes",
            1.0,
        )
    ],
    "core-dumps": [(process(core_size=-1), "a crash may dump its memory", 1.0)],
    "memory": [
        (bounds(memory=None), "it may take all 4.0 GiB of memory", 1.0),
        (bounds(memory=2**33), "it may take all 4.0 GiB of memory", 1.0),
        (bounds(memory=2**32 * 9 // 10), "it may take 90% of the memory", 0.5),
    ],
    "tasks": [
        (
            replace(
                NOBODY,
                bounds=replace(BOUNDS, tasks=None),
                process=replace(SAFE, user_processes=-1),
            ),
            "nothing bounds its processes",
            1.0,
        ),
        (
            replace(
                NOBODY,
                bounds=replace(BOUNDS, tasks=50_000),
                process=replace(SAFE, user_processes=96_000),
            ),
            "it may have 50000 processes",
            0.4,
        ),
    ],
    "processor": [
        (
            bounds(processors=None, processor_weight=False),
            "it may keep all 4 processors busy, with everybody's share",
            1.0,
        )
    ],
    "disk-traffic": [(bounds(io=False), "its disk traffic has no share of its own", 1.0)],
    "disk-space": [
        (reach(writable_disks=("/", "/srv")), "it may fill /, /srv", 1.0),
        (reach(writable_disks=("/srv",)), "it may fill /srv", 0.6),
        (bounded(identity=ROOT), "it may fill /srv", 0.6),
        (
            bounded(own_user_namespace=False),
            "it may take its files out of the quota that bounds them on /srv",
            0.2,
        ),
    ],
    "descriptors": [
        (process(open_files=-1), "it may open any number of files", 1.0),
        (process(open_files=1_000_000), "it may open 1000000 files", 1.0),
    ],
    "out-of-memory-score": [
        (process(oom_score_adjust=-100), "its OOM score is lowered by 100", 0.2),
        (process(oom_score_adjust=-1000), "its OOM score is lowered by 1000", 1.0),
    ],
}
BY_CODE = {rule.check.code: rule for rule in auditor.RULES}


def test_every_rule_has_its_cases_and_its_advice() -> None:
    assert set(CASES) == set(BY_CODE)
    assert len(BY_CODE) == len(auditor.RULES)
    for rule in auditor.RULES:
        assert rule.check.weight > 0
        assert rule.check.advice.for_origin(Origin.UNIT), rule.check.code


@pytest.mark.parametrize(
    ("code", "subject", "seen", "share"),
    [(code, *case) for code, cases in CASES.items() for case in cases],
)
def test_a_risk_is_told(code: str, subject: Subject, seen: str, share: float) -> None:
    risk = BY_CODE[code].ask(subject)
    assert risk is not None
    assert risk.seen == seen
    assert risk.share == pytest.approx(share)


@pytest.mark.parametrize("code", list(BY_CODE))
def test_a_process_without_risks_has_none(code: str) -> None:
    assert BY_CODE[code].ask(NOBODY) is None


@pytest.mark.parametrize(
    "subject",
    [
        process(shared_namespaces=None, network=None, view=None),
        ports(("0.0.0.0", 80, 11)),
        bounds(processors=None),  # a share of its own
        bounds(processor_weight=False),  # a quota
    ],
)
def test_what_cannot_be_seen_or_is_bounded_is_no_risk(subject: Subject) -> None:
    found = {rule.check.code for rule in auditor.RULES if rule.ask(subject)}
    assert found <= {"reachable-ports"}


def test_the_score_is_the_sum() -> None:
    risky = replace(SAFE, pid=11, name="b", identity=ROOT, seccomp=False, unit="b.service")
    host = replace(HOST, processes=(SAFE, risky))
    audits = auditor.audit(host, host.processes, lambda _: Reach(), lambda _: BOUNDS)
    assert [one.pid for one in audits] == [11, 10]
    first = audits[0]
    assert [risk.check.code for risk in first.risks] == [
        "root-user",
        "capabilities",
        "shared-user",
        "system-calls",
    ]
    points = sum(risk.points for risk in first.risks)
    assert first.score == round(10 * points / auditor.TOTAL, 1)
    assert sum(first.points(question) for question in Question) == pytest.approx(points)
    assert audits[1].score == 0


def test_workers_of_one_program_are_no_strangers() -> None:
    parent = replace(SAFE, unit=None, pid=20, parent=1, name="parent")
    worker = replace(SAFE, unit=None, pid=21, parent=20, name="worker")
    alone = replace(SAFE, unit=None, pid=30, parent=1, name="alone")
    host = replace(HOST, processes=(parent, worker))

    def shared(*processes: Process) -> list[bool]:
        now = replace(host, processes=processes)
        audits = auditor.audit(now, processes, lambda _: Reach(), lambda _: BOUNDS)
        return [any(risk.check.code == "shared-user" for risk in one.risks) for one in audits]

    assert shared(parent, worker) == [False, False]
    assert shared(parent, worker, alone) == [True, True, True]


def test_some_of_many() -> None:
    assert some(["b", "a"]) == "a, b"
    assert some(str(number) for number in range(5)) == "0, 1, 2 and 2 more"


def test_a_quota_that_holds_is_no_risk() -> None:
    for subject in (bounded(), bounded(own_user_namespace=False, app="blog")):
        assert exhaustion.disk_space.ask(subject) is None
