"""The whole configuration as one immutable value."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cloister.model.app import App
from cloister.model.isolation import IdRange
from cloister.model.listener import Listener
from cloister.model.metrics import MetricsOptions
from cloister.model.signing import Store

DEFAULT_IDS = IdRange(500_000, 565_535)
SYSTEM_FILE = "/etc/cloister/cloister.toml"
"""The configuration of the machine's own supervisor."""


@dataclass(frozen=True, slots=True)
class DoorOptions:
    """``[door]``."""

    workers: int | None = None
    """Worker threads; ``None`` for one per processor."""
    user: str | None = None
    """A user's name or number; ``None`` takes the first of the id range when the supervisor
    is root, and the supervisor's own user otherwise."""
    log_connections: bool = True


@dataclass(frozen=True, slots=True)
class ControlOptions:
    """``[cloister.control]``: who may ask and command the supervisor, beside root and its own
    user."""

    owner: str | None = None
    """A user's name or number, who may; ``None`` leaves the supervisor's own."""
    group: str | None = None
    """A group's name or number, whose members may where ``mode`` lets them write."""
    mode: int = 0o600
    """Of the control socket; nothing for others."""


@dataclass(frozen=True, slots=True)
class Paths:
    """Where the supervisor keeps its things; absolute."""

    runtime: str
    """Sockets and whatever else a reboot may lose."""
    state: str
    """Identities and local certificates."""

    @property
    def control_socket(self) -> str:
        """Where the supervisor is asked."""
        return f"{self.runtime}/control.sock"

    @property
    def holder_socket(self) -> str:
        """Where a supervisor finds what the last one has left."""
        return f"{self.runtime}/holder.sock"

    def app_socket(self, name: str) -> str:
        """Where an application's listening socket is made."""
        return f"{self.runtime}/apps/{name}/socket"

    def signer_app_socket(self, name: str) -> str:
        """Where an application asks the signer; seen in its cell under another name."""
        return f"{self.runtime}/signer/app-{name}.sock"

    def signer_user_socket(self, uid: int) -> str:
        """Where a user of the machine asks the signer."""
        return f"{self.runtime}/signer/user-{uid}.sock"

    @property
    def signer(self) -> str:
        """The folder in which the signer remembers what it has signed."""
        return f"{self.state}/signer"

    def app_log(self, name: str) -> str:
        """Where an application's output is kept, where it is kept in files."""
        return f"{self.state}/log/{name}.log"

    @property
    def identities(self) -> str:
        """Which ids were given to whom."""
        return f"{self.state}/identities.json"

    @property
    def projects(self) -> str:
        """Which projects of quotas were given to whom."""
        return f"{self.state}/projects.json"

    @property
    def accepted(self) -> str:
        """The folder with the last accepted configuration."""
        return f"{self.state}/configuration"

    @property
    def control_groups(self) -> str:
        """Where a supervisor leaves word of its control groups."""
        return f"{self.runtime}/control-groups.json"

    @property
    def authority_certificate(self) -> str:
        """The local authority's certificate, PEM, for clients of self-signed applications."""
        return f"{self.state}/authority/ca.pem"


def default_paths(uid: int, environment: Mapping[str, str]) -> Paths:
    """Where a supervisor of user ``uid`` keeps its things unless its configuration says so."""
    runtime, state = "/run/cloister", "/var/lib/cloister"
    if uid != 0:
        home = environment.get("HOME") or "/"
        state = f"{environment.get('XDG_STATE_HOME') or f'{home}/.local/state'}/cloister"
        # Without a login session there is no XDG_RUNTIME_DIR. /tmp would be no place:
        # whoever comes first could take the name.
        base = environment.get("XDG_RUNTIME_DIR")
        runtime = f"{base}/cloister" if base else f"{state}/run"
    # systemd.exec(5) RuntimeDirectory= and StateDirectory=: several names come with colons.
    return Paths(
        runtime=environment.get("RUNTIME_DIRECTORY", "").partition(":")[0] or runtime,
        state=environment.get("STATE_DIRECTORY", "").partition(":")[0] or state,
    )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What ``cloister up`` runs. Built once from the text; never changed."""

    source: str
    """The configuration file's absolute path."""
    paths: Paths
    ids: IdRange
    door: DoorOptions
    listeners: tuple[Listener, ...]
    apps: tuple[App, ...]
    metrics: MetricsOptions = field(default_factory=MetricsOptions)
    control: ControlOptions = field(default_factory=ControlOptions)
    stores: tuple[Store, ...] = ()
    """Of which the signer has the keys."""
