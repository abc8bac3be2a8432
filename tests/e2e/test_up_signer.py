"""The signer with a real supervisor, real cells and real ids."""

import base64
import hashlib
import http.server
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.support.open_python import open_python
from tests.support.ordinary_user import need_user_namespaces
from tests.support.processes import command_line
from tests.support.signing import SECRET, Signing, curl_as, holds, put
from tests.support.sigv4 import is_signed_by
from tests.support.up import have_ended, open_folder
from tests.support.waiting import wait_until

ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="needs root: otherwise all are one user")
NOBODY = 65534


@pytest.fixture(scope="module")
def signing() -> Iterator[Signing]:
    with open_folder() as folder:
        found = Signing(folder)
        me = "root" if ROOT else str(os.geteuid())
        nobody = f'{NOBODY} = {{ put = "nobody/*" }}, ' if ROOT else ""
        found.write(users=f'users = {{ {nobody}{me} = {{ put = "me/*", get = "me/*" }} }}')
        try:
            found.start()
            yield found
        finally:
            found.up.close()


def key_of(url: str) -> str:
    return parse_qs(urlsplit(url).query)["X-Amz-Credential"][0].split("/")[0]


def test_an_application_has_an_upload_signed_from_its_cell(signing: Signing) -> None:
    status, signed = signing.ask("blog", put("first"))
    assert status == 200, signed
    assert is_signed_by(SECRET, "PUT", signed["url"], signed["headers"])
    assert signed["url"].startswith("http://127.0.0.1:9/backups/blog/first.gz?")


def test_a_second_signature_for_a_key_is_refused(signing: Signing) -> None:
    assert signing.ask("blog", put("second"))[0] == 200
    status, refusal = signing.ask("blog", put("second"))
    assert (status, refusal["reason"]) == (409, "issued")


def test_also_by_the_next_signer(signing: Signing) -> None:
    assert signing.ask("blog", put("third"))[0] == 200
    (before,) = signing.signers()
    before.kill()
    # Who asks meanwhile waits in the queue of the socket, which stays.
    status, refusal = signing.ask("blog", put("third"))
    assert (status, refusal["reason"]) == (409, "issued")
    assert signing.wait_signer(besides=before.pid).pid != before.pid


def test_what_is_not_granted_is_refused(signing: Signing) -> None:
    for body, reason in (
        (put("x", key="shop/x.gz"), "no-grant"),
        (put("x", key="blog/../shop/x.gz"), "bad-request"),
        (put("x", store="others"), "no-grant"),
        (put("x", size=2**21), "too-large"),
        (put("x", operation="delete"), "bad-request"),
    ):
        assert signing.ask("blog", body)[1]["reason"] == reason


def test_an_application_without_a_grant_has_no_way_to_ask(signing: Signing) -> None:
    code = "import os; print(os.environ.get('SIGNER_SOCKET'), os.path.exists('/run/signer.sock'))"
    assert signing.inside("shop", code) == "None False\n"
    found = signing.inside("shop", f"import os; print(os.path.exists({str(signing.up.runtime)!r}))")
    assert found == "False\n"


@needs_root
@pytest.mark.parametrize("who", ["shop", "door", "nobody"])
def test_no_other_user_reaches_an_applications_socket(signing: Signing, who: str) -> None:
    uid = uids(signing)[who]
    done = curl_as(uid, "--unix-socket", str(signing.socket_of("app-blog")), "http://x/grants")
    assert done.returncode == 7, done  # "Failed to connect to host"
    assert done.stdout == ""
    own = uids(signing)["blog"]
    allowed = curl_as(own, "--unix-socket", str(signing.socket_of("app-blog")), "http://x/grants")
    assert json.loads(allowed.stdout)["name"] == "blog"


