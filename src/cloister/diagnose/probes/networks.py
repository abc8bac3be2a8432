"""What listens in a network namespace: TCP ports, and abstract Unix sockets."""

from contextlib import suppress
from pathlib import Path

from cloister.diagnose.facts import AbstractPlace, Place, TcpListener, TcpPlace
from cloister.sockets.holders import LISTEN, parse_address


def listeners(pid: int) -> tuple[TcpListener, ...]:
    """Those of the network of ``pid``, from proc_pid_net(5)."""
    found = []
    for table in ("tcp", "tcp6"):
        with suppress(OSError):
            text = Path(f"/proc/{pid}/net/{table}").read_text(encoding="ascii")
            for line in text.splitlines()[1:]:
                # sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode
                columns = line.split()
                if columns[3] != LISTEN:
                    continue
                host, port = columns[1].split(":")
                waiting = int(columns[4].split(":")[1], 16)
                found.append(
                    TcpListener(
                        host=str(parse_address(host)),
                        port=int(port, 16),
                        uid=int(columns[7]),
                        inode=int(columns[9]),
                        waiting=waiting,
                    )
                )
    return tuple(found)


def listens(pid: int, place: Place) -> bool:
    """Whether something listens there in the network of ``pid``."""
    if isinstance(place, TcpPlace):
        return any(one.port == place.port for one in listeners(pid))
    if isinstance(place, AbstractPlace):
        with suppress(OSError):
            text = Path(f"/proc/{pid}/net/unix").read_text(encoding="utf-8", errors="replace")
            # Num RefCount Protocol Flags Type St Inode Path (proc_pid_net(5))
            return any(line.split(" ")[-1] == f"@{place.name}" for line in text.splitlines())
    return False
