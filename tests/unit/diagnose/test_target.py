"""Everything that people paste: paths, addresses, nginx's URLs and clients' URLs."""

import pytest

from cloister.diagnose.facts import AbstractPlace, Place, TcpPlace, UnixPlace
from cloister.diagnose.target import Speech, parse
from cloister.model.errors import UsageError


@pytest.mark.parametrize(
    ("text", "place", "speech"),
    [
        ("/run/app.sock", UnixPlace("/run/app.sock"), None),
        ("unix:/run/app.sock", UnixPlace("/run/app.sock"), None),
        ("@app", AbstractPlace("app"), None),
        ("unix:@app", AbstractPlace("app"), None),
        ("127.0.0.1:8000", TcpPlace("127.0.0.1", 8000), None),
        ("tcp:backend.example:8000", TcpPlace("backend.example", 8000), None),
        ("[::1]:8000", TcpPlace("::1", 8000), None),
        ("http://unix:/run/app.sock:/", UnixPlace("/run/app.sock"), Speech.HTTP),
        ("http://unix:/run/app.sock", UnixPlace("/run/app.sock"), Speech.HTTP),
        ("https://unix:/run/app.sock:/api/x?y", UnixPlace("/run/app.sock"), Speech.TLS),
        ("http+unix://%2Frun%2Fapp.sock/x", UnixPlace("/run/app.sock"), Speech.HTTP),
        ("http://backend.example/x", TcpPlace("backend.example", 80), Speech.HTTP),
        ("https://[::1]:8443/", TcpPlace("::1", 8443), Speech.TLS),
    ],
)
def test_what_is_understood(text: str, place: Place, speech: Speech | None) -> None:
    target = parse(text)
    assert (target.place, target.speech) == (place, speech)


@pytest.mark.parametrize(
    "text", ["", "app", "@", "host:0", "host:65536", "ftp://host/", "http://", "http://host:x/"]
)
def test_what_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse(text)
