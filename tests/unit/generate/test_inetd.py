"""Lines for inetd.conf: goldens, and what such a line cannot say."""

from typing import Any

import pytest
from tests.conftest import Golden
from tests.support.generated import check_goldens

from cloister.generate.door import DoorOptions
from cloister.generate.inetd import InetdRequest, generate
from cloister.model.errors import UsageError

DOOR = "/usr/local/bin/cloister-door"
PROXY = DoorOptions(user="sniproxy")
EVERYTHING = DoorOptions(user="sniproxy", exit_idle=1.5, connections=7, drain=2)


@pytest.mark.parametrize(
    ("case", "request_"),
    [
        ("inetd-sni", InetdRequest(DOOR, "https", hosts="/srv/hosts", options=PROXY)),
        (
            "inetd-sni-options",
            InetdRequest(DOOR, "[2001:db8::7]:443", hosts="/srv/hosts", options=EVERYTHING),
        ),
        (
            "inetd-relay",
            InetdRequest(DOOR, "192.0.2.7:9000", target="php.example.:9000", options=EVERYTHING),
        ),
        (
            "inetd-relay-unix",
            InetdRequest(DOOR, "/run/php.sock", target="unix:/run/x.sock", options=PROXY),
        ),
    ],
)
def test_goldens(golden: Golden, case: str, request_: InetdRequest) -> None:
    check_goldens(golden, case, generate(request_))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"options": DoorOptions()}, "needs a user"),
        ({"options": DoorOptions(user="a", groups=("b",))}, "supplementary groups"),
        ({"options": DoorOptions(user="a", oom_score_adjust=1)}, "OOM score"),
        ({"program": "/opt/my tools/door"}, "splits its lines at blanks"),
        ({"hosts": "/srv/my hosts"}, "splits its lines at blanks"),
        ({"hosts": None}, "either a hosts directory or a target"),
        ({"target": "a:1"}, "either a hosts directory or a target"),
        ({"listen": "70000"}, "cannot be listened on"),
        ({"listen": "name:443"}, "cannot be listened on"),
        ({"listen": "2001:db8::7:443"}, "cannot be listened on"),
        ({"listen": "https stream"}, "cannot be listened on"),
        ({"listen": "#https"}, "cannot be listened on"),
        ({"listen": "/run/a b"}, "splits its lines at blanks"),
    ],
)
def test_refusals(changes: dict[str, Any], message: str) -> None:
    valid = {"program": DOOR, "listen": "https", "hosts": "/srv/hosts", "options": PROXY}
    with pytest.raises(UsageError) as error:
        generate(InetdRequest(**{**valid, **changes}))
    assert message in f"{error.value.what} {error.value.why}"
