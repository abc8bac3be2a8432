"""The AppArmor profile's text. What it does is tested in ``tests/mac``."""

import pytest
from tests.conftest import Golden
from tests.support.generated import check_goldens

from cloister.generate.apparmor import generate, profile_name
from cloister.generate.mandatory_access import MandatoryAccessRequest, Reach

UNIX = MandatoryAccessRequest(
    name="edge",
    programs=("/opt/edge/bin/cloister-door",),
    runtime_directories=("/run/edge",),
    hosts_directories=("/srv/hosts.d", "/home/hosts"),
    reaches=frozenset({Reach.UNIX}),
    changes_user=True,
)


@pytest.mark.parametrize(
    ("case", "request_"),
    [("apparmor", MandatoryAccessRequest()), ("apparmor-unix", UNIX)],
)
def test_goldens(golden: Golden, case: str, request_: MandatoryAccessRequest) -> None:
    check_goldens(golden, case, generate(request_))


@pytest.mark.parametrize(
    ("reaches", "rules"),
    [
        ({Reach.UNIX}, ("network unix stream",)),
        ({Reach.TCP}, ("network inet dgram", "/etc/{hosts,resolv.conf,services} r")),
        ({Reach.VSOCK}, ("network vsock stream",)),
    ],
)
def test_each_reach_has_its_rules(reaches: set[Reach], rules: tuple[str, ...]) -> None:
    text = generate(MandatoryAccessRequest(reaches=frozenset(reaches))).files[0].text
    without = generate(UNIX).files[0].text
    for rule in rules:
        assert rule in text
        assert (rule in without) == (reaches == {Reach.UNIX})


def test_capabilities_are_for_a_change_of_user_only() -> None:
    assert "capability" not in generate(MandatoryAccessRequest()).files[0].text
    assert "capability setuid" in generate(UNIX).files[0].text
    assert profile_name(UNIX) == "edge-door"
