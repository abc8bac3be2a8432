"""``cloister-sni.socket`` and ``.service``: sniproxy's place, taken by the door."""

from dataclasses import dataclass, field

from cloister.generate import checks
from cloister.generate.door import DoorOptions
from cloister.generate.file import Generated, GeneratedFile
from cloister.generate.systemd import hardening, service, syntax
from cloister.generate.systemd.sockets import UNITS, access_lines, listen_lines
from cloister.model.listener import SocketOptions
from cloister.sockets.plan import RELAY_SOCKET

USER = "cloister-sni"
NAME = "cloister-sni"


@dataclass(frozen=True, slots=True)
class SniRequest:
    """One door for a hosts directory."""

    program: str
    """The absolute path of ``cloister-door``."""
    hosts: str
    """The hosts directory's absolute path."""
    listen: tuple[str, ...] = ("443",)
    access: SocketOptions = RELAY_SOCKET
    """Matters for Unix sockets only."""
    options: DoorOptions = field(default_factory=DoorOptions)
    """``user=None`` stands for :data:`USER`: tenants let the door in by its name."""


def generate(request: SniRequest) -> Generated:
    """Both units, and the user where it is the default one."""
    user = request.options.user or USER
    hosts = hardening.visible(checks.path(request.hosts, "the hosts directory"), "the directory")
    socket = syntax.unit(
        ("Unit", ["Description=TLS by server name"]),
        (
            "Socket",
            [
                *listen_lines(request.listen),
                *access_lines(request.access),
                f"Backlog={request.access.backlog}",
            ],
        ),
        ("Install", ["WantedBy=sockets.target"]),
    )
    unit = syntax.unit(
        ("Unit", service.unit_lines("TLS by server name", f"{NAME}.socket")),
        (
            "Service",
            [
                *service.process_lines(request.options),
                f"ExecStart={_start(request, hosts)}",
                "",
                *hardening.identity(user, request.options.groups),
                *hardening.ALWAYS,
                "PrivateNetwork=yes",
                "RestrictAddressFamilies=AF_UNIX",
                "IPAddressDeny=any",
                *hardening.view(request.program, hosts),
            ],
        ),
    )
    files = [
        GeneratedFile(f"{UNITS}/{NAME}.socket", socket),
        GeneratedFile(f"{UNITS}/{NAME}.service", unit),
    ]
    steps = ["systemctl daemon-reload", f"systemctl enable --now {NAME}.socket"]
    if user == USER:
        text = f'u {USER} - "Cloister, TLS by server name"\n'
        files.append(GeneratedFile(f"/etc/sysusers.d/{NAME}.conf", text))
        steps.insert(0, f"systemd-sysusers /etc/sysusers.d/{NAME}.conf")
    steps.append(f"let {user} enter {hosts}/NAME and write to {hosts}/NAME/tls-socket")
    return Generated(tuple(files), tuple(steps))


def _start(request: SniRequest, hosts: str) -> str:
    visible = hardening.visible(request.program, "the program")
    words = [syntax.program(visible, "the program"), "keep", "sni", "--hosts"]
    words += [
        syntax.argument(text, "an option") for text in (hosts, *request.options.sni_arguments())
    ]
    return " ".join(words)
