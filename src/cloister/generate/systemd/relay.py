"""Template units for ``cloister-door relay``, and one instance's drop-ins."""

from dataclasses import dataclass, field

from cloister.generate import checks
from cloister.generate import target as targets
from cloister.generate.door import DoorOptions
from cloister.generate.file import Generated, GeneratedFile
from cloister.generate.systemd import hardening, service, syntax
from cloister.generate.systemd.sockets import UNITS, access_changes, access_lines, listen_lines
from cloister.generate.target import Reach, RelayTarget
from cloister.model.errors import UsageError
from cloister.model.listener import SocketOptions
from cloister.sockets.plan import RELAY_SOCKET, plan_relay

TEMPLATE = "cloister-relay@"
SETTINGS = "/etc/default/cloister-relay."
"""Environment files of instances, before the instance's name."""


@dataclass(frozen=True, slots=True)
class RelayRequest:
    """The templates alone, or with one instance.

    With an instance, everything that differs from the defaults goes into its drop-ins, and
    the templates stay as all instances share them; without one it goes into the templates.
    """

    program: str
    """The absolute path of ``cloister-door``."""
    instance: str | None = None
    target: str | None = None
    """As ``cloister-door relay`` takes it; needed with an instance, and only there."""
    listen: tuple[str, ...] = ()
    """Empty: ``/run/cloister-relay/INSTANCE.sock``."""
    access: SocketOptions = RELAY_SOCKET
    options: DoorOptions = field(default_factory=DoorOptions)
    environment_file: bool = False
    """Whether the target goes to an environment file instead of a drop-in."""


def generate(request: RelayRequest) -> Generated:
    """``cloister-relay@.socket`` and ``.service``, and where asked for an instance of both."""
    if request.instance is None:
        if request.target is not None or request.listen or request.environment_file:
            raise UsageError(
                "a target and addresses belong to one instance",
                why="the templates serve all of them",
                hint="name the instance, or leave out what concerns only one",
            )
        files = _templates(request.program, request.access, request.options)
        first = (
            f'write TARGET="HOST:PORT" to {SETTINGS}INSTANCE',
            "systemctl daemon-reload",
            f"systemctl enable --now {TEMPLATE}INSTANCE.socket",
        )
        return Generated(files, first)
    instance = checks.name(request.instance, "an instance")
    if request.target is None:
        raise UsageError(
            f"the instance {instance} has no target",
            hint="name it, for example `php.backend.example.:9000`",
        )
    target = targets.parse(request.target)
    if target.reach is Reach.UNIX_PATH and target.path is not None:
        hardening.visible(target.path, "the target")
    shared = DoorOptions()
    files = (
        *_templates(request.program, RELAY_SOCKET, shared),
        *_instance(request, instance, target),
    )
    steps = ("systemctl daemon-reload", f"systemctl enable --now {TEMPLATE}{instance}.socket")
    return Generated(files, steps)


def _templates(
    program: str, access: SocketOptions, options: DoorOptions
) -> tuple[GeneratedFile, ...]:
    socket = syntax.unit(
        ("Unit", ["Description=Socket of the relay %i"]),
        (
            "Socket",
            [
                f"ListenStream={plan_relay('%i').path}",
                *access_lines(access),
                f"Backlog={access.backlog}",
                "RemoveOnStop=yes",
            ],
        ),
        ("Install", ["WantedBy=sockets.target"]),
    )
    unit = syntax.unit(
        ("Unit", service.unit_lines("Relay %i", f"{TEMPLATE}%i.socket")),
        (
            "Service",
            [
                *service.process_lines(options),
                f"EnvironmentFile=-{SETTINGS}%i",
                f"ExecStart={_start(program, options)} $OPTIONS ${{TARGET}}",
                "",
                *hardening.identity(options.user, options.groups),
                *hardening.ALWAYS,
                *hardening.RELAY,
                "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
            ],
        ),
    )
    return (
        GeneratedFile(f"{UNITS}/{TEMPLATE}.socket", socket),
        GeneratedFile(f"{UNITS}/{TEMPLATE}.service", unit),
    )


def _instance(
    request: RelayRequest, instance: str, target: RelayTarget
) -> tuple[GeneratedFile, ...]:
    options = request.options
    files = []
    lines = access_changes(request.access)
    if request.listen:
        lines = ["ListenStream=", *listen_lines(request.listen), *lines]
    if lines:
        files.append(_drop_in(instance, "socket", syntax.unit(("Socket", lines))))
    text = syntax.argument(target.text, "the target")
    start = [
        "# The template's command is taken back before this one takes its place.",
        "ExecStart=",
        f"ExecStart={_start(request.program, options)} {text}",
    ]
    if request.environment_file:
        start = []
        settings = [syntax.assignment("TARGET", target.text)]
        if given := options.relay_arguments():
            settings.insert(0, syntax.assignment("OPTIONS", " ".join(given)))
        path = f"{SETTINGS}{instance}"
        files.append(GeneratedFile(path, "\n".join([*settings, ""])))
    lines = [
        *start,
        *service.score_lines(options),
        *(["DynamicUser=no"] if options.user else []),
        *(hardening.identity(options.user, options.groups) if options.has_identity else []),
        f"# The target: {target.reach.value}.",
        *hardening.network(target),
    ]
    files.append(_drop_in(instance, "service", syntax.unit(("Service", lines))))
    return tuple(files)


def _start(program: str, options: DoorOptions) -> str:
    visible = hardening.visible(program, "the program")
    words = [syntax.program(visible, "the program"), "keep", "relay"]
    return " ".join(
        words + [syntax.argument(text, "an option") for text in options.relay_arguments()]
    )


def _drop_in(instance: str, kind: str, text: str) -> GeneratedFile:
    return GeneratedFile(f"{UNITS}/{TEMPLATE}{instance}.{kind}.d/{instance}.conf", text)
