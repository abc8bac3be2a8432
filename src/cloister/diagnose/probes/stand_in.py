"""A short-lived child that connects as somebody else: the kernel's own answer, not ours.

The child enters the mount and network namespaces and the root directory of the process that
it stands in for, takes on its ids, groups and capabilities, and connects when told to. What
it cannot take on is a profile of SELinux or AppArmor, and filters such as seccomp.

It is hidden from the user whose ids it has (``PR_SET_DUMPABLE``) and keeps no descriptor but
its end of the pair, so that nobody gets at root's memory or files through it. It is forked,
so the process should have one thread only; what the child runs needs no lock of another one.
"""

import contextlib
import ctypes
import errno
import json
import os
import signal
import socket
import struct
import time
from typing import Any

from cloister.diagnose.facts import (
    NAME_FAILED,
    AbstractPlace,
    Attempt,
    Credentials,
    Place,
    Process,
    UnixPlace,
)
from cloister.model.listener import UNIX_NAME_MAX

_PATIENCE = 2.0
"""Seconds that a connection over a network, or an answer, may take."""
_REPLY = 4096
_ENOUGH = 16
"""Bytes that tell TLS from HTTP, and the status of an answer."""

_CLONE_NEWNS, _CLONE_NEWNET = 0x00020000, 0x40000000
"""linux/sched.h."""
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_KEEPCAPS = 1, 4, 8
"""linux/prctl.h."""
_CAPABILITY_VERSION = 0x20080522
"""_LINUX_CAPABILITY_VERSION_3 (capget(2))."""

_libc = ctypes.CDLL(None, use_errno=True)


class StandIn:
    """Connects as ``who``, in the view of ``view`` where one is given. :meth:`close` ends it."""

    def __init__(self, who: Credentials, view: Process | None) -> None:
        """Forks. Raises :class:`OSError` where no process or pair can be made."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._pair = ours
        self._child = os.fork()
        if self._child == 0:
            status = 1
            try:
                ours.close()
                _serve(theirs, who, view)
                status = 0
            finally:
                os._exit(status)
        theirs.close()

    def connect(self, place: Place, send: bytes, *, long_path: bool) -> Attempt:
        """One connection; ``send`` goes out on it, and what comes back within two seconds
        is kept. ``long_path``: the one who asks connects beyond ``sun_path`` too."""
        if isinstance(place, UnixPlace):
            where: dict[str, Any] = {"path": place.path, "sequenced": place.sequenced}
        elif isinstance(place, AbstractPlace):
            where = {"abstract": place.name}
        else:
            # Encoded here: the codec is a module, which the child may not be able to read.
            host = place.host.encode("idna" if not place.host.isascii() else "ascii")
            where = {"host": host.decode("ascii"), "port": place.port}
        request = where | {"send": send.decode("latin-1"), "long": long_path}
        try:
            self._pair.sendall(json.dumps(request).encode())
            answer = self._pair.recv(65536)
        except OSError as error:
            return Attempt(error.errno or errno.EIO, failure=f"the probe ended: {error.strerror}")
        if not answer:
            return Attempt(errno.EIO, failure="the probe ended")
        fields = json.loads(answer)
        fields["reply"] = fields.get("reply", "").encode("latin-1")
        return Attempt(**fields)

    def close(self) -> None:
        """Ends the child. Idempotent."""
        if self._child:
            self._pair.close()
            os.waitpid(self._child, 0)
            self._child = 0


def possible(who: Credentials, view: Process | None, own: Process) -> bool:
    """Whether this process may act as ``who`` in that view: as root, or as itself."""
    if own.credentials.uid == 0:
        return True
    same_view = view is None or (view.namespaces, view.root) == (own.namespaces, own.root)
    return same_view and who == own.credentials


def _serve(pair: socket.socket, who: Credentials, view: Process | None) -> None:
    """The child's whole life."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.dup2(pair.fileno(), 3)
    pair.detach()
    pair = socket.socket(fileno=3)
    os.closerange(4, os.sysconf("SC_OPEN_MAX"))
    failure = ""
    try:
        _become(who, view)
    except OSError as error:
        failure = f"{error.strerror or error} ({error.filename or 'taking on the identity'})"
    while request := pair.recv(65536):
        if failure:
            answer: dict[str, Any] = {"error": errno.EPERM, "failure": failure}
        else:
            try:
                answer = _connect(json.loads(request))
            except Exception as error:  # noqa: BLE001 - said to the parent, which goes on
                answer = {"error": errno.EIO, "failure": repr(error)}
        pair.sendall(json.dumps(answer).encode())


