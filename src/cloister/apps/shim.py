"""Serves a program that insists on a socket of its own, inside its cell.

    python -P -m cloister.apps.shim RELAY TARGET DRAIN -- PROGRAM ARGUMENT…

``RELAY`` is the path of ``cloister-door``: it takes the connections of the listening socket
that the cell inherited (sd_listen_fds(3)), and relays them to ``TARGET``, where the program
listens: ``127.0.0.1:PORT``, or the path of a Unix socket. The program is not told of the
inherited socket.

The relay is started once the program listens: until then connections wait in the inherited
socket's queue, where another process of the application may take them.

Both run as children of this process. SIGTERM ends the relay first, which takes no more
connections and lets the open ones end within ``DRAIN`` seconds, and then the program; other
signals are the program's. This process ends as the program does. The relay's end takes the
program along: nobody would reach it any more.
"""

import contextlib
import os
import signal
import sys

_FORWARDED = (
    signal.SIGHUP,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGWINCH,
)
_WAITED = (*_FORWARDED, signal.SIGTERM, signal.SIGCHLD)
_FIRST_DESCRIPTOR = 3
_NOT_EXECUTED = 127
"""As a shell says it."""


def main(arguments: list[str]) -> int:
    """Returns the program's exit status; where a signal ended it, the same one ends this
    process."""
    relay_path, target, drain, separator, *command = arguments
    if separator != "--" or not command:
        raise SystemExit("usage: shim RELAY TARGET DRAIN -- PROGRAM ARGUMENT…")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _WAITED)
    options = ["relay", target, "--drain", drain, "--connect-timeout", "60"]
    # As many as there may be: it is the door that bounds them.
    options += ["--connections-max", "100000", "--workers", "1"]
    program = _start(command, before, inherit=False)
    status = _wait_listening(program, target)
    if status is None:
        relay = _start([relay_path, *options], before, inherit=True)
        # Whoever holds the listening socket could take connections from it.
        os.close(_FIRST_DESCRIPTOR)
        status = _watch(relay, program)
        with contextlib.suppress(ProcessLookupError):
            os.kill(relay, signal.SIGKILL)
    if status < 0:
        with contextlib.suppress(OSError):  # of SIGKILL there is no other way
            signal.signal(-status, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {-status})
        os.kill(os.getpid(), -status)
    return status


def _start(command: list[str], mask: "set[signal.Signals] | set[int]", *, inherit: bool) -> int:
    """A child, with or without the inherited socket. One thread, so that fork(2) is safe."""
    pid = os.fork()
    if pid:
        return pid
    try:
        environment = dict(os.environ)
        if inherit:
            environment["LISTEN_PID"] = str(os.getpid())
        else:
            for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"):
                environment.pop(name, None)
            os.set_inheritable(_FIRST_DESCRIPTOR, False)
        # Python ignores them; a program expects the system's own way.
        for number in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.execvpe(command[0], command, environment)  # noqa: S606 - no shell is wanted
    except OSError as error:
        sys.stderr.write(f"{command[0]}: {error.strerror}\n")
    finally:
        os._exit(_NOT_EXECUTED)


def _wait_listening(program: int, target: str) -> int | None:
    """``None`` once somebody listens at the target; the program's status if it ends before."""
    pause = 0.01
    while not _listens(target):
        found = signal.sigtimedwait(_WAITED, pause)
        pause = min(pause * 1.5, 0.25)
        if found is not None and found.si_signo != signal.SIGCHLD:
            os.kill(program, found.si_signo)
        for pid, status in _ended():
            if pid == program:
                return os.waitstatus_to_exitcode(status)
    return None


def _listens(target: str) -> bool:
    """Asks the kernel's lists (proc_net_tcp(5), unix(7)), which makes no connection."""
    if target.startswith("/"):
        # Number, references, protocol, flags, type, state, inode, path; SO_ACCEPTCON is set.
        sockets = [row.split(maxsplit=7) for row in _rows("unix")]
        return any(row[3] == "00010000" and row[-1] == target for row in sockets)
    port = f":{int(target.rpartition(':')[2]):04X}"
    rows = [row.split(maxsplit=4) for kind in ("tcp", "tcp6") for row in _rows(kind)]
    return any(row[1].endswith(port) and row[3] == "0A" for row in rows)


def _rows(kind: str) -> list[str]:
    try:
        with open(f"/proc/self/net/{kind}", encoding="utf-8", errors="replace") as file:  # noqa: PTH123 - imports little
            return file.read().splitlines()[1:]
    except OSError:
        return []  # no IPv6


def _watch(relay: int, program: int) -> int:
    """The program's status once it has ended, negative for a signal."""
    relay_runs = True
    stopping = False
    while True:
        number = signal.sigwait(_WAITED)
        if number == signal.SIGTERM:
            stopping = True
            os.kill(relay if relay_runs else program, signal.SIGTERM)
        elif number != signal.SIGCHLD:
            os.kill(program, number)
        for pid, status in _ended():
            if pid == program:
                return os.waitstatus_to_exitcode(status)
            if pid == relay:
                relay_runs = False
                if not stopping:
                    code = os.waitstatus_to_exitcode(status)
                    sys.stderr.write(f"the relay has ended ({code}), and so does the program\n")
                    sys.stderr.flush()
                os.kill(program, signal.SIGTERM)


def _ended() -> list[tuple[int, int]]:
    """Every child that has ended, with its wait status."""
    found = []
    with contextlib.suppress(ChildProcessError):
        while (one := os.waitpid(-1, os.WNOHANG))[0]:
            found.append(one)
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
