"""The status page in a real browser, before a real supervisor."""

import contextlib
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from tests.support.browser import Browser, browser
from tests.support.up import SITES, Client, Up, open_folder
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    with open_folder() as folder:
        running = Up(folder)
        tenants = folder / "hosts"
        listener = f'listen = "127.0.0.1:0"\nroute = {{ hosts = "{tenants}" }}\n'
        running.write(SITES, f"[listeners.tenants]\n{listener}")
        stack = ExitStack()
        for place in TENANTS:
            (tenants / place).parent.mkdir(parents=True, exist_ok=True)
            with contextlib.chdir((tenants / place).parent):
                one = stack.enter_context(socket.socket(socket.AF_UNIX))
                one.bind((tenants / place).name)
                one.listen()
        (tenants / "nobody.example").mkdir()
        running.start("--log-format", "json")
        try:
            running.wait_ready()
            yield running
        finally:
            running.close()
            stack.close()


@pytest.fixture(scope="module")
def page() -> Iterator[Browser]:
    with browser() as found:
        yield found


TENANTS = (
    *("*.shop.example/tls-socket", "_default/tls-socket", "one.example/tls-socket"),
    *("taken.example/handoff-socket", "acme.example/tls-socket"),
    "acme.example/alpn/acme-tls%2F1/tls-socket",
    *(f"tenant{number:02}.example/tls-socket" for number in range(20)),
)
"""Sockets of a hosts directory that somebody listens on."""


class Web:
    """A running `cloister web`."""

    def __init__(self, up: Up, *arguments: str) -> None:
        command = [sys.executable, "-m", "cloister", "web", str(up.config), *arguments]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        self.entrance = self.process.stdout.readline().strip()

    def __enter__(self) -> "Web":
        assert self.entrance, self.process.communicate()[1]
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    @property
    def base(self) -> str:
        return self.entrance.partition("/?")[0]


def enter(page: Browser, web: Web) -> None:
    page.open("about:blank")  # else the page of the test before goes on to ask
    page.events.clear()
    page.open(web.entrance)
    page.until("document.querySelectorAll('#rows tr').length == 2")


def test_listeners_hosts_applications_and_findings(up: Up, page: Browser, tmp_path: Path) -> None:
    with Web(up) as web:
        enter(page, web)
        routes = page.run("document.getElementById('routes').innerText")
        for wanted in ("https", "127.0.0.1:", "one.example", "*.two.example", "ready"):
            assert wanted in routes, wanted
        assert "2 of 2 ready" in page.run("document.getElementById('summary').innerText")
        page.until("document.getElementById('findings').innerText.includes('doctor found nothing')")
        for scheme, ground in (("light", "rgb(246, 247, 249)"), ("dark", "rgb(16, 21, 28)")):
            page.prefer(scheme)
            colour = page.run("getComputedStyle(document.body).backgroundColor")
            assert colour == ground
            assert len(page.picture(tmp_path / f"{scheme}.png")) > 20_000
        assert page.run("document.documentElement.scrollWidth <= innerWidth")
        assert page.complaints() == []
        assert {url.partition("/?")[0].rstrip("/") for url in page.requested()} <= {
            web.base,
            page.run("location.href").rstrip("/"),
        }


def test_names_of_a_hosts_directory(up: Up, page: Browser) -> None:
    with Web(up) as web:
        enter(page, web)
        card = "[...document.querySelectorAll('#routes .card')].find("
        card += "one => one.querySelector('h3').innerText == 'tenants')"
        text = page.run(f"{card}.innerText")
        for wanted in (
            *(str(up.folder / "hosts"), "*.shop.example", "_default", "acme.example"),
            *("tls-socket", "alpn/acme-tls%2F1", "nobody has made the socket yet"),
        ):
            assert wanted in text, wanted
        # An application comes first, and is one click away.
        assert page.run(f"{card}.querySelector('a[href=\"#app-one\"]') != null")
        assert "tenant19.example" not in text
        # By keyboard: the names behind the fold, which stay when the page is exchanged beneath.
        page.run(f"{card}.querySelector('summary').focus()")
        page.press("Enter")
        page.until(f"{card}.innerText.includes('tenant19.example')")
        shown = page.run("document.getElementById('live').innerText")
        page.until(f"document.getElementById('live').innerText != {shown!r}")
        # One more name is a change of this very part.
        (up.folder / "hosts" / "another.example").mkdir()
        page.until(f"{card}.innerText.includes('another.example')")
        assert "tenant19.example" in page.run(f"{card}.innerText")
        assert page.run("document.activeElement.tagName") == "SUMMARY"
        assert "taken.example" in page.run(f"{card}.innerText")
        assert "handoff-socket" in page.run(f"{card}.innerText")
        assert page.run("document.documentElement.scrollWidth <= innerWidth")
        assert page.complaints() == []


