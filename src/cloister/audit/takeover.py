"""What can a process do, once somebody else decides what it does?"""

from cloister.audit.facts import LOOKED_AT
from cloister.audit.risk import Question
from cloister.audit.subject import Rule, Subject, rule, some

_CAPABILITIES = {
    1: "DAC_OVERRIDE",
    2: "DAC_READ_SEARCH",
    6: "SETGID",
    7: "SETUID",
    12: "NET_ADMIN",
    13: "NET_RAW",
    16: "SYS_MODULE",
    17: "SYS_RAWIO",
    19: "SYS_PTRACE",
    21: "SYS_ADMIN",
    39: "BPF",
}
"""By their bits; those whose holder can do nearly everything (capabilities(7))."""

_NAMES = {
    "user": ("PrivateUsers=yes", 0.15),
    "mnt": ("ProtectSystem=strict", 0.2),
    "pid": ("PrivatePIDs=yes", 0.2),
    "net": ("PrivateNetwork=yes", 0.25),
    "ipc": ("PrivateIPC=yes", 0.1),
    "uts": ("ProtectHostname=yes", 0.05),
    "cgroup": ("ProtectControlGroups=yes", 0.05),
}
"""A setting of systemd.exec(5) that makes one, and its share of the weight."""
assert set(_NAMES) == set(LOOKED_AT)  # noqa: S101 (two tables that belong together)


@rule(
    "root-user",
    Question.TAKEOVER,
    8,
    "whoever takes it over owns the machine",
    app='run it as an application: its user is its own (or user = "NAME")',
    unit="DynamicUser=yes",
)
def root_user(subject: Subject) -> tuple[str, float] | None:
    """Root on the host."""
    if subject.process.identity.uid != 0:
        return None
    # Without capabilities root still owns root's files.
    share = 1.0 if subject.process.identity.capabilities else 0.8
    return "its user is root", share


@rule(
    "shared-user",
    Question.TAKEOVER,
    5,
    "it can read and change what they can, send them signals and read their memory",
    app="give each its own: leave `user` out",
    unit="DynamicUser=yes",
)
def shared_user(subject: Subject) -> tuple[str, float] | None:
    """Others with the same user; as root, everybody's."""
    if subject.process.identity.uid == 0:
        return "root is every user", 1.0
    if not subject.same_user:
        return None
    return f"user {subject.process.identity.uid} is also that of {some(subject.same_user)}", 1.0


@rule(
    "capabilities",
    Question.TAKEOVER,
    6,
    "each is a part of what root may do",
    app="no setting: a default cell has none",
    unit="CapabilityBoundingSet=",
)
def capabilities(subject: Subject) -> tuple[str, float] | None:
    """The effective set, in the host's own user namespace."""
    held = subject.process.identity.capabilities
    if not held:
        return None
    grave = [name for bit, name in _CAPABILITIES.items() if held >> bit & 1]
    count = held.bit_count()
    if grave:
        return f"it has {count} capabilities, with them {some(grave)}", 1.0
    return f"it has {count} capabilities", 0.4


@rule(
    "new-privileges",
    Question.TAKEOVER,
    3,
    "a set-user-ID program makes it root",
    app="no setting: a default cell gains none",
    unit="NoNewPrivileges=yes",
)
def new_privileges(subject: Subject) -> tuple[str, float] | None:
    """Whether execve(2) may give it privileges."""
    process = subject.process
    if process.no_new_privileges or not process.bounding or process.own_user_namespace:
        return None
    return "it may execute set-user-ID programs", 1.0


@rule(
    "system-calls",
    Question.TAKEOVER,
    5,
    "every flaw of the kernel is in its reach",
    app='fences = { seccomp = "default" }',
    unit="SystemCallFilter=@system-service",
)
def system_calls(subject: Subject) -> tuple[str, float] | None:
    """A seccomp filter, of whatever strictness: what it filters cannot be seen."""
    return None if subject.process.seccomp else ("no system call is filtered", 1.0)


@rule(
    "namespaces",
    Question.TAKEOVER,
    5,
    "it sees what the host's own programs see: files, processes, networks, names",
    app="isolation: leave it at its defaults, all of them its own",
    unit="PrivateTmp=yes, ProtectSystem=strict, PrivateNetwork=yes, PrivateUsers=yes",
)
def namespaces(subject: Subject) -> tuple[str, float] | None:
    """Which it shares with the host."""
    shared = subject.process.shared_namespaces
    if not shared:
        return None
    words = {"mnt": "mount", "net": "network"}
    names = [words.get(name, name) for name in LOOKED_AT if name in shared]
    return f"it shares the host's {', '.join(names)}", sum(_NAMES[name][1] for name in shared)


