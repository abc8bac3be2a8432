"""The configuration as it is written: every setting once, with its help and an example.

These models check keys, types and the form of single values. Nothing here looks at the
machine or at two settings together: that is ``resolve`` and ``files``. The descriptions are
what docs/configuration.md says; ``reference`` renders it.
"""

from typing import Annotated, Literal

from pydantic import Discriminator, Tag

from cloister.config import forms
from cloister.config.egress import EgressChoice
from cloister.config.fences import FencesTable
from cloister.config.forms import TABLE_FORM, WORD_FORM, Form, Table, setting
from cloister.config.isolation_tables import IsolationTable
from cloister.config.lifecycle import LogTable, ProcessesChoice, RestartChoice
from cloister.config.limits import AppLimitsTable
from cloister.config.metrics import AppMetricsChoice, MetricsTable
from cloister.model.app import App
from cloister.model.listener import Keepalive, ListenerLimits, SocketOptions
from cloister.model.snapshot import DEFAULT_IDS, ControlOptions, DoorOptions

MAX_CONNECTIONS = 2**32 - 1
MAX_BACKLOG = 2**31 - 1
MAX_WORKERS = 1024
MAX_KEEPALIVE = 32767
"""Seconds: MAX_TCP_KEEPIDLE and MAX_TCP_KEEPINTVL (Linux, include/net/tcp.h)."""
MAX_THREADS = 10_000
MAX_PROBES = 127
"""MAX_TCP_KEEPCNT."""

_socket = SocketOptions()
_limits = ListenerLimits()
_keepalive = Keepalive()
_door = DoorOptions()
_control = ControlOptions()
_app_defaults = {name: field.default for name, field in App.__dataclass_fields__.items()}

BalanceWord = Annotated[
    Literal["round-robin", "least-connections"], Form("word", lambda word: f'"{word}"')
]
EndpointWord = Annotated[
    Literal["inherit", "handoff", "bind", "port", "stdio"], Form("word", lambda word: f'"{word}"')
]
SendProxyWord = Annotated[Literal["none", "v1", "v2"], Form("word", lambda word: f'"{word}"')]


class ControlTable(Table):
    """`[cloister.control]`: who may ask and command the supervisor, beside root and its own user.

    Whoever may can have any program run in a cell: it is as much as being the supervisor's user.
    """

    owner: forms.User | None = setting(
        "Who owns the control socket, and may ask.",
        example='"deploy"',
        default=_control.owner,
        default_text="the supervisor's user",
    )
    group: forms.Group | None = setting(
        "The socket's group, whose members may ask where `mode` lets them write.",
        example='"operators"',
        default=_control.group,
        default_text="the supervisor's group",
    )
    mode: forms.ControlMode = setting(
        "The socket's permission bits.", example='"0660"', default=_control.mode
    )


class CloisterTable(Table):
    """`[cloister]`: the supervisor's own places."""

    runtime_directory: forms.PathText | None = setting(
        "Where sockets are made: the control socket, and `apps/NAME/socket` for each "
        "application. Lost at a reboot without harm.",
        example='"/run/cloister"',
        default=None,
        default_text='`$RUNTIME_DIRECTORY` (systemd sets it); else "/run/cloister" as root, '
        "otherwise `$XDG_RUNTIME_DIR/cloister`, or `run` in `state-directory` where there is no "
        "login session",
    )
    state_directory: forms.PathText | None = setting(
        "Where identities and the local certificate authority are kept.",
        example='"/var/lib/cloister"',
        default=None,
        default_text='`$STATE_DIRECTORY` (systemd sets it); else "/var/lib/cloister" as root, '
        "otherwise `$XDG_STATE_HOME/cloister` or `~/.local/state/cloister`",
    )
    ids: forms.IdRangeText = setting(
        "User and group ids on this machine, first and last included, that belong to the "
        "cells alone; each application gets one, and the door may take the first. None may "
        "be in use by anybody else.",
        example='"500000-565535"',
        default=DEFAULT_IDS,
        default_text='"500000-565535"',
    )
    control: ControlTable = setting(
        "Who may ask the supervisor.",
        example='{ group = "operators", mode = "0660" }',
        default=ControlTable(),
    )


