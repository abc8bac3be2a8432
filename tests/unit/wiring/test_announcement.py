"""How what was begun is told."""

import pytest

from cloister.model.listener import TcpAddress
from cloister.wiring.announcement import reach


@pytest.mark.parametrize(
    ("address", "arguments"),
    [
        (
            TcpAddress("127.0.0.1", 8443),
            " --resolve a.example:8443:127.0.0.1 https://a.example:8443/",
        ),
        (TcpAddress("0.0.0.0", 443), " --resolve a.example:443:127.0.0.1 https://a.example/"),
        (TcpAddress("::", 443), " --resolve a.example:443:[::1] https://a.example/"),
        (
            TcpAddress("2001:db8::1", 99),
            " --resolve a.example:99:[2001:db8::1] https://a.example:99/",
        ),
    ],
)
def test_how_curl_reaches_a_host(address: TcpAddress, arguments: str) -> None:
    assert reach("a.example", address) == arguments
