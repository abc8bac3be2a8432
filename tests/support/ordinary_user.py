"""What an ordinary user needs of the kernel."""

from pathlib import Path

import pytest

_SWITCHES = ("kernel/unprivileged_userns_clone", "user/max_user_namespaces")


def need_user_namespaces() -> None:
    """Skips where the kernel makes none for an ordinary user, and names the switch."""
    for name in _SWITCHES:
        switch = Path("/proc/sys", name)
        if switch.exists() and switch.read_text().strip() == "0":
            pytest.skip(f"{switch} forbids user namespaces to ordinary users")
