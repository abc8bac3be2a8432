"""Tests of other folders that this machine's kernel skips, run to their ends in one whose kernel
has what they need: ``make test-machine``. What is skipped there fails here."""

import pytest
from tests.support.checkout import run_tests
from tests.support.guest import Guest

# Emulated: each step takes many times longer than on a processor.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.mark.parametrize(
    ("file", "but"),
    [
        ("tests/e2e/door/test_vsock.py", ""),
        ("tests/kernel/test_vsock_fence.py", ""),
        ("tests/kernel/test_cell_apparmor.py", ""),
        # Seven minutes for both, where nothing else runs. Other machines have no quotas.
        ("tests/kernel/test_disk_quotas.py", "test_a_disk_without"),
        ("tests/e2e/test_up_disk.py", ""),
        # Debian 12's kernel does not ask AppArmor about paths of Unix sockets.
        ("tests/e2e/doctor/test_apparmor.py", "test_a_path"),
    ],
)
def test_where_apparmor_enforces(apparmor: Guest, file: str, but: str) -> None:
    chosen = f"-k 'not {but}'" if but else ""
    assert run_tests(apparmor, file, chosen).passed > 2


def test_where_selinux_enforces(selinux: Guest) -> None:
    assert run_tests(selinux, "tests/kernel/test_cell_selinux.py").passed > 2