class DoorTable(Table):
    """`[door]`: the process that takes every connection and never decrypts one."""

    workers: Annotated[int, Form("number")] | None = setting(
        "Threads that relay connections.",
        example="2",
        default=_door.workers,
        default_text="one per processor",
        at_least=1,
        at_most=MAX_WORKERS,
    )
    user: forms.UnprivilegedUser | None = setting(
        "As whom the door runs once its listeners are bound.",
        example='"www-data"',
        default=_door.user,
        default_text="the first of `ids` as root, otherwise the supervisor's own user",
    )
    log_connections: forms.Flag = setting(
        "Whether each connection leaves one line in the log when it ends.",
        example="false",
        default=_door.log_connections,
    )


class RouteTable(Table):
    """`[listeners.NAME.route]`: where a listener's connections go."""

    hosts: forms.PathText | None = setting(
        "A hosts directory: one folder per hostname, each with a `tls-socket`, looked up for "
        "every connection after the `hosts` of the applications.",
        example='"/srv/hosts"',
        default=None,
        default_text="none",
    )
    hashed: forms.Flag | None = setting(
        "Whether the folders of `hosts` are called by the hashes of their hostnames, as "
        "`cloister hostname --hashed NAME` prints them: who may list the directory does not "
        "learn the names.",
        example="true",
        default=None,
        default_text="`false`",
    )
    target: forms.TargetText | None = setting(
        "One place that takes every connection, whatever its bytes are: `unix:PATH`, "
        "`unix:@NAME`, `tcp:HOST:PORT` (a name is looked up again as its addresses expire), "
        "`vsock:CID:PORT`, or `srv:_SERVICE._tcp.NAME`.",
        example='"unix:/run/example.sock"',
        default=None,
        default_text="none: connections go by their TLS server name",
    )
    send_proxy: SendProxyWord | None = setting(
        "The PROXY protocol header that tells `target` the client's address: `none`, `v1` "
        "(text) or `v2` (binary).",
        example='"v1"',
        default=None,
        default_text='"none"',
    )

    balance: BalanceWord | None = setting(
        "Which address of a `target` with several comes first: each in turn (`round-robin`), "
        "or the one with the fewest open connections (`least-connections`).",
        example='"least-connections"',
        default=None,
        default_text='"round-robin"',
    )


class KeepaliveTable(Table):
    """`[listeners.NAME.keepalive]`: when the kernel probes silent TCP peers (tcp(7)).

    Of the listener's clients, and of its `target` where that is TCP.
    """

    idle: forms.Duration = setting(
        "Silence before the first probe, in whole seconds.",
        example='"60s"',
        default=float(_keepalive.idle),
        at_least=1,
        at_most=MAX_KEEPALIVE,
    )
    interval: forms.Duration = setting(
        "The time between probes, in whole seconds.",
        example='"10s"',
        default=float(_keepalive.interval),
        at_least=1,
        at_most=MAX_KEEPALIVE,
    )
    probes: Annotated[int, Form("number")] = setting(
        "Probes without an answer that end the connection.",
        example="6",
        default=_keepalive.probes,
        at_least=1,
        at_most=MAX_PROBES,
    )


class SocketTable(Table):
    """`[listeners.NAME.socket]`: how the listening socket is made.

    All but `backlog` concern Unix paths only.
    """

    owner: forms.User | None = setting(
        "Who owns the socket.",
        example='"www-data"',
        default=_socket.owner,
        default_text="the supervisor's user",
    )
    group: forms.Group | None = setting(
        "The socket's group.",
        example='"www-data"',
        default=_socket.group,
        default_text="the supervisor's group",
    )
    mode: forms.SocketMode = setting(
        "The socket's permission bits; who may write to it may connect.",
        example='"0660"',
        default=_socket.mode,
    )
    directory_mode: forms.DirectoryMode = setting(
        "The permission bits of folders that have to be made above the socket.",
        example='"0750"',
        default=_socket.directory_mode,
    )
    backlog: Annotated[int, Form("number")] = setting(
        "Connections that may wait to be accepted; the kernel cuts it at `net.core.somaxconn`.",
        example="4096",
        default=_socket.backlog,
        at_least=1,
        at_most=MAX_BACKLOG,
    )


