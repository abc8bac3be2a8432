"""From an application's fences to what ``cloister-cell`` puts up."""

import resource
from collections.abc import Iterable

from cloister.cells import spec
from cloister.cells.system_calls import system_calls
from cloister.model.fences import Fences, LandlockChoice

OPEN_FILES = 65536
PROCESSES = 4096
LOCKED_MEMORY = 8 * 1024 * 1024
"""What an application may have where it does not say otherwise; less where the supervisor
itself may have less."""


def build_fences(
    fences: Fences, egress: Iterable[int] = (), *, keeps_projects: bool = False
) -> spec.Fences:
    """The part of the specification that ``fences`` ask for. ``egress`` are the ports of ways
    out, which may be connected to in any case; ``keeps_projects`` says whether files have to
    stay in their project."""
    return spec.Fences(
        system_calls=system_calls(fences, keeps_projects=keeps_projects),
        landlock=_landlock(fences, egress),
        limits=_limits(fences),
        proc=fences.proc,
        labels=_labels(fences),
    )


def _landlock(fences: Fences, egress: Iterable[int]) -> spec.Landlock | None:
    if fences.landlock is LandlockChoice.OFF:
        return None
    connect = fences.tcp_connect
    if connect is not None:
        connect = tuple(sorted({*connect, *egress}))
    return spec.Landlock(
        required=fences.landlock is LandlockChoice.REQUIRED,
        files=True,
        signals=True,
        abstract_sockets=True,
        tcp_bind=fences.tcp_bind,
        tcp_connect=connect,
    )


def _limits(fences: Fences) -> tuple[spec.ResourceLimit, ...]:
    kinds = spec.LimitedResource
    limits = [
        spec.ResourceLimit(kind, _at_most(default, number) if wanted is None else wanted)
        for kind, wanted, default, number in (
            (kinds.OPEN_FILES, fences.open_files, OPEN_FILES, resource.RLIMIT_NOFILE),
            (kinds.PROCESSES, fences.processes, PROCESSES, resource.RLIMIT_NPROC),
            (kinds.LOCKED_MEMORY, fences.locked_memory, LOCKED_MEMORY, resource.RLIMIT_MEMLOCK),
        )
    ]
    if fences.file_size is not None:
        limits.append(spec.ResourceLimit(kinds.FILE_SIZE, fences.file_size))
    return tuple(limits)


def _at_most(default: int, number: int) -> int:
    """The default, or this process's own hard limit where that is lower."""
    _, hard = resource.getrlimit(number)
    return default if hard == resource.RLIM_INFINITY else min(default, hard)


def _labels(fences: Fences) -> tuple[spec.Label, ...]:
    labels: list[spec.Label] = []
    if fences.selinux_context is not None:
        labels.append(spec.SelinuxLabel(fences.selinux_context))
    if fences.apparmor_profile is not None:
        labels.append(spec.ApparmorLabel(fences.apparmor_profile))
    return tuple(labels)
