"""A host that is not there: what probes would see, as values."""

from dataclasses import dataclass, field, replace

from cloister.diagnose.asker import Asker
from cloister.diagnose.case import Case
from cloister.diagnose.facts import (
    Attempt,
    Credentials,
    Kind,
    Limit,
    Namespaces,
    Place,
    Process,
    Step,
    TcpListener,
    Unit,
    UnixPlace,
    UnixSocket,
    Walk,
)
from cloister.diagnose.target import Target
from cloister.mounts import Mount

OWN = Process(
    pid=1000,
    name="cloister",
    command=("cloister", "doctor"),
    parent=1,
    state="R",
    credentials=Credentials(0, 0, frozenset(), 1 << 1),
    namespaces=Namespaces(1, 1, 1),
    root="/",
    folder="/",
    unit=None,
    label=None,
)
MASTER = replace(OWN, pid=2000, name="nginx", command=("nginx: master process nginx",))
WORKER = replace(
    MASTER,
    pid=2001,
    parent=2000,
    credentials=Credentials(33, 33, frozenset()),
    unit="nginx.service",
)
SERVER = replace(OWN, pid=3000, name="app", credentials=Credentials(500, 500), unit="app.service")
PATH = "/run/app/app.sock"


@dataclass
class FakeProbes:
    """Each field is what the host is to be like."""

    walks: dict[str, Walk] = field(default_factory=dict)
    processes: tuple[Process, ...] = (OWN, MASTER, WORKER, SERVER)
    attempt: Attempt | None = None
    """As the asker."""
    own_attempt: Attempt | None = None
    sockets: tuple[UnixSocket, ...] = ()
    tcp: tuple[TcpListener, ...] = ()
    holding: dict[int, tuple[Process, ...]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    limits: dict[int, Limit] = field(default_factory=dict)
    all_units: tuple[Unit, ...] = ()
    log: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()

    @property
    def own(self) -> Process:
        return OWN

    def walk(self, path: str, view: Process | None = None) -> Walk:
        return self.walks.get(path, Walk(path, (), 2, path))

    def process(self, pid: int) -> Process | None:
        return next((one for one in self.processes if one.pid == pid), None)

    def named(self, name: str) -> tuple[Process, ...]:
        return tuple(one for one in self.processes if one.name == name)

    def mounts(self, view: Process | None = None) -> tuple[Mount, ...]:
        return ()

    def account(self, uid: int) -> tuple[str, frozenset[int]] | None:
        return {0: ("root", frozenset({0})), 33: ("www-data", frozenset({33}))}.get(uid)

    def group_name(self, gid: int) -> str:
        return {0: "root", 33: "www-data"}.get(gid, str(gid))

    def connect(
        self,
        place: Place,
        who: Credentials,
        view: Process | None = None,
        *,
        send: bytes = b"",
        long_path: bool = False,
    ) -> Attempt | None:
        return self.own_attempt if who == OWN.credentials else self.attempt

    def unix_sockets(self) -> tuple[UnixSocket, ...]:
        return self.sockets

    def tcp_listeners(self, view: Process | None = None) -> tuple[TcpListener, ...]:
        return self.tcp

    def listening_elsewhere(self, place: Place) -> tuple[Process, ...]:
        return ()

    def holders(self, inode: int) -> tuple[Process, ...]:
        return self.holding.get(inode, ())

    def open_files(self, pid: int) -> Limit | None:
        return self.limits.get(pid)

    def user_processes(self, pid: int) -> Limit | None:
        return None

    def group_processes(self, pid: int) -> tuple[str, Limit] | None:
        return None

    def setting(self, name: str) -> str | None:
        return self.files.get(f"/proc/sys/{name}")

    def units(self) -> tuple[Unit, ...]:
        return self.all_units

    def denials(self) -> tuple[str, ...]:
        return self.log

    def read(self, path: str, view: Process | None = None) -> str | None:
        return self.files.get(path)

    def names(self, folder: str) -> tuple[str, ...]:
        found = (path.removeprefix(f"{folder}/") for path in self.files if path.startswith(folder))
        return tuple(sorted(name for name in found if "/" not in name))

    def has_program(self, name: str) -> bool:
        return name in self.programs

    def unseen(self) -> tuple[str, ...]:
        return ()


def walk(path: str, *modes: int, end: int = 0o777) -> Walk:
    """Directories of root, outermost first, with these modes, and a socket with ``end``."""
    names = path.strip("/").split("/")
    steps = [Step("/", Kind.DIRECTORY, 1, 2, 0, 0, 0o755)]
    for number, name in enumerate(names[:-1]):
        place = f"{steps[-1].path.rstrip('/')}/{name}"
        mode = modes[number] if number < len(modes) else 0o755
        steps.append(Step(place, Kind.DIRECTORY, 1, 3 + number, 0, 0, mode))
    steps.append(Step(path, Kind.SOCKET, 1, 99, 500, 500, end))
    return Walk(path, tuple(steps))


def case(probes: FakeProbes, asker: Process = WORKER, target: Target | None = None) -> Case:
    wanted = target or Target(UnixPlace(PATH))
    return Case(wanted, Asker(str(asker), asker.credentials, asker), probes)