@needs_root
def test_whom_the_kernel_does_not_stop_the_signer_does(signing: Signing) -> None:
    """Root passes every mode; who asks is still not the application."""
    done = curl_as(0, "--unix-socket", str(signing.socket_of("app-blog")), "http://x/grants")
    answer = json.loads(done.stdout)
    assert (answer["reason"], answer["why"]) == (
        "unknown-caller",
        "the kernel says that user 0 asks",
    )
    group = uids(signing)["blog"]
    done = subprocess.run(
        ["curl", "-s", "--unix-socket", str(signing.socket_of("app-blog")), "http://x/grants"],
        user=uids(signing)["shop"],
        group=group,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["reason"] == "unknown-caller"


def uids(signing: Signing) -> dict[str, int]:
    status = signing.up.status()
    (signer,) = signing.signers()
    found = {app.name: app.host_uid for app in status.apps}
    return found | {"door": status.door.host_uid, "nobody": NOBODY, "signer": signer.uids().real}


@needs_root
@pytest.mark.parametrize("who", ["blog", "shop", "door", "nobody", "signer"])
def test_nobody_else_reads_the_keys(signing: Signing, who: str) -> None:
    """Neither the file, nor the signer's memory, of which the signer's own user is kept out."""
    uid = uids(signing)[who]
    (signer,) = signing.signers()
    attempts = [str(signing.keys), f"/proc/{signer.pid}/mem", f"/proc/{signer.pid}/environ"]
    attempts += [f"/proc/{signer.pid}/maps", f"/proc/{signer.pid}/fd/3"]
    code = (
        "import sys\n"
        "for path in sys.argv[1:]:\n"
        "    try: open(path, 'rb').read(1); print('read', path)\n"
        "    except OSError as error: print(type(error).__name__)\n"
    )
    done = subprocess.run(
        ["/usr/bin/python3", "-c", code, *attempts],
        user=uid,
        group=uid,
        extra_groups=[],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["PermissionError"] * len(attempts)
    for path in attempts[:1]:
        assert Path(path).read_bytes()  # root reads it: the attempt is one


@needs_root
def test_the_keys_are_in_the_signer_alone(signing: Signing) -> None:
    signing.ask("blog", put("memory"))
    (signer,) = signing.signers()
    assert holds(signer.pid, SECRET.encode())
    for process in signing.up.family():
        if process.pid != signer.pid:
            assert not holds(process.pid, SECRET.encode()), command_line(process)
    assert signing.up.process is not None
    assert not holds(signing.up.process.pid, SECRET.encode())


def test_the_keys_are_said_nowhere(signing: Signing) -> None:
    signing.ask("blog", put("said"))
    said = [signing.up.log_path.read_text(), repr(signing.up.status())]
    said.append(signing.up.configuration().text)
    for path in ("config", "status", "metrics", "configuration"):
        control = signing.up.runtime / "control.sock"
        said.append(curl_as(0, "--unix-socket", str(control), f"http://x/{path}").stdout)
    config = ("--config", str(signing.up.config))
    said += [cloister(signing, "explain", "blog", *more, *config) for more in ((), ("--json",))]
    assert all(said)
    assert not any(SECRET in one or "EXAMPLEKEY" in one for one in said)
    assert "SIGNER_SOCKET" in said[-1]


def cloister(signing: Signing, *arguments: str, fails: bool = False) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "cloister", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert (done.returncode != 0) is fails, done.stderr
    return done.stderr if fails else done.stdout


def test_the_signer_is_confined(signing: Signing) -> None:
    (signer,) = signing.signers()
    lines = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{signer.pid}/status").read_text().splitlines()
    )
    assert int(lines["CapEff"], 16) == int(lines["CapPrm"], 16) == int(lines["CapInh"], 16) == 0
    assert lines["NoNewPrivs"] == "1"
    if ROOT:
        others = {uid for who, uid in uids(signing).items() if who != "signer"}
        assert set(signer.uids()) == {uids(signing)["signer"]}
        assert uids(signing)["signer"] not in {0, *others}
        assert lines["Groups"].strip() == ""
        networks = [Path(f"/proc/{pid}/ns/net").readlink() for pid in ("self", signer.pid)]
        assert networks[0] != networks[1]
        interfaces = Path(f"/proc/{signer.pid}/net/dev").read_text().splitlines()[2:]
        assert [line.split(":")[0].strip() for line in interfaces] == ["lo"]
        limits = Path(f"/proc/{signer.pid}/limits").read_text()
        assert any(
            line.split()[:5] == ["Max", "core", "file", "size", "0"] for line in limits.splitlines()
        )


def test_each_answer_is_in_the_log_and_counted(signing: Signing) -> None:
    signing.ask("blog", put("counted"))
    signing.ask("blog", put("counted"))

    def events() -> list[dict[str, object]]:
        lines = map(json.loads, signing.up.log_path.read_text().splitlines())
        return [one for one in lines if one.get("key") == "blog/counted.gz"]

    wait_until(lambda: len(events()) == 2, what="two events")
    assert [(one["app"], one["outcome"], one["size"]) for one in events()] == [
        ("blog", "signed", 3),
        ("blog", "issued", 3),
    ]
    control = str(signing.up.runtime / "control.sock")
    text = curl_as(0, "--unix-socket", control, "http://x/metrics").stdout
    (line,) = [one for one in text.splitlines() if 'app="blog",outcome="signed"' in one]
    assert int(line.split()[-1]) >= 1


class Store(http.server.BaseHTTPRequestHandler):
    """Takes what is signed for it, as a store does."""

    received: dict[str, bytes]

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        url = f"http://{self.headers['host']}{self.path}"
        digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
        path = urlsplit(self.path).path
        status = 200
        if not is_signed_by(SECRET, "PUT", url, dict(self.headers.items())):
            status = 403
        elif self.headers["x-amz-checksum-sha256"] != digest:
            status = 400
        elif self.headers["if-none-match"] == "*" and path in self.received:
            status = 412
        else:
            self.received[path] = body
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def store(signing: Signing) -> Iterator[dict[str, bytes]]:
    """A store at the signer's endpoint, from now on."""
    received: dict[str, bytes] = {}
    handler = type("Handler", (Store,), {"received": received})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    before = signing.up.config.read_text()
    (signer,) = signing.signers()
    port = server.server_address[1]
    signing.up.apply(before.replace("http://127.0.0.1:9", f"http://127.0.0.1:{port}"))
    second = signing.wait_signer(besides=signer.pid)
    yield received
    signing.up.apply(before)
    signing.wait_signer(besides=second.pid)
    server.shutdown()
    server.server_close()


def test_a_user_uploads_by_the_command(
    signing: Signing, store: dict[str, bytes], tmp_path: Path
) -> None:
    file = tmp_path / "it's a file"
    file.write_bytes(b"a backup\n" * 1000)
    config = ("--config", str(signing.up.config))
    said = cloister(signing, "sign", "put", "backups", "me/a", str(file), "--upload", *config)
    assert (said, store["/backups/me/a"]) == ("uploaded me/a\n", file.read_bytes())
    again = cloister(
        signing, "sign", "put", "backups", "me/a", str(file), "--upload", *config, fails=True
    )
    assert "me/a was signed for once" in again
    assert "next" in again
    line = cloister(signing, "sign", "put", "backups", "me/b", str(file), *config)
    subprocess.run(line, shell=True, check=True, capture_output=True)
    assert store["/backups/me/b"] == file.read_bytes()
    store["/backups/me/c"] = b"there"
    refused = cloister(
        signing, "sign", "put", "backups", "me/c", str(file), "--upload", *config, fails=True
    )
    assert "412" in refused
    assert "take another key" in refused
    url = cloister(signing, "sign", "get", "backups", "me/a", *config).strip()
    assert is_signed_by(SECRET, "GET", url, {})
    assert "me/*" in cloister(signing, "sign", "grants", *config)


def test_what_is_no_file_or_no_socket_is_said(signing: Signing, tmp_path: Path) -> None:
    config = ("--config", str(signing.up.config))
    put_ = ("sign", "put", "backups", "me/x")
    assert "is no regular file" in cloister(signing, *put_, "/dev/null", *config, fails=True)
    file = tmp_path / "file"
    file.touch()
    nowhere = ("--socket", str(tmp_path / "none"))
    assert "no signer listens" in cloister(signing, *put_, str(file), *nowhere, fails=True)


@needs_root
def test_a_user_has_a_socket_of_his_own(signing: Signing) -> None:
    path = str(signing.socket_of(f"user-{NOBODY}"))
    done = curl_as(NOBODY, "--unix-socket", path, "http://x/grants")
    assert json.loads(done.stdout)["name"] == str(NOBODY)
    assert curl_as(12345, "--unix-socket", path, "http://x/grants").returncode == 7
    body = json.dumps(put("x", key="me/x"))
    done = curl_as(NOBODY, "--unix-socket", path, "http://x/sign", "--data", body)
    assert json.loads(done.stdout)["reason"] == "no-grant"


def test_changes_take_effect_while_everything_runs() -> None:
    with open_folder() as folder:
        found = Signing(folder)
        found.write()
        try:
            found.start()
            (first,) = found.signers()
            blog = found.up.app("blog").pid
            # New keys in the file: SIGHUP has them read.
            found.write_keys("AKSECOND")
            assert found.up.process is not None
            found.up.process.send_signal(signal.SIGHUP)
            second = found.wait_signer(besides=first.pid)
            assert key_of(found.ask("blog", put("a"))[1]["url"]) == "AKSECOND"
            # Another application is granted something.
            found.write(shop='sign = { backups = { put = "shop/*" } }')
            found.up.apply()
            third = found.wait_signer(besides=second.pid)
            wait_until(lambda: asks(found, "shop"), what="shop's signature", seconds=30)
            assert found.ask("shop", put("a"))[1]["reason"] == "no-grant"
            assert found.up.app("shop").restarts == 0  # its first process found its socket
            assert found.up.app("blog").pid == blog
            # And has it taken away; the first one has another grant.
            found.write(blog="sign.backups.per-day = 1")
            found.up.apply()
            found.wait_signer(besides=third.pid)
            assert not found.socket_of("app-shop").exists()
            assert found.up.app("blog").pid == blog
            assert found.ask("blog", put("a"))[1]["reason"] == "issued"
            assert found.ask("blog", put("b"))[1]["reason"] == "per-day"
        finally:
            found.up.close()


def asks(found: Signing, name: str) -> bool:
    """Whether the version of an application that may ask serves by now."""
    code = "import os; print('SIGNER_SOCKET' in os.environ)"
    return found.inside(name, code) == "True\n" and found.ask(name, put("x", key="shop/x"))[0] in (
        200,
        409,
    )


def test_keys_that_others_may_read_are_not_used() -> None:
    with open_folder() as folder:
        found = Signing(folder)
        found.write()
        try:
            found.start()
            (signer,) = found.signers()
            found.keys.chmod(0o644)
            signer.kill()
            wait_until(
                lambda: (
                    any("its mode is 0644" in line for line in found.up.said("signer"))
                    or "its mode is 0644" in found.up.log_path.read_text()
                ),
                what="the refusal",
                seconds=30,
            )
            assert found.signers() == []
            found.keys.chmod(0o600)
            found.wait_signer(besides=signer.pid)
            assert found.ask("blog", put("a"))[0] == 200
        finally:
            found.up.close()


def test_a_killed_supervisors_applications_go_on_asking() -> None:
    """Its signer ends with it; the socket in the cells that go on is the next one's."""
    with open_folder() as folder:
        found = Signing(folder)
        found.write()
        try:
            found.start()
            assert found.ask("blog", put("a"))[0] == 200
            blog = found.up.app("blog").pid
            (signer,) = found.signers()
            found.up.kill()
            wait_until(lambda: have_ended([signer]), what="the signer's end", seconds=30)
            found.start()
            assert found.up.app("blog").pid == blog
            assert found.ask("blog", put("a"))[1]["reason"] == "issued"
            assert found.ask("blog", put("b"))[0] == 200
            assert found.up.stop() == 0
            assert not found.socket_of("app-blog").parent.exists()
            assert (found.up.state / "signer" / "issued").exists()
            found.start()
            assert found.ask("blog", put("b"))[1]["reason"] == "issued"
        finally:
            found.up.close()


@needs_root
def test_an_ordinary_users_signer_has_no_network_and_no_open_memory() -> None:
    """All are one user then: an application is known by the socket that its cell alone has."""
    need_user_namespaces()
    with open_folder() as folder:
        found = Signing(folder)
        user = 54321
        found.up.python, found.up.user = open_python(folder), user
        found.write()
        for path in (folder, found.keys, found.up.config):
            os.chown(path, user, user)
        try:
            found.start()
            (signer,) = found.signers()
            lines = Path(f"/proc/{signer.pid}/status").read_text().splitlines()
            assert "NoNewPrivs:\t1" in lines
            assert "CapEff:\t0000000000000000" in lines
            assert "CapPrm:\t0000000000000000" in lines
            assert signer.uids().real == user
            networks = [Path(f"/proc/{pid}/ns/net").readlink() for pid in ("self", signer.pid)]
            assert networks[0] != networks[1]
            done = subprocess.run(
                ["/usr/bin/python3", "-c", f"open('/proc/{signer.pid}/mem', 'rb')"],
                user=user,
                group=user,
                extra_groups=[],
                capture_output=True,
                text=True,
                check=False,
            )
            assert "PermissionError" in done.stderr
            assert found.ask("blog", put("a"))[0] == 200
            places = ("/run/signer.sock", str(found.up.runtime))
            code = f"import os; print(*map(os.path.exists, {places}))"
            assert found.inside("shop", code) == "False False\n"
            assert found.inside("blog", code) == "True False\n"
            log = found.up.log_path.read_text()
            assert "not in force around it" not in log
        finally:
            found.up.close()


def test_there_is_a_signer_while_anybody_may_ask() -> None:
    with open_folder() as folder:
        found = Signing(folder)
        found.write()
        granted = found.up.config.read_text()
        nothing = "".join(
            line for line in granted.splitlines(keepends=True) if not line.startswith("sign.")
        )
        found.up.config.write_text(nothing)
        try:
            found.up.start("--log-format", "json")
            found.up.wait_ready()
            assert found.signers() == []
            found.up.apply(granted)
            signer = found.wait_signer()
            wait_until(
                lambda: (
                    found.inside("blog", "import os; print('SIGNER_SOCKET' in os.environ)")
                    == "True\n"
                ),
                what="the version that may ask",
                seconds=30,
            )
            assert found.ask("blog", put("a"))[0] == 200
            found.up.apply(nothing)
            wait_until(lambda: have_ended([signer]), what="the signer's end", seconds=30)
            assert not found.socket_of("app-blog").exists()
        finally:
            found.up.close()
