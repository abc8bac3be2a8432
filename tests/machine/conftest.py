"""Two machines for all tests of this folder, each booted once: emulated, a boot is a minute."""

from collections.abc import Iterator

import pytest
from tests.support import checkout, packages
from tests.support.guest import PACKAGES, Guest, image


def booted(security: str, factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """A machine with this checkout in it, as long as the tests run."""
    packages.need(*PACKAGES)
    folder = factory.mktemp("machine")
    payload = checkout.payload(folder / "payload")
    with Guest(image(), security, payload, folder) as machine:
        yield machine


@pytest.fixture(scope="session")
def apparmor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """Where AppArmor enforces; control groups are of version 2, and vsock has a loopback."""
    yield from booted("security=apparmor apparmor=1", tmp_path_factory)


@pytest.fixture(scope="session")
def selinux(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    """Where SELinux enforces."""
    yield from booted("security=selinux selinux=1 enforcing=1", tmp_path_factory)
