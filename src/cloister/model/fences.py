"""What fences an application in beside its namespaces: what it may ask of the kernel."""

from dataclasses import dataclass
from enum import Enum


class FilterProfile(Enum):
    """Which system calls an application may make."""

    DEFAULT = "default"
    """Those of ordinary servers, whatever their language."""
    STRICT = "strict"
    """Those without making code in memory, and without any socket but a Unix one."""
    NONE = "none"
    """All: no filter."""


class LandlockChoice(Enum):
    """Whether landlock(7) restricts an application once more."""

    BEST_EFFORT = "best-effort"
    """As far as the kernel can; how far is reported."""
    REQUIRED = "required"
    """Completely, or the application is not started."""
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Fences:
    """One ``[apps.NAME.fences]``. ``None`` for a limit: Cloister's own."""

    profile: FilterProfile = FilterProfile.DEFAULT
    allow: tuple[str, ...] = ()
    """Names of ``cloister.model.system_calls``: groups and single calls beyond the profile."""
    landlock: LandlockChoice = LandlockChoice.BEST_EFFORT
    tcp_bind: tuple[int, ...] | None = None
    """The TCP ports that it may listen on; ``None`` for any."""
    tcp_connect: tuple[int, ...] | None = None
    """The TCP ports that it may connect to; ``None`` for any."""
    proc: tuple[str, ...] = ()
    """Files and folders of /proc that it sees beside its own processes."""
    open_files: int | None = None
    processes: int | None = None
    """Threads count too."""
    locked_memory: int | None = None
    """Bytes."""
    file_size: int | None = None
    """Bytes of the largest file that it may write."""
    core_dumps: bool = False
    selinux_context: str | None = None
    apparmor_profile: str | None = None


PROC_FILES = (
    "cpuinfo",
    "filesystems",
    "loadavg",
    "meminfo",
    "stat",
    "swaps",
    "sys",
    "uptime",
    "version",
    "vmstat",
)
"""What of /proc an application may be shown; ``sys`` is a folder, and read-only."""
