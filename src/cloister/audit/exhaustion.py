"""What can a process use up that others need?"""

from cloister.audit.risk import Question
from cloister.audit.subject import Rule, Subject, rule, some

_MANY_FILES = 65_536
_GIBIBYTE = 1024**3
_SYS_RESOURCE = 1 << 24
"""capabilities(7)."""


@rule(
    "memory",
    Question.EXHAUSTION,
    4,
    "when it takes all, the kernel kills whatever is largest: perhaps the database",
    app='limits = { memory = "512M" }',
    unit="MemoryMax=512M",
)
def memory(subject: Subject) -> tuple[str, float] | None:
    """A bound below what the machine has."""
    bound, machine = subject.bounds.memory, subject.host.memory
    if bound is None or bound >= machine:
        return f"it may take all {machine / _GIBIBYTE:.1f} GiB of memory", 1.0
    if bound > machine * 0.75:
        return f"it may take {bound / machine:.0%} of the memory", 0.5
    return None


@rule(
    "tasks",
    Question.EXHAUSTION,
    3,
    "a fork bomb leaves no process to anybody, root's shell included",
    app="limits = { pids = 128 }",
    unit="TasksMax=128",
)
def tasks(subject: Subject) -> tuple[str, float] | None:
    """A bound of processes and threads."""
    bounds = [
        bound
        for bound in (subject.bounds.tasks, subject.process.user_processes)
        if bound is not None and bound >= 0
    ]
    if not bounds:
        return "nothing bounds its processes", 1.0
    return (f"it may have {min(bounds)} processes", 0.4) if min(bounds) > 10_000 else None


@rule(
    "processor",
    Question.EXHAUSTION,
    3,
    "a loop takes as much as all others together",
    app="limits = { cpu-weight = 100 }, or cpu-max to bound it",
    unit="CPUWeight=100, or CPUQuota=100% to bound it",
)
def processor(subject: Subject) -> tuple[str, float] | None:
    """A quota below all processors, or a share of its own."""
    bounds, machine = subject.bounds, subject.host.processors
    if bounds.processors is not None and bounds.processors < machine:
        return None
    if bounds.processor_weight:
        return None
    return f"it may keep all {machine} processors busy, with everybody's share", 1.0


@rule(
    "disk-traffic",
    Question.EXHAUSTION,
    1,
    "who reads from the disk waits for it",
    app="limits = { io-weight = 100 }",
    unit="IOWeight=100",
)
def disk_traffic(subject: Subject) -> tuple[str, float] | None:
    """A share or a bound of block I/O."""
    return None if subject.bounds.io else ("its disk traffic has no share of its own", 1.0)


@rule(
    "disk-space",
    Question.EXHAUSTION,
    3,
    "a full disk stops whoever writes to it",
    app="leave `writable` binds out, or set `disk` in its `limits`; /tmp in the cell has a size",
    unit="ProtectSystem=strict with a StateDirectory= of a disk or project quota of its own",
)
def disk_space(subject: Subject) -> tuple[str, float] | None:
    """File systems of the host that it can fill. A quota of a project does not hold for who has
    CAP_SYS_RESOURCE (ignore_hardlimit(), fs/quota/dquot.c), and outside of a user namespace of
    its own the owner of a file takes it out of its project (fileattr_set_prepare(),
    fs/file_attr.c); a cell's filter refuses that."""
    reach, process = subject.reach, subject.process
    bounded = tuple(disk.point for disk in reach.bounded_disks)
    above_quotas = process.identity.capabilities & _SYS_RESOURCE
    found = reach.writable_disks + (bounded if above_quotas else ())
    if found:
        return f"it may fill {some(found)}", 1.0 if "/" in found else 0.6
    if bounded and process.app is None and not process.own_user_namespace:
        return f"it may take its files out of the quota that bounds them on {some(bounded)}", 0.2
    return None


@rule(
    "descriptors",
    Question.EXHAUSTION,
    1,
    "the system's table of open files is everybody's",
    app="fences = { limits = { open-files = 4096 } }",
    unit="LimitNOFILE=4096",
)
def descriptors(subject: Subject) -> tuple[str, float] | None:
    """How many files it may have open."""
    limit = subject.process.open_files
    if 0 <= limit <= _MANY_FILES:
        return None
    return "it may open " + ("any number of files" if limit < 0 else f"{limit} files"), 1.0


@rule(
    "out-of-memory-score",
    Question.EXHAUSTION,
    2,
    "when memory is short, others are killed before it",
    app="no setting: a default cell has none",
    unit="OOMScoreAdjust=0",
)
def out_of_memory_score(subject: Subject) -> tuple[str, float] | None:
    """Whether the kernel spares it."""
    score = subject.process.oom_score_adjust
    if score >= 0:
        return None
    return f"its OOM score is lowered by {-score}", min(1.0, -score / 500)


RULES: tuple[Rule, ...] = (
    memory,
    tasks,
    processor,
    disk_traffic,
    disk_space,
    descriptors,
    out_of_memory_score,
)
