"""The SELinux module's text. What it means is tested in ``tests/mac``."""

import re

import pytest
from tests.conftest import Golden
from tests.support.generated import check_goldens

from cloister.generate.mandatory_access import MandatoryAccessRequest
from cloister.generate.selinux import generate

EDGE = MandatoryAccessRequest(
    name="edge",
    programs=("/opt/edge-1.2/bin/door++",),
    runtime_directories=("/run/edge",),
    hosts_directories=("/srv/hosts.d", "/home/hosts"),
)


@pytest.mark.parametrize(
    ("case", "request_"),
    [("selinux", MandatoryAccessRequest()), ("selinux-edge", EDGE)],
)
def test_goldens(golden: Golden, case: str, request_: MandatoryAccessRequest) -> None:
    check_goldens(golden, case, generate(request_))


def test_every_name_is_the_modules_own() -> None:
    text = "".join(file.text for file in generate(EDGE).files)
    assert "cloister" not in text.replace("Cloister's front door", "").lower()
    assert "@" not in text


def test_paths_are_no_patterns() -> None:
    contexts = generate(EDGE).files[1].text
    assert re.search(r"^/opt/edge-1\\.2/bin/door\\\+\\\+\t--\t", contexts, re.MULTILINE)
    assert r"/srv/hosts\.d(/.*)?" in contexts
