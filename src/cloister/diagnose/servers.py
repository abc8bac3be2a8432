"""What is known about servers that bind sockets themselves: how each is told the mode."""

from cloister.diagnose.facts import Process

_MODES = {
    "gunicorn": "gunicorn makes the socket under its umask: start it with --umask 007, or umask = "
    "0o007 in its configuration, and with the group that it shares with the web server",
    "uvicorn": "uvicorn makes the socket 0666 or 0755, by version: have a systemd socket unit or "
    "Cloister make it, and start uvicorn with --fd 3",
    "hypercorn": "start hypercorn with --umask 007 and --group",
    "daphne": "have a systemd socket unit or Cloister make it, and start daphne with --fd 3",
    "php-fpm": "set listen.group and listen.mode = 0660 in the pool's configuration",
    "uwsgi": "set chmod-socket = 660 and chown-socket in uwsgi's configuration",
    "puma": "write umask=0007 behind the path: bind 'unix:///run/app.sock?umask=0007'",
}
_ANY = (
    "have a systemd socket unit (SocketGroup=, SocketMode=) or Cloister make the socket, or start "
    "the server with umask 007 (UMask=0007 in its unit)"
)


def lasting_mode(server: Process | None) -> str:
    """How a server is told which mode its socket is to have."""
    if server is not None:
        words = " ".join((server.name, *server.command[:3]))
        for name, advice in _MODES.items():
            if name in words:
                return advice
    return _ANY