def test_rates_are_live(up: Up, page: Browser) -> None:
    with Web(up) as web:
        enter(page, web)
        before = page.run("document.querySelector('#routes .numbers').innerText")
        for _ in range(5):
            Client(up, "one.example").get()
        page.until(f"document.querySelector('#routes .numbers').innerText != {before!r}")
        assert re.search(r"\d+ in all", page.run("document.querySelector('#routes').innerText"))
        assert page.complaints() == []


def test_by_keyboard_alone(up: Up, page: Browser) -> None:
    with Web(up) as web:
        enter(page, web)
        page.press("Tab")
        assert page.run("document.activeElement.className") == "skip"
        page.press("/", text="/")
        assert page.run("document.activeElement.id") == "filter"
        page.type("two")
        visible = "[...document.querySelectorAll('#rows tr')].filter(r => !r.hidden).length"
        page.until(f"{visible} == 1")
        page.press("Escape")
        page.until(f"{visible} == 2")
        for _ in range(40):
            page.press("Tab")
            if page.run("document.activeElement.parentElement.id") == "app-one":
                break
        else:
            raise AssertionError("the application is not reached by Tab")
        page.press("Enter")
        page.until("document.getElementById('app-one').open")
        shown = page.run("document.getElementById('live').innerText")
        # It stays open, and keeps the focus, when the page is exchanged beneath.
        page.until(f"document.getElementById('live').innerText != {shown!r}")
        assert page.run("document.getElementById('app-one').open")
        assert "python web:app" in page.run("document.getElementById('app-one').innerText")


def test_without_script(up: Up, page: Browser) -> None:
    with Web(up) as web:
        page.events.clear()
        page.script(enabled=False)
        try:
            page.open(web.entrance)
            wait_until(
                lambda: page.run("document.querySelectorAll('#rows tr').length") == 2,
                what="the applications",
                seconds=60,
            )
            text = page.run("document.body.innerText")
            for wanted in ("one.example", "Applications", "seccomp", "acme.example"):
                assert wanted in text, wanted
            # What is folded is there all the same, and opens without script.
            folded = "document.querySelector('#routes details')"
            assert "tenant19.example" in page.run(f"{folded}.textContent")
            page.run(f"{folded}.querySelector('summary').focus()")
            page.press("Enter")
            wait_until(lambda: page.run(f"{folded}.open"), what="the names", seconds=60)
            assert page.run("getComputedStyle(document.querySelector('.filter')).display") == "none"
        finally:
            page.script(enabled=True)


def test_the_token_is_good_once_and_for_its_cookie_alone(up: Up) -> None:
    with Web(up) as web, httpx.Client() as client, httpx.Client() as other:
        assert other.get(web.base + "/").status_code == 403
        assert other.get(web.base + "/?token=wrong").status_code == 403
        entered = client.get(web.entrance)
        assert entered.status_code == 200
        cookie = entered.headers["set-cookie"]
        match = re.search(r"url=(/[\w-]+/)", entered.text)
        assert match is not None
        assert f"Path={match[1]}; HttpOnly; SameSite=Strict" in cookie
        assert client.get(web.base + match[1], timeout=30).status_code == 200
        # The address was seen by somebody else: it opens nothing any more.
        assert other.get(web.entrance).status_code == 403
        assert other.get(web.base + match[1]).status_code == 403
        assert client.get(web.base + "/").status_code == 403


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", ""])
def test_another_host_name_is_refused(up: Up, host: str) -> None:
    """A name of an attacker's that leads to 127.0.0.1 is not this site (DNS rebinding)."""
    with Web(up) as web:
        response = httpx.get(web.entrance, headers={"host": host})
        assert response.status_code == 421
        policy = response.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "unsafe" not in policy


def test_on_a_unix_socket(up: Up) -> None:
    path = up.folder / "web.sock"
    with Web(up, "--listen", f"unix:{path}"):
        assert path.stat().st_mode & 0o777 == 0o660
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(path)), timeout=30) as client:
            response = client.get("http://x/")
            assert response.status_code == 200
            assert "one.example" in response.text
            assert client.get("http://x/other").status_code == 404
            assert client.post("http://x/").status_code == 405


@pytest.mark.parametrize("address", ["0.0.0.0:0", "*:8080", "vsock:any:80", "unix:@x"])
def test_only_this_machine(up: Up, address: str) -> None:
    command = [sys.executable, "-m", "cloister", "web", str(up.config), "--listen", address]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "127.0.0.1" in done.stderr