def _become(who: Credentials, view: Process | None) -> None:
    if os.geteuid() != 0:
        return  # `possible` has seen to it that we are the one
    if view is not None:
        _enter(view.pid)
    _libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
    os.setgroups(sorted(who.groups))
    os.setresgid(who.gid, who.gid, who.gid)
    os.setresuid(who.uid, who.uid, who.uid)
    _set_capabilities(who.capabilities)
    _libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _enter(pid: int) -> None:
    """Opened before any is entered: afterwards /proc is another one."""
    flags = os.O_RDONLY | os.O_CLOEXEC
    root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    network = os.open(f"/proc/{pid}/ns/net", flags)
    mount = os.open(f"/proc/{pid}/ns/mnt", flags)
    for descriptor, kind in ((network, _CLONE_NEWNET), (mount, _CLONE_NEWNS)):
        if _libc.setns(descriptor, kind) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), "setns")
    os.fchdir(root)
    os.chroot(".")
    for descriptor in (root, network, mount):
        os.close(descriptor)


def _set_capabilities(wanted: int) -> None:
    """capset(2): what the other has, as far as this process has it."""
    header = struct.pack("=II", _CAPABILITY_VERSION, 0)
    held = ctypes.create_string_buffer(24)
    if _libc.capget(header, held) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    words = struct.unpack("=IIIIII", held.raw)
    low = words[1] & wanted & 0xFFFFFFFF
    high = words[4] & wanted >> 32
    if _libc.capset(header, struct.pack("=IIIIII", low, low, 0, high, high, 0)) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def _connect(request: dict[str, Any]) -> dict[str, Any]:
    try:
        return _exchange(_open(request), request["send"].encode("latin-1"))
    except socket.gaierror as error:
        words = error.strerror or str(error)
        return {"error": NAME_FAILED, "failure": words, "name_error": error.errno or 0}
    except TimeoutError:
        return {"error": errno.ETIMEDOUT}
    except OSError as error:
        return {"error": error.errno or errno.EIO}


def _open(request: dict[str, Any]) -> socket.socket:
    if "host" in request:
        return _dial(request["host"].encode("ascii"), request["port"])
    kind = socket.SOCK_SEQPACKET if request.get("sequenced") else socket.SOCK_STREAM
    connected = socket.socket(socket.AF_UNIX, kind | socket.SOCK_NONBLOCK)
    try:
        if "abstract" in request:
            connected.connect(b"\0" + os.fsencode(request["abstract"]))
        elif len(os.fsencode(request["path"])) <= UNIX_NAME_MAX:
            connected.connect(request["path"])
        elif request["long"]:
            # As the door does it: from the folder, which path resolution passes as well.
            folder, name = os.path.split(request["path"])
            os.chdir(folder)
            connected.connect(name)
            os.chdir("/")
        else:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        connected.settimeout(_PATIENCE)
    except BaseException:
        connected.close()
        raise
    return connected


def _dial(host: bytes, port: int) -> socket.socket:
    """The first address that takes the connection; raises what the last one did."""
    failure = OSError(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH))
    for family, kind, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        connected = socket.socket(family, kind)
        connected.settimeout(_PATIENCE)
        try:
            connected.connect(address)
        except OSError as error:
            connected.close()
            failure = error
        else:
            return connected
    raise failure


def _exchange(connected: socket.socket, send: bytes) -> dict[str, Any]:
    answer: dict[str, Any] = {"error": 0}
    with connected:
        if connected.family == socket.AF_UNIX:
            raw = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            answer["peer"] = struct.unpack("=iII", raw)[0] or None
        if not send:
            return answer
        received = b""
        deadline = time.monotonic() + _PATIENCE
        with contextlib.suppress(TimeoutError):
            try:
                connected.sendall(send)
                while len(received) < _REPLY and (left := deadline - time.monotonic()) > 0:
                    connected.settimeout(left)
                    more = connected.recv(_REPLY)
                    if not more:
                        answer["closed"] = True
                        break
                    received += more
                    if len(received) >= _ENOUGH:
                        break
            except (ConnectionResetError, BrokenPipeError):
                answer["closed"] = True
        answer["reply"] = received.decode("latin-1")
    return answer
