"""The request of both policies: what would change a policy's meaning is refused."""

from typing import Any

import pytest

from cloister.generate.mandatory_access import PROGRAMS, MandatoryAccessRequest, Reach
from cloister.model.errors import UsageError


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "Door"}, "'Door' cannot be the name of a policy"),
        ({"name": "a-b"}, "cannot be the name"),
        ({"name": "1a"}, "cannot be the name"),
        ({"name": "a" * 33}, "cannot be the name"),
        ({"programs": ()}, "needs the door's program"),
        ({"programs": ("door",)}, "absolute path"),
        ({"programs": ("/usr/bin/a b",)}, "the door's program in a policy"),
        ({"hosts_directories": ("/srv/`x'",)}, "a hosts directory in a policy"),
        ({"hosts_directories": ("/srv/*",)}, "a hosts directory in a policy"),
        ({"hosts_directories": ("/srv/a,b",)}, "a hosts directory in a policy"),
        ({"hosts_directories": ("/srv/$1",)}, "a hosts directory in a policy"),
        ({"hosts_directories": ("/srv/(a|b)",)}, "a hosts directory in a policy"),
        ({"hosts_directories": ("/srv/../etc",)}, "absolute path"),
        ({"hosts_directories": ("/srv",)}, "a folder of the whole system"),
        ({"runtime_directories": ("/",)}, "absolute path"),
        ({"runtime_directories": ("/run",)}, "a folder of the whole system"),
        ({"hosts_directories": ("/srv/a", "/srv/a")}, "named twice"),
        ({"hosts_directories": ("/run/cloister",)}, "named twice"),
    ],
)
def test_what_would_widen_a_policy_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        MandatoryAccessRequest(**changes)
    assert message in f"{caught.value} {caught.value.why}"


def test_what_is_empty_keeps_its_default() -> None:
    request = MandatoryAccessRequest.with_defaults(
        name="edge", programs=(), reaches=frozenset(), changes_user=False
    )
    assert request == MandatoryAccessRequest(name="edge")
    assert request.programs == PROGRAMS
    assert request.reaches == {Reach.UNIX, Reach.TCP, Reach.VSOCK}
