"""AppArmor profiles and SELinux modules of the tests' own, on machines whose kernel has either."""

import contextlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


def need_apparmor() -> None:
    """Skips where the kernel does not enforce AppArmor's profiles."""
    enabled = Path("/sys/module/apparmor/parameters/enabled")
    if os.geteuid() != 0 or not enabled.exists() or enabled.read_text().strip() != "Y":
        pytest.skip("needs root and AppArmor in the kernel: `make test-machine` has both")


def need_unix_paths() -> None:
    """Skips where AppArmor is not asked about connections to Unix sockets that have a path."""
    features = Path("/sys/kernel/security/apparmor/features")
    if not any(features.glob("network*/af_unix")):
        pytest.skip("AppArmor is not asked about Unix sockets' paths before Linux 6.17")


def need_selinux() -> None:
    """Skips where SELinux does not enforce."""
    enforcing = Path("/sys/fs/selinux/enforce")
    if os.geteuid() != 0 or not enforcing.exists() or enforcing.read_text().strip() != "1":
        pytest.skip("needs root and an enforcing SELinux: `make test-machine` has both")


@contextlib.contextmanager
def profile(text: str) -> Iterator[None]:
    """Loaded meanwhile; kept in no folder."""
    _apparmor("--replace", text)
    try:
        yield
    finally:
        _apparmor("--remove", text)


def _apparmor(verb: str, text: str) -> None:
    command = ["apparmor_parser", "--skip-cache", "--quiet", verb]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@contextlib.contextmanager
def module(name: str, text: str) -> Iterator[None]:
    """A module of policy in CIL, installed meanwhile."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"{name}.cil")
        file.write_text(text)
        _semodule("--install", str(file))
    try:
        yield
    finally:
        _semodule("--remove", name)


def _semodule(*arguments: str) -> None:
    command = ["semodule", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def label(path: Path, type_: str) -> None:
    """Gives a file a type. SELinux's own tools, which may do that in whichever domain."""
    for command in (["setenforce", "0"], ["chcon", "-t", type_, path], ["setenforce", "1"]):
        subprocess.run(command, check=True, capture_output=True)