class LimitsTable(Table):
    """`[listeners.NAME.limits]`: what one listener bears."""

    connections: Annotated[int, Form("number")] = setting(
        "Connections at once; one more is closed at once and counted. 0 sets no bound.",
        example="10000",
        default=_limits.connections,
        at_least=0,
        at_most=MAX_CONNECTIONS,
    )
    connections_per_client: Annotated[int, Form("number")] = setting(
        "Connections at once of one client: an IPv4 address, an IPv6 network of 64 bits, a "
        "user of this machine. One more is closed at once and counted. 0 sets no bound.",
        example="100",
        default=_limits.connections_per_client,
        at_least=0,
        at_most=MAX_CONNECTIONS,
    )
    connections_per_host: Annotated[int, Form("number")] = setting(
        "Connections at once to one host of the route, so that no host takes the others' "
        "share of `connections`; the names of one application's `*.PARENT` count together, "
        "those of a hosts directory each by itself. One more is "
        "refused and counted. 0 sets no bound.",
        example="5000",
        default=_limits.connections_per_host,
        at_least=0,
        at_most=MAX_CONNECTIONS,
    )
    hello_timeout: forms.Duration = setting(
        "How long a client may take for its whole ClientHello, and for the PROXY header before it.",
        example='"10s"',
        default=_limits.hello_timeout,
    )
    connect_timeout: forms.Duration = setting(
        "How long a target may take to accept a connection.",
        example='"5s"',
        default=_limits.connect_timeout,
    )
    idle_timeout: forms.DurationOrNone = setting(
        "How long a connection may move no byte in either direction before it is reset; "
        '"0s" sets no bound. A peer that has stopped reading may take twice that.',
        example='"1h"',
        default=_limits.idle_timeout,
    )


class ListenerTable(Table):
    """`[listeners.NAME]`: where connections come in."""

    listen: forms.Addresses = setting(
        "`ADDRESS:PORT`, `[ADDRESS]:PORT`, `*:PORT` (every address, IPv4 and IPv6), "
        "`unix:PATH` of any length, `unix:@NAME` in the abstract namespace, or `vsock:CID:PORT` "
        "(`any` for the context id) for virtual machines.",
        example='["0.0.0.0:443", "[::]:443"]',
    )
    route: RouteTable | None = setting(
        "Where the connections go.",
        example='{ hosts = "/srv/hosts" }',
        default=None,
        default_text="by TLS server name among the applications' `hosts`",
    )
    accept_proxy: forms.ProxyPeers = setting(
        "Whose connections must begin with a PROXY protocol header (version 1 or 2), which is "
        "believed: it names the client for limits, log and the header that an application "
        "gets. Networks, addresses, `unix` for every process that may connect, `unix:UID` for "
        "one user's. Headers from elsewhere are not read.",
        example='["10.0.0.0/8", "2001:db8::7"]',
        default=[],
        default_text="none",
    )
    socket: SocketTable = setting(
        "How the listening socket is made.", example='{ mode = "0660" }', default=SocketTable()
    )
    limits: LimitsTable = setting(
        "What the listener bears.", example='{ hello-timeout = "5s" }', default=LimitsTable()
    )
    keepalive: KeepaliveTable | None = setting(
        "TCP keepalive towards clients and a TCP target.",
        example='{ idle = "60s", interval = "10s", probes = 6 }',
        default=None,
        default_text="as the system has it: none",
    )