@rule(
    "writable-code",
    Question.TAKEOVER,
    4,
    "who takes it over stays in it after a restart",
    app="binds: leave `writable` out for code",
    unit="ReadOnlyPaths=",
)
def writable_code(subject: Subject) -> tuple[str, float] | None:
    """Code on the disk that it may change."""
    found = subject.process.writable_code
    return (f"it may write to its own code: {some(found)}", 1.0) if found else None


@rule(
    "writable-memory-code",
    Question.TAKEOVER,
    1,
    "bytes that it received can be run as code",
    unit="MemoryDenyWriteExecute=yes",
)
def writable_memory(subject: Subject) -> tuple[str, float] | None:
    """Memory that is writable and executable."""
    if not subject.process.writable_and_executable:
        return None
    return "it has memory that is writable and executable", 1.0


@rule(
    "mandatory-access",
    Question.TAKEOVER,
    2,
    "when every other fence breaks, no agent outside the process says no",
    app='fences = { apparmor-profile = "NAME" }',
    unit="AppArmorProfile=NAME",
)
def mandatory_access(subject: Subject) -> tuple[str, float] | None:
    """Where the host has AppArmor or SELinux on."""
    if not subject.host.access_control or subject.process.label is not None:
        return None
    return "no profile and no domain confines it", 1.0


@rule(
    "network-listener",
    Question.TAKEOVER,
    3,
    "whoever reaches the port talks to it: no file mode and no group guards a port",
    app='give it no port: a cell\'s socket is a Unix socket, `hosts = ["NAME"]` leads there',
    unit="Sockets=NAME.socket with ListenStream=/run/NAME.sock",
)
def network_listener(subject: Subject) -> tuple[str, float] | None:
    """TCP ports of its own."""
    process = subject.process
    if process.network is None:
        return None
    ports = [
        one for one in subject.host.listening.get(process.network, ()) if process.pid in one.pids
    ]
    public = [str(one) for one in ports if one.public]
    if public:
        return f"it listens on {some(public)}", 1.0
    if ports:
        return f"it listens on {some(map(str, ports))}, for every user of this machine", 0.4
    return None


@rule(
    "reachable-ports",
    Question.TAKEOVER,
    3,
    "a database that trusts its own machine trusts it",
    app="isolation = { network = true }, and `egress` for what it needs",
    unit="PrivateNetwork=yes or IPAddressDeny=any",
)
def reachable_ports(subject: Subject) -> tuple[str, float] | None:
    """TCP ports of others in its network."""
    process = subject.process
    if process.network is None:
        return None
    ports = [
        str(one)
        for one in subject.host.listening.get(process.network, ())
        if process.pid not in one.pids
    ]
    return (f"it can dial {some(ports)}", min(1.0, 0.4 + len(ports) / 10)) if ports else None


@rule(
    "reachable-sockets",
    Question.TAKEOVER,
    2,
    "what listens there answers it like anybody who is let in",
    app="no setting: a default cell sees no socket but its own",
    unit="InaccessiblePaths=",
)
def reachable_sockets(subject: Subject) -> tuple[str, float] | None:
    """Unix sockets of others."""
    found = subject.reach.sockets
    return (f"it may connect to {some(found)}", min(1.0, 0.3 + len(found) / 10)) if found else None


@rule(
    "master-sockets",
    Question.TAKEOVER,
    8,
    "whoever may connect there is root in all but name",
    app="no setting: a default cell does not see it",
    unit="InaccessiblePaths=/run/docker.sock, or take the user out of the socket's group",
)
def master_sockets(subject: Subject) -> tuple[str, float] | None:
    """Sockets that command root's programs."""
    if subject.process.identity.uid == 0:
        return None
    found = subject.reach.masters
    return (f"it may connect to {some(found)}", 1.0) if found else None


RULES: tuple[Rule, ...] = (
    root_user,
    shared_user,
    capabilities,
    new_privileges,
    system_calls,
    namespaces,
    writable_code,
    writable_memory,
    mandatory_access,
    network_listener,
    reachable_ports,
    reachable_sockets,
    master_sockets,
)
