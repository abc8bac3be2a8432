"""Whether this machine is its own peer by vsock(7)."""

import contextlib
import errno
import socket
import subprocess

import pytest
from tests.support.relay import LOOPBACK_CID


def need_loopback() -> None:
    """Loads the kernel's modules where that is possible; skips where there is no loopback."""
    with contextlib.suppress(FileNotFoundError):
        subprocess.run(["modprobe", "vsock_loopback"], check=False, capture_output=True)
    try:
        with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as probe:
            # Nobody listens there: with a loopback that is a refusal, without one a desert.
            if probe.connect_ex((LOOPBACK_CID, 1)) in (errno.ECONNRESET, errno.ECONNREFUSED):
                return
    except OSError:
        pass
    pytest.skip("needs vsock_loopback, a module of the kernel: `make test-machine` has it")