class TlsFiles(Table):
    """`[apps.NAME.tls]`: a certificate of one's own."""

    certificate: forms.PathText = setting(
        "The certificate and its chain, PEM.", example='"/etc/ssl/example.pem"'
    )
    key: forms.PathText = setting(
        "The certificate's private key, PEM, which others must not be able to read.",
        example='"/etc/ssl/private/example.key"',
    )


def _tls_form(value: object) -> str:
    return TABLE_FORM if isinstance(value, dict | TlsFiles) else WORD_FORM


TlsChoice = Annotated[
    Annotated[Literal["self-signed"], Tag(WORD_FORM)] | Annotated[TlsFiles, Tag(TABLE_FORM)],
    Discriminator(_tls_form),
    Form('"self-signed", or table'),
]


class PythonTable(Table):
    """`[apps.NAME.python]`: a Python application that needs more than its name."""

    app: forms.CallableText = setting("The callable.", example='"blog:app"')
    factory: forms.Flag = setting(
        "Whether `app` is called once, without arguments, and returns the application.",
        example="true",
        default=False,
    )
    interface: Annotated[Literal["asgi", "wsgi"], Form("word", lambda word: f'"{word}"')] | None = (
        setting(
            "What the application speaks.",
            example='"wsgi"',
            default=None,
            default_text="told from what it takes",
        )
    )
    threads: Annotated[int, Form("number")] | None = setting(
        "Requests that a WSGI application answers at once, each in a thread of its own. An ASGI "
        "application needs no threads.",
        example="16",
        default=None,
        default_text="`10`",
        at_least=1,
        at_most=MAX_THREADS,
    )
    home: forms.PathText | None = setting(
        "A virtual environment (Python 3.11 or later): its interpreter runs the application, its "
        "packages come before those of Cloister's server.",
        example='"/srv/blog/venv"',
        default=None,
        default_text="none: the interpreter that runs Cloister",
    )
    path: Annotated[list[forms.PathText], Form("list of paths")] = setting(
        "Folders where modules are looked for before anywhere else; readable in the cell.",
        example='["/srv/blog/lib"]',
        default=[],
        default_text="none",
    )


def _python_form(value: object) -> str:
    return TABLE_FORM if isinstance(value, dict | PythonTable) else WORD_FORM


PythonChoice = Annotated[
    Annotated[forms.CallableText, Tag(WORD_FORM)] | Annotated[PythonTable, Tag(TABLE_FORM)],
    Discriminator(_python_form),
    Form("module:callable, or table"),
]


class BindTable(Table):
    """`[[apps.NAME.binds]]`: one more part of the host's file system in the cell."""

    source: forms.PathText = setting("The file or folder on the host.", example='"/srv/data"')
    destination: forms.CellPath | None = setting(
        "Where the cell sees it.",
        example='"/srv/data"',
        default=None,
        default_text="the same path as `source`",
    )
    writable: forms.Flag = setting(
        "Whether the application may write to it.", example="true", default=False
    )
    executable: forms.Flag = setting(
        "Whether programs in it may be executed.", example="false", default=True
    )
    owner: forms.User | None = setting(
        "A user of this machine whose files in it are the application's own in the cell; what "
        "the application writes there belongs to that user. An id-mapped mount: it needs root.",
        example='"www-data"',
        default=None,
        default_text="files belong to whom they belong",
    )
    group: forms.Group | None = setting(
        "The same for groups.",
        example='"www-data"',
        default=None,
        default_text="the group of `owner`",
    )


