"""``[apps.NAME.limits]``: how its settings are written, and what they come to."""

import os.path
import tomllib
from collections.abc import Callable, Sequence
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from cloister.config import forms
from cloister.config.forms import WORD, Form, Table, setting
from cloister.model.errors import UsageError
from cloister.model.limits import CpuBackground, IoBound, Limits

MAX_WEIGHT = 10_000
"""Documentation/admin-guide/cgroup-v2.rst: weights are 1 to 10000, 100 unless set."""
MAX_PIDS = 4_194_304
"""PID_MAX_LIMIT (Linux, include/linux/threads.h)."""
LEAST_SHARE = 0.01
"""cpu.max: 1 ms of a period of 100 ms is the least that the kernel takes."""
MAX_OPERATIONS = 2**31 - 1
MAX_FILES = 2**32 - 1

_NONE = "no bound"
_BackgroundWord = Annotated[Literal["auto", "always", "never"], WORD]
_Number = Annotated[int, Form("number")]
_Share = Annotated[float, Form("number"), Field(ge=LEAST_SHARE, le=8192)]


class IoBoundTable(Table):
    """`[[apps.NAME.limits.io-max]]`: the most that goes to and from one disk in a second."""

    path: forms.PathText = setting(
        "The disk's device file, or any path on it. A part of a disk counts as the whole.",
        example='"/srv/data"',
    )
    read: forms.Size | None = setting(
        "Bytes read in a second.", example='"50M"', default=None, default_text=_NONE
    )
    write: forms.Size | None = setting(
        "Bytes written in a second.", example='"20M"', default=None, default_text=_NONE
    )
    read_operations: _Number | None = setting(
        "Reads in a second.",
        example="1000",
        default=None,
        default_text=_NONE,
        at_least=1,
        at_most=MAX_OPERATIONS,
    )
    write_operations: _Number | None = setting(
        "Writes in a second.",
        example="500",
        default=None,
        default_text=_NONE,
        at_least=1,
        at_most=MAX_OPERATIONS,
    )


class AppLimitsTable(Table):
    """`[apps.NAME.limits]`: how much of the machine one application may use.

    What is set here is in force or the application does not start, with the reason, unless
    `required` says otherwise. The defaults are set where the host can give them;
    `cloister explain` and `cloister status` show what is in force.
    """

    memory: forms.Size | None = setting(
        "Memory, the page cache of its files and its /tmp included. Beyond it the kernel kills "
        "processes of this application and of no other.",
        example='"256M"',
        default=None,
        default_text="half of the machine's",
    )
    memory_high: forms.Size | None = setting(
        "Memory beyond which the application is slowed down while the kernel takes memory back. "
        "Only cgroup v2 knows this limit.",
        example='"200M"',
        default=None,
        default_text="none",
    )
    swap: forms.SizeOrNone | None = setting(
        'Swap beside `memory`; `"0"` for none.',
        example='"0"',
        default=None,
        default_text="no bound",
    )
    cpu_weight: _Number | None = setting(
        "The share of processors that are busy, in relation to the weights of the others.",
        example="50",
        default=None,
        default_text="100",
        at_least=1,
        at_most=MAX_WEIGHT,
    )
    cpu_max: _Share | None = setting(
        "How many processors it may keep busy, also where others are idle.",
        example="1.5",
        default=None,
        default_text="all",
    )
    cpu_background: _BackgroundWord = setting(
        "Whether what wakes up in other applications goes first on busy processors: `auto`, while "
        "this one uses more of them than its share by weight (where several with different "
        "weights do, the weights alone decide); `always`, for work that can wait: it gets what "
        "the others leave; `never`. It takes Linux 5.15. Unless it is `never`, an application "
        "beside others whose processes the kernel kills for lack of memory again and again (five "
        "within two seconds) has a tenth of a processor until that has not happened for five "
        "seconds.",
        example='"always"',
        default=CpuBackground.AUTO.value,
    )
    io_weight: _Number | None = setting(
        "The share of a busy disk, in relation to the weights of the others. It takes a disk "
        "whose scheduler knows weights (bfq, or io.cost).",
        example="50",
        default=None,
        default_text="as the system has it",
        at_least=1,
        at_most=MAX_WEIGHT,
    )
    io_max: Annotated[list[IoBoundTable], Form("list of tables")] = setting(
        "The most that goes to and from a disk.",
        example='[{ path = "/srv", write = "20M" }]',
        default=[],
        default_text="none",
    )
    pids: _Number | None = setting(
        "Processes and threads at once. One more cannot be made, in this application alone.",
        example="64",
        default=None,
        default_text="512",
        at_least=1,
        at_most=MAX_PIDS,
    )
    cpus: forms.Processors | None = setting(
        "The processors that it runs on.",
        example='"0-3,6"',
        default=None,
        default_text="all",
    )
    disk: forms.Size | None = setting(
        "What it may have on disks, on each file system on which it has a folder that it can "
        "write to: what is there when it starts counts. Beyond it writing fails (EDQUOT, ENOSPC "
        "on XFS). It takes root, and ext4, XFS or f2fs with the mount option `prjquota`.",
        example='"2G"',
        default=None,
        default_text=_NONE,
    )
    disk_files: _Number | None = setting(
        "Files, folders and links that it may have there.",
        example="10000",
        default=None,
        default_text="with `disk` one for each 16 KiB of it, at least 1024",
        at_least=1,
        at_most=MAX_FILES,
    )
    required: forms.Flag = setting(
        "Whether the application is refused where the host cannot give what is set here. "
        "Otherwise it runs without, and `cloister status` says so.",
        example="false",
        default=True,
    )


_TEXTS = frozenset({"memory", "memory-high", "swap", "cpus", "disk"})


def read(settings: Sequence[str]) -> Limits:
    """From ``NAME=VALUE`` as on a command line; a text needs no quotation marks there.

    Raises :class:`UsageError`.
    """
    document: dict[str, object] = {}
    for one in settings:
        name, _, text = one.partition("=")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        # A size of nothing and a single processor look like numbers.
        document[name] = text if name in _TEXTS else value
    try:
        return resolve(AppLimitsTable.model_validate(document), os.path.abspath)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        context = first.get("ctx", {})
        raise UsageError(
            f"the limit {'.'.join(map(str, first['loc']))} cannot be taken",
            why=context.get("what") or first["msg"],
            hint=context.get("hint") or "docs/configuration.md names all, for example memory=256M",
        ) from error


def resolve(table: AppLimitsTable, absolute: Callable[[str], str]) -> Limits:
    """The limits as the model has them; ``absolute`` completes a path."""
    return Limits(
        memory=table.memory,
        memory_high=table.memory_high,
        swap=table.swap,
        cpu_weight=table.cpu_weight,
        cpu_max=table.cpu_max,
        cpu_background=CpuBackground(table.cpu_background),
        io_weight=table.io_weight,
        io_max=tuple(
            IoBound(
                absolute(one.path), one.read, one.write, one.read_operations, one.write_operations
            )
            for one in table.io_max
        ),
        pids=table.pids,
        cpus=table.cpus,
        disk=table.disk,
        disk_files=table.disk_files,
        required=table.required,
    )
