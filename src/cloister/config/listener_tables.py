"""`[listeners.NAME]` as it is written: a part of ``syntax``."""

from typing import Annotated, Literal

from cloister.config import forms
from cloister.config.forms import WORD, Form, Table, setting
from cloister.model.listener import Keepalive, ListenerLimits, SocketOptions

MAX_CONNECTIONS = 2**32 - 1
MAX_BACKLOG = 2**31 - 1
MAX_KEEPALIVE = 32767
"""Seconds: MAX_TCP_KEEPIDLE and MAX_TCP_KEEPINTVL (Linux, include/net/tcp.h)."""
MAX_PROBES = 127
"""MAX_TCP_KEEPCNT."""

_socket = SocketOptions()
_limits = ListenerLimits()
_keepalive = Keepalive()

BalanceWord = Annotated[Literal["round-robin", "least-connections"], WORD]
SendProxyWord = Annotated[Literal["none", "v1", "v2"], WORD]


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
