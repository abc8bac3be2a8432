"""AppArmor's own parser takes every profile, and finds the same rules in it."""

import subprocess
from pathlib import Path

import pytest
from tests.support import packages

from cloister.generate.apparmor import generate
from cloister.generate.mandatory_access import MandatoryAccessRequest, Reach

REQUESTS = [
    MandatoryAccessRequest(),
    MandatoryAccessRequest(changes_user=True, reaches=frozenset({Reach.UNIX})),
    MandatoryAccessRequest(programs=("/opt/door+1@x",), hosts_directories=("/srv/a.b", "/x/y")),
]


@pytest.mark.parametrize("request_", REQUESTS)
def test_the_parser_takes_it(request_: MandatoryAccessRequest, tmp_path: Path) -> None:
    packages.need("apparmor")
    file = tmp_path / "profile"
    file.write_text(generate(request_).files[0].text)
    done = _parse("--skip-kernel-load", "--skip-cache", str(file))
    assert (done.returncode, done.stdout) == (0, "")
    # What this machine's kernel does not enforce says nothing about the profile.
    kernel = ("not enforced", "interface file missing")
    others = [line for line in done.stderr.splitlines() if not any(w in line for w in kernel)]
    assert others == []


def test_a_mistake_is_found(tmp_path: Path) -> None:
    packages.need("apparmor")
    file = tmp_path / "profile"
    file.write_text(generate(REQUESTS[0]).files[0].text.replace("network inet ", "network ine "))
    assert _parse("--skip-kernel-load", "--skip-cache", str(file)).returncode != 0


def _parse(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["apparmor_parser", "--warn=all", *arguments],
        check=False,
        capture_output=True,
        text=True,
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )
