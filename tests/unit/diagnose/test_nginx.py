"""nginx's log and configuration, as nginx 1.22 writes and reads them."""

from pathlib import Path

import pytest

from cloister.diagnose.facts import Place, TcpPlace, UnixPlace
from cloister.diagnose.nginx.config import read
from cloister.diagnose.nginx.log import complaints, parse
from cloister.diagnose.target import Speech
from cloister.model.route import SendProxy

REFERENCE = (
    "Apr 01 23:29:58 lufta nginx[15396]: 2021/04/01 23:29:58 [crit] 15396#15396: *198 connect() "
    "to unix:/tmp/printerfacts.sock failed (13: Permission denied) while connecting to upstream, "
    'client: 192.0.2.1, server: printerfacts.cetacean.club, request: "GET / HTTP/2.0", upstream: '
    '"http://unix:/tmp/printerfacts.sock:/", host: "printerfacts.cetacean.club"'
)


def test_the_line_of_reference_001() -> None:
    found = parse(REFERENCE)
    assert found is not None
    assert found.place == UnixPlace("/tmp/printerfacts.sock")
    assert (found.pid, found.errno, found.speech) == (15396, 13, Speech.HTTP)


@pytest.mark.parametrize(
    ("line", "place", "errno"),
    [
        (
            "[error] 7#7: *1 connect() failed (111: Connection refused) while connecting to "
            'upstream, upstream: "http://127.0.0.1:8000/x", host: "h"',
            TcpPlace("127.0.0.1", 8000),
            111,
        ),
        (
            "[error] 7#7: *1 connect() failed (111: Connection refused) while connecting to "
            'upstream, upstream: "fastcgi://[::1]:9000", host: "h"',
            TcpPlace("::1", 9000),
            111,
        ),
        (
            "[error] 7#7: *1 upstream prematurely closed connection while reading response header "
            'from upstream, upstream: "https://unix:/run/x.sock:/a:b", host: "h"',
            UnixPlace("/run/x.sock"),
            None,
        ),
        (
            '[emerg] 7#7: host not found in upstream "backend.test:81" in /etc/nginx/a.conf:3',
            TcpPlace("backend.test", 81),
            None,
        ),
    ],
)
def test_lines_of_an_error_log(line: str, place: Place, errno: int | None) -> None:
    found = parse(line)
    assert found is not None
    assert (found.place, found.errno) == (place, errno)


def test_lines_about_something_else() -> None:
    assert parse("[notice] 7#7: signal process started") is None
    assert parse('[error] 7#7: *1 open() "/srv/x" failed (2: No such file or directory)') is None


def test_the_newest_of_each_upstream() -> None:
    later = REFERENCE.replace("(13: Permission denied)", "(111: Connection refused)")
    other = REFERENCE.replace("printerfacts.sock", "other.sock")
    found = list(complaints("\n".join((REFERENCE, other, later))))
    assert [(str(one.place), one.errno) for one in found] == [
        ("unix:/tmp/printerfacts.sock", 111),
        ("unix:/tmp/other.sock", 13),
    ]


CONFIG = """\
# a comment with a brace {
upstream app {
    server unix:/run/app.sock;   # the socket
    server 'unix:/run/spare.sock' backup;
}
upstream secure { server 10.0.0.1:8443 weight=2; }
server {
    location / { proxy_pass http://app; }
    location /s { proxy_pass https://secure; }
    location /u { proxy_pass
        http://unix:/run/uri.sock:/api/; }
    location ~ \\.php$ { fastcgi_pass unix:/run/php.sock; }
    location /v { proxy_pass http://$backend; }
    location /n { proxy_pass http://backend.example/; }
}
include sub/*.conf;
"""


def configuration(folder: Path, text: str) -> Path:
    path = folder / "nginx.conf"
    path.write_text(text)
    (folder / "sub").mkdir(exist_ok=True)
    (folder / "sub" / "one.conf").write_text('server { location / { uwsgi_pass "unix:/run/u"; } }')
    return path


def text_of(path: str) -> str | None:
    try:
        return Path(path).read_text()
    except OSError:
        return None


def test_what_a_configuration_leads_to(tmp_path: Path) -> None:
    path = configuration(tmp_path, CONFIG)
    targets = read(str(path), text_of).targets
    assert [(str(one.place), one.speech, one.line and one.line.line) for one in targets] == [
        ("unix:/run/app.sock", Speech.HTTP, 3),
        ("unix:/run/spare.sock", Speech.HTTP, 4),
        ("10.0.0.1:8443", Speech.TLS, 6),
        ("unix:/run/uri.sock", Speech.HTTP, 11),
        ("unix:/run/php.sock", Speech.OTHER, 12),
        ("backend.example:80", Speech.HTTP, 14),
        ("unix:/run/u", Speech.OTHER, 1),
    ]
    assert targets[0].proxy is SendProxy.NONE
    assert targets[4].proxy is None


@pytest.mark.parametrize(
    ("line", "right"),
    [
        ("proxy_pass unix:/run/a;", "http://unix:/run/a"),
        ("proxy_pass http:///run/a;", "http://unix:/run/a"),
        ("fastcgi_pass /run/a;", "unix:/run/a"),
        ("fastcgi_pass http://unix:/run/a;", "unix:/run/a"),
    ],
)
def test_forms_that_are_refused(tmp_path: Path, line: str, right: str) -> None:
    path = configuration(tmp_path, f"server {{ location / {{ {line} }} }}")
    (target,) = read(str(path), text_of).targets
    assert target.mistake is not None
    assert target.mistake.right == right
    assert target.place == UnixPlace("/run/a")


def test_what_is_cut_off_or_includes_itself_ends(tmp_path: Path) -> None:
    path = configuration(tmp_path, 'server { location / { proxy_pass "http://unix:/run')
    assert read(str(path), text_of).targets == ()
    path.write_text("include nginx.conf;")
    assert read(str(path), text_of).targets == ()
    assert read(str(tmp_path / "none"), text_of).targets == ()
