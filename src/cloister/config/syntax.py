"""The configuration as it is written: every setting once, with its help and an example.

These models check keys, types and the form of single values. Nothing here looks at the
machine or at two settings together: that is ``resolve`` and ``files``. The descriptions are
what docs/configuration.md says; ``reference`` renders it.
"""

from typing import Annotated, Literal

from pydantic import Discriminator, Tag

from cloister.config import forms
from cloister.config.forms import Form, Table, setting
from cloister.model.app import App
from cloister.model.listener import ListenerLimits, SocketOptions
from cloister.model.snapshot import DEFAULT_IDS, DoorOptions

MAX_CONNECTIONS = 2**32 - 1
MAX_BACKLOG = 2**31 - 1
MAX_WORKERS = 1024

WORD_FORM = "<word>"
TABLE_FORM = "<table>"
"""Names in pydantic's error places for the forms of a setting that takes a word or a table."""

_socket = SocketOptions()
_limits = ListenerLimits()
_door = DoorOptions()
_app_defaults = {name: field.default for name, field in App.__dataclass_fields__.items()}

SendProxyWord = Annotated[Literal["none", "v1", "v2"], Form("word", lambda word: f'"{word}"')]


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
    target: forms.TargetText | None = setting(
        "One Unix socket that takes every connection, whatever its bytes are.",
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
    hello_timeout: forms.Duration = setting(
        "How long a client may take for its whole ClientHello.",
        example='"10s"',
        default=_limits.hello_timeout,
    )
    connect_timeout: forms.Duration = setting(
        "How long a target may take to accept a connection.",
        example='"5s"',
        default=_limits.connect_timeout,
    )


class ListenerTable(Table):
    """`[listeners.NAME]`: where connections come in."""

    listen: forms.Addresses = setting(
        "`ADDRESS:PORT`, `[ADDRESS]:PORT`, `*:PORT` (every address, IPv4 and IPv6), "
        "`unix:PATH` of any length, or `unix:@NAME` in the abstract namespace.",
        example='["0.0.0.0:443", "[::]:443"]',
    )
    route: RouteTable | None = setting(
        "Where the connections go.",
        example='{ hosts = "/srv/hosts" }',
        default=None,
        default_text="by TLS server name among the applications' `hosts`",
    )
    socket: SocketTable = setting(
        "How the listening socket is made.", example='{ mode = "0660" }', default=SocketTable()
    )
    limits: LimitsTable = setting(
        "What the listener bears.", example='{ hello-timeout = "5s" }', default=LimitsTable()
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


class AppTable(Table):
    """`[apps.NAME]`: one application in a cell of its own.

    NAME consists of lower-case letters, digits and inner hyphens. Either `python` or
    `command` says what runs.
    """

    python: forms.CallableText | None = setting(
        "An ASGI or WSGI callable; Cloister brings the server.",
        example='"blog:app"',
        default=None,
        default_text="none",
    )
    command: forms.Command | None = setting(
        "A program and its arguments. It finds its listening socket by `LISTEN_FDS`. A name "
        "without a slash is looked for in the system's folders, a relative one in "
        "`directory`.",
        example='["/srv/blog/server", "--fd", "3"]',
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
    ready: Annotated[Literal["notify", "accept"], Form("word", lambda word: f'"{word}"')] | None = (
        setting(
            "How the application shows that it serves: `notify` by sd_notify(3), `accept` by "
            "taking a connection.",
            example='"accept"',
            default=None,
            default_text='"notify" with `python`, "accept" with `command`',
        )
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
    tmp_size: forms.Size = setting(
        "How much its private /tmp, which is memory, may hold.",
        example='"64M"',
        default=_app_defaults["tmp_size"],
    )


class File(Table):
    """The whole file."""

    cloister: CloisterTable = setting(
        "The supervisor's own places.", example="{}", default=CloisterTable()
    )
    door: DoorTable = setting("The front door.", example="{}", default=DoorTable())
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
