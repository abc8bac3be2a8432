"""`[apps.NAME.fences]` as it is written, and what becomes of it."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from cloister.config import forms
from cloister.config.forms import WORD, Form, Table, setting
from cloister.config.lines import KeyPath
from cloister.config.problems import Code
from cloister.model.fences import PROC_FILES, Fences, FilterProfile, LandlockChoice
from cloister.model.system_calls import ADDITIONS

if TYPE_CHECKING:
    from cloister.config.surroundings import Report

MOST_FILES = 2**20
"""The kernel's own bound for `RLIMIT_NOFILE` (fs.nr_open) where nobody has raised it."""
MOST_PROCESSES = 2**22
"""PID_MAX_LIMIT (Linux, include/linux/threads.h)."""


Ports = Annotated[
    list[Annotated[int, Field(ge=1, le=65535)]] | None,
    Form("list of ports"),
]
Count = Annotated[int, Form("number")] | None


class FencesTable(Table):
    """`[apps.NAME.fences]`: what the application may ask of the kernel.

    All of it holds without a line here; `cloister explain NAME` prints it, `cloister status`
    what is in force. What the kernel cannot do is an error, but for `landlock`.
    """

    profile: Annotated[Literal["default", "strict", "none"], WORD] = setting(
        "Which system calls it may make: `default`, those of ordinary servers; `strict`, "
        "without making code in memory (no just-in-time compiler) and without any socket but "
        "a Unix one; `none`, all of them, which leaves the kernel's whole surface open. "
        "Whatever is refused fails with `EPERM`, what is unknown with `ENOSYS`; calls of "
        "another architecture kill.",
        example='"strict"',
        default=FilterProfile.DEFAULT.value,
    )
    allow: Annotated[list[forms.CallName], Form("list of names")] = setting(
        "System calls beyond the profile: names of calls, or of groups: "
        + ", ".join(f"`{name}`" for name in ADDITIONS)
        + ".",
        example='["ptrace"]',
        default=[],
        default_text="none",
    )
    landlock: Annotated[Literal["best-effort", "required", "off"], WORD] = setting(
        "Whether landlock(7) restricts files, TCP ports, signals and abstract sockets once "
        "more: `best-effort`, as far as the kernel can (Linux 5.13 to 6.12 can ever more); "
        "`required`, all of it or the application does not start; `off`.",
        example='"required"',
        default=LandlockChoice.BEST_EFFORT.value,
    )
    tcp_bind: Ports = setting(
        "The only TCP ports that it may bind, by Landlock; `[]` for none.",
        example="[8080]",
        default=None,
        default_text="any, of the cell's own network",
    )
    tcp_connect: Ports = setting(
        "The only TCP ports that it may connect to, by Landlock; `[]` for none.",
        example="[5432]",
        default=None,
        default_text="any, of the cell's own network",
    )
    proc: Annotated[list[forms.ProcFile], Form("list of names")] = setting(
        "What it sees of /proc beside its own processes: "
        + ", ".join(f"`{name}`" for name in PROC_FILES)
        + " (`sys` read-only). They tell of the whole machine.",
        example='["cpuinfo", "meminfo"]',
        default=[],
        default_text="none",
    )
    open_files: Count = setting(
        "Descriptors of one process (`RLIMIT_NOFILE`).",
        example="4096",
        default=None,
        default_text="65536, or what Cloister itself may have",
        at_least=16,
        at_most=MOST_FILES,
    )
    processes: Count = setting(
        "Processes and threads of the application together (`RLIMIT_NPROC`).",
        example="256",
        default=None,
        default_text="4096, or what Cloister itself may have",
        at_least=1,
        at_most=MOST_PROCESSES,
    )
    locked_memory: forms.Size | None = setting(
        "Memory that it may lock (`RLIMIT_MEMLOCK`).",
        example='"64K"',
        default=None,
        default_text='"8M", or what Cloister itself may have',
    )
    file_size: forms.Size | None = setting(
        "The largest file that it may write (`RLIMIT_FSIZE`).",
        example='"1G"',
        default=None,
        default_text="no bound",
    )
    core_dumps: forms.Flag = setting(
        "Whether a crash leaves a core dump, which the host's handler gets to see.",
        example="true",
        default=False,
    )
    selinux_context: forms.Label | None = setting(
        "The SELinux context that the program runs in; an error where SELinux is not active.",
        example='"system_u:system_r:httpd_t:s0"',
        default=None,
        default_text="what the policy says",
    )
    apparmor_profile: forms.Label | None = setting(
        "The AppArmor profile that the program runs under; an error where AppArmor is not active.",
        example='"blog"',
        default=None,
        default_text="what the policy says",
    )


def resolve(path: KeyPath, table: FencesTable, report: "Report") -> Fences:
    """The fences that ``table``, which stands at ``path``, asks for."""
    if table.profile == "none" and table.allow:
        report.add(
            Code.UNUSED_SETTING,
            '`allow` has no effect with `profile = "none"`',
            (*path, "allow"),
            why="every system call is allowed already",
            hint="remove one of them",
        )
    for name in ("tcp-bind", "tcp-connect"):
        if table.landlock == "off" and getattr(table, name.replace("-", "_")) is not None:
            report.add(
                Code.CONFLICTING_KEYS,
                f'`{name}` does not go with `landlock = "off"`',
                (*path, name),
                why="Landlock is what restricts TCP ports",
                hint="remove one of them",
            )
    return Fences(
        profile=FilterProfile(table.profile),
        allow=tuple(dict.fromkeys(table.allow)),
        landlock=LandlockChoice(table.landlock),
        tcp_bind=None if table.tcp_bind is None else tuple(table.tcp_bind),
        tcp_connect=None if table.tcp_connect is None else tuple(table.tcp_connect),
        proc=tuple(dict.fromkeys(table.proc)),
        open_files=table.open_files,
        processes=table.processes,
        locked_memory=table.locked_memory,
        file_size=table.file_size,
        core_dumps=table.core_dumps,
        selinux_context=table.selinux_context,
        apparmor_profile=table.apparmor_profile,
    )