class AppTable(Table):
    """`[apps.NAME]`: one application in a cell of its own.

    NAME consists of lower-case letters, digits and inner hyphens. Either `python` or
    `command` says what runs.
    """

    python: PythonChoice | None = setting(
        "An ASGI or WSGI callable; Cloister brings the server. A table says more of it.",
        example='"blog:app"',
        default=None,
        default_text="none",
    )
    command: forms.Command | None = setting(
        "A program and its arguments; `endpoint` says how it gets its connections. A name "
        "without a slash is looked for in the system's folders, a relative one in "
        "`directory`.",
        example='["/srv/blog/server", "--fd", "{fd}"]',
        default=None,
        default_text="none",
    )
    directory: forms.PathText | None = setting(
        "The application's folder: its working directory, readable in the cell as a whole, "
        "never writable. Name one of its own where other applications' files or this file's "
        "secrets are beside it.",
        example='"/srv/blog"',
        default=None,
        default_text="the configuration file's folder for `python` and for a command given by "
        "a relative path, where it is the only application; otherwise none, and the working "
        "directory is `/`",
    )
    hosts: forms.Hosts = setting(
        "The TLS server names that lead here: a name, `*.PARENT` for every name one label "
        "below PARENT, or `*` for all that nobody else claims.",
        example='["blog.example.org", "*.blog.example.org"]',
        default=[],
        default_text="none",
    )
    listen: forms.Addresses = setting(
        "Where the application is reached without any name, every connection and whatever its "
        "bytes are: addresses as `listen` of a listener has them. `*:PORT` is IPv4 and IPv6, "
        "`unix:PATH` a socket; the application is the same for all. A listener with a `route` "
        "says more, such as the socket's group.",
        example='"*:8000"',
        default=[],
        default_text="none",
    )
    tls: TlsChoice | None = setting(
        "With what certificate the application's server answers: one signed by the local "
        "authority, or files. A `command` finds them as `$CREDENTIALS_DIRECTORY/tls.crt` and "
        "`tls.key`. Without this setting the application finds its own, or speaks no TLS.",
        example='"self-signed"',
        default=None,
        default_text="none",
    )
    send_proxy: SendProxyWord = setting(
        "The PROXY protocol header that tells the application the client's address: `none`, "
        "`v1` (text) or `v2` (binary).",
        example='"v2"',
        default="none",
    )
    endpoint: EndpointWord = setting(
        "How the application gets its connections. `inherit`: it accepts them on the listening "
        "socket that it inherits (`LISTEN_FDS`; `{fd}` in `command` is its number). `bind`: it "
        "makes a Unix socket at `$SOCKPATH`, or `{socket}` in `command`. `port`: it listens on "
        "127.0.0.1 and `$PORT`, or `{port}` in `command`. `stdio`: each connection gets a "
        "process of its own, with the connection as standard input and output (inetd), at most "
        "`processes` at once. `handoff`: the door gives it each client's own connection and is "
        "out of the way (docs/handoff.md); a `command` has to understand that.",
        example='"handoff"',
        default="inherit",
    )
    port: Annotated[int, Form("number")] | None = setting(
        'Where the application listens inside its cell, with `endpoint = "port"`. The cell has '
        "a network of its own: no other application is in the way.",
        example="3000",
        default=None,
        default_text="`8080`",
        at_least=1,
        at_most=65535,
    )
    processes: ProcessesChoice | None = setting(
        "How many processes serve the application, each in a cell of its own, all on one "
        "listening socket; or a table that lets the load decide.",
        example="4",
        default=None,
        default_text='`1`; with `endpoint = "stdio"` at most 64',
    )
    idle_stop: forms.Duration | None = setting(
        "Without any connection for so long, the application ends; it is started by the next "
        "connection, which waits for it. It is not started before its first one, either.",
        example='"5m"',
        default=None,
        default_text="none: it runs all the time",
    )
    restart: RestartChoice = setting(
        "Whether a process that ended by itself is started again (`always`, `on-failure`, "
        "`never`), or a table with more.",
        example='"on-failure"',
        default="always",
    )
    log: LogTable = setting(
        "Where its output is kept.", example='{ to = "files", size = "1M" }', default=LogTable()
    )
    environment: Annotated[
        dict[forms.VariableName, forms.VariableValue], Form("table of texts")
    ] = setting(
        "Environment variables, beside `HOME`, `LANG`, `LOGNAME`, `PATH` and `USER`; nothing "
        "is inherited.",
        example='{ LANG = "C.UTF-8" }',
        default={},
        default_text="none",
    )
    credentials: Annotated[dict[forms.CredentialName, forms.PathText], Form("table of paths")] = (
        setting(
            "Secret files, each handed over as `$CREDENTIALS_DIRECTORY/NAME`, so that the "
            "application needs no right to read the original.",
            example='{ database-password = "/etc/blog/password" }',
            default={},
            default_text="none",
        )
    )
    binds: Annotated[list[BindTable], Form("list of tables")] = setting(
        "Further parts of the host's file system.",
        example='[{ source = "/srv/uploads", writable = true }]',
        default=[],
        default_text="none",
    )
    ready: forms.ReadyText | None = setting(
        "How the application shows that it serves: `notify` by sd_notify(3), `accept` by "
        "taking a connection, `http:/PATH` by answering a GET of that path with a status of "
        "2xx or 3xx.",
        example='"http:/health"',
        default=None,
        default_text='"notify" with `python`, "accept" with `command`',
    )
    ready_timeout: forms.Duration = setting(
        "How long it may take to be ready.",
        example='"30s"',
        default=_app_defaults["ready_timeout"],
    )
    stop_timeout: forms.Duration = setting(
        "How long it may take to end before it is killed.",
        example='"10s"',
        default=_app_defaults["stop_timeout"],
    )
    user: forms.AppUser | None = setting(
        "As whom it runs on this machine. Applications of one user can reach what is each "
        "other's, as far as their cells show it.",
        example='"www-data"',
        default=None,
        default_text="an id of its own, out of `ids`",
    )
    group: forms.AppGroup | None = setting(
        "Its group on this machine; only with `user`.",
        example='"www-data"',
        default=None,
        default_text="the user's own",
    )
    groups: Annotated[list[forms.AppGroup], Form("list of groups")] = setting(
        "Further groups of this machine, for example to connect to another service's socket "
        "that `binds` shows.",
        example='["postgres"]',
        default=[],
        default_text="none",
    )
    egress: Annotated[list[EgressChoice], Form("list of names with ports, or tables")] = setting(
        "What the application may dial outside its cell: names with a port. In the cell each name "
        "stands in /etc/hosts, and the door, which is outside, connects to what the name means "
        "there, looked up afresh; or a table says where it leads. Nothing else can be reached.",
        example='["db.internal:5432", "api.payments.example:443"]',
        default=[],
        default_text="none: nothing outside the cell",
    )
    limits: AppLimitsTable = setting(
        "How much of the machine it may use.",
        example='{ memory = "256M", pids = 64 }',
        default=AppLimitsTable(),
    )
    tmp_size: forms.Size = setting(
        "How much its private /tmp, which is memory, may hold.",
        example='"64M"',
        default=_app_defaults["tmp_size"],
    )
    fences: FencesTable = setting(
        "What the application may ask of the kernel.",
        example='{ allow = ["ptrace"] }',
        default=FencesTable(),
    )
    metrics: AppMetricsChoice | None = setting(
        "That the application has metrics in Prometheus' form: the path under which it answers "
        "on its own socket, or a table. The gateway offers them as `/apps/NAME/metrics`.",
        example='"/metrics"',
        default=None,
        default_text="none",
    )
    isolation: IsolationTable = setting(
        "What keeps the application and the machine apart.",
        example="{ namespaces = { time = false } }",
        default=IsolationTable(),
    )


class File(Table):
    """The whole file."""

    cloister: CloisterTable = setting(
        "The supervisor's own places.", example="{}", default=CloisterTable()
    )
    door: DoorTable = setting("The front door.", example="{}", default=DoorTable())
    metrics: MetricsTable | None = setting(
        "The gateway for Prometheus.",
        example='{ listen = "127.0.0.1:9464" }',
        default=None,
        default_text="none",
    )
    listeners: dict[forms.ListenerName, ListenerTable] = setting(
        "Where connections come in.",
        example='{ https = { listen = "*:443" } }',
        default={},
        default_text="none",
    )
    apps: dict[forms.AppName, AppTable] = setting(
        "The applications.",
        example='{ blog = { python = "blog:app", hosts = ["blog.example.org"] } }',
        default={},
        default_text="none",
    )
