"""What a supervisor says of itself, and of what it has begun to serve."""

from cloister.apps.endpoints import Endpoints
from cloister.apps.logs import Level, LogEvent, Sink
from cloister.apps.reporting import describe_route
from cloister.model.app import SelfSignedTls
from cloister.model.listener import TcpAddress
from cloister.model.route import ServerNameRoute
from cloister.model.snapshot import Snapshot


def say(sink: Sink, message: str, level: Level = Level.INFO) -> None:
    """Under the supervisor's own name."""
    sink.emit(LogEvent("cloister", message, level))


def announce(
    snapshot: Snapshot, endpoints: Endpoints, missing: tuple[str, ...], sink: Sink
) -> None:
    """What listens where, and how to reach it."""
    routes = {listener.name: listener.route for listener in snapshot.listeners}
    described = {listener.name: describe_route(listener) for listener in snapshot.listeners}
    for endpoint in endpoints.listeners:
        name, address = endpoint.listener, endpoint.bound.address
        say(sink, f"{name} listens on {address}, {described[name]}")
    tcp = [
        endpoint.bound.address
        for endpoint in endpoints.listeners
        if isinstance(endpoint.bound.address, TcpAddress)
        and isinstance(routes[endpoint.listener], ServerNameRoute)
    ]
    for app in snapshot.apps:
        if app.name in missing or app.tls is None or not tcp:
            continue
        trust = ""
        if isinstance(app.tls, SelfSignedTls):
            trust = f" --cacert {snapshot.paths.authority_certificate}"
        for host in app.hosts:
            if not host.startswith("*"):
                say(sink, f"try: curl{trust}{reach(host, tcp[0])}")
    ready = len(snapshot.apps) - len(missing)
    if missing:
        message = f"ready: {ready} of {len(snapshot.apps)} apps; not ready: {', '.join(missing)}"
        say(sink, message, Level.WARNING)
    else:
        say(sink, f"ready: {ready} app{'' if ready == 1 else 's'}")


def reach(host: str, address: TcpAddress) -> str:
    """curl's arguments that reach ``host`` at ``address`` without any DNS."""
    target = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(address.host, address.host)
    if ":" in target and not target.startswith("["):
        target = f"[{target}]"
    port = "" if address.port == 443 else f":{address.port}"
    return f" --resolve {host}:{address.port}:{target} https://{host}{port}/"
