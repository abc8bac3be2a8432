"""`[apps.NAME]` as it is written: a part of ``syntax``."""

from typing import Annotated, Literal

from pydantic import Discriminator, Tag

from cloister.config import forms
from cloister.config.egress import EgressChoice
from cloister.config.fences import FencesTable
from cloister.config.forms import TABLE_FORM, WORD, WORD_FORM, Form, Table, setting
from cloister.config.isolation_tables import IsolationTable
from cloister.config.lifecycle import LogTable, ProcessesChoice, RestartChoice
from cloister.config.limits import AppLimitsTable
from cloister.config.listener_tables import SendProxyWord
from cloister.config.metrics import AppMetricsChoice
from cloister.config.signing import GrantTable
from cloister.model.app import App

MAX_THREADS = 10_000

_app_defaults = {name: field.default for name, field in App.__dataclass_fields__.items()}

EndpointWord = Annotated[Literal["inherit", "handoff", "bind", "port", "stdio"], WORD]


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
    interface: Annotated[Literal["asgi", "wsgi"], WORD] | None = setting(
        "What the application speaks.",
        example='"wsgi"',
        default=None,
        default_text="told from what it takes",
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
        "there, looked up afresh; or a table says where it leads, and may have a Unix socket for "
        "it. Nothing else can be reached. With a `rootfs` a private file that has its names and "
        "these covers its /etc/hosts, which stays as it is on the disk; where it has none, one is "
        "made in a copy of its /etc in memory, which is read-only. A root whose "
        "/etc/nsswitch.conf has `hosts:` without `files` does not look there.",
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
    sign: Annotated[dict[forms.StoreName, GrantTable], Form("table of tables")] = setting(
        "What the signer signs for the application: a table for each store of `[signer]`. It asks "
        "at `$SIGNER_SOCKET`, and has no key (docs/signer.md).",
        example='{ backups = { put = "blog/{date}/*.tar.gz", largest = "2G" } }',
        default={},
        default_text="nothing",
    )
    isolation: IsolationTable = setting(
        "What keeps the application and the machine apart.",
        example="{ namespaces = { time = false } }",
        default=IsolationTable(),
    )
