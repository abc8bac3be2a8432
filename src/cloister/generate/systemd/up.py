"""``cloister.service``: the supervisor and everything below it."""

from dataclasses import dataclass

from cloister.generate import checks
from cloister.generate.door import DoorOptions
from cloister.generate.file import Generated, GeneratedFile
from cloister.generate.systemd import service, syntax
from cloister.generate.systemd.sockets import UNITS
from cloister.sockets.plan import RUNTIME_MODE, SUPERVISOR_DIRECTORY

LINES = (
    # A supervisor makes users, namespaces and mounts: what would keep it from that cannot be
    # denied. ProtectProc= and ProtectKernelTunables= cover parts of /proc, and the kernel lets
    # nobody mount a /proc that shows more (mount_too_revealing()).
    "LockPersonality=yes",
    "NoNewPrivileges=yes",
    "ProtectClock=yes",
    "ProtectKernelModules=yes",
    "RestrictRealtime=yes",
    "SystemCallArchitectures=native",
    "UMask=0022",
)


_MAKE_ROOM = (
    'd=$$(sed -n "s,^0::,/sys/fs/cgroup,;s,/[.]control$$,,p" /proc/self/cgroup); '
    '[ -n "$$d" ] && cd "$$d" && find . -depth -name cgroup.subtree_control | '
    'while read -r f; do for c in $$(cat "$$f"); do echo "-$$c" >"$$f"; done; done'
)
"""systemd puts the next supervisor into the unit's own group, which takes no process as long as it
controls the groups of applications that have outlived the one before: status 219/CGROUP, again
and again. The next one has their limits in force anew. systemd 254 could do without this, by
DelegateSubgroup=, which older ones do not know."""


@dataclass(frozen=True, slots=True)
class UpRequest:
    """One supervisor for one configuration."""

    program: str
    """The absolute path of ``cloister``."""
    config: str = "/etc/cloister/cloister.toml"
    oom_score_adjust: int | None = None


UNIT_LINES = (
    "Description=Cloister: services in cells behind one door",
    "After=network-online.target nss-user-lookup.target",
    "Wants=network-online.target",
)


def service_lines(start: str, reload: str, options: DoorOptions) -> list[str]:
    """``[Service]`` for the command lines ``start`` and ``reload``."""
    return [
        "Type=notify",
        "NotifyAccess=main",
        "WatchdogSec=60",
        f"ExecStart={start}",
        # Takes an edited configuration, and replaces the door.
        f"ExecReload={reload}",
        "Restart=on-failure",
        "RestartSec=1",
        # Listening sockets, while the supervisor is restarted (systemd 254).
        "FileDescriptorStoreMax=1024",
        # The supervisor ends its cells itself; where it is killed they go on, and the next
        # one takes them over.
        "KillMode=process",
        f"ExecStopPost=-/bin/sh -c '{_MAKE_ROOM}'",
        "TimeoutStopSec=60",
        *service.score_lines(options),
        "Delegate=yes",
        "OOMPolicy=continue",
        f"RuntimeDirectory={SUPERVISOR_DIRECTORY.removeprefix('/run/')}",
        f"RuntimeDirectoryMode={RUNTIME_MODE:04o}",
        "RuntimeDirectoryPreserve=restart",
        "StateDirectory=cloister",
        "LimitNOFILE=524288",
        "",
        *LINES,
    ]


def generate(request: UpRequest) -> Generated:
    """``cloister.service``."""
    config = checks.path(request.config, "the configuration")
    options = DoorOptions(oom_score_adjust=request.oom_score_adjust)
    start = " ".join(
        [
            syntax.program(request.program, "the program"),
            "up",
            "--log-format=json",
            syntax.argument(config, "the configuration"),
        ]
    )
    unit = syntax.unit(
        ("Unit", UNIT_LINES),
        ("Service", service_lines(start, "/usr/bin/kill -HUP $MAINPID", options)),
        ("Install", ["WantedBy=multi-user.target"]),
    )
    return Generated(
        (GeneratedFile(f"{UNITS}/cloister.service", unit),),
        ("systemctl daemon-reload", "systemctl enable --now cloister.service"),
    )
