"""From a file to a snapshot: defaults, paths, where files are looked for, what real ones say."""

import os
import tomllib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from cloister.config import source
from cloister.config.load import build, find, load
from cloister.config.resolve import Surroundings
from cloister.model.app import (
    App,
    CommandProgram,
    Credential,
    FileTls,
    PythonProgram,
    Readiness,
    SelfSignedTls,
)
from cloister.model.errors import CloisterError, ConfigError
from cloister.model.isolation import Bind, IdRange
from cloister.model.listener import Listener, ListenerLimits, SocketOptions, TcpAddress, UnixAddress
from cloister.model.route import SendProxy, ServerNameRoute, TargetRoute, UnixPathTarget
from cloister.model.snapshot import DoorOptions, Paths, Snapshot

LISTENER = '[listeners.https]\nlisten = "*:443"\n'


def resolved(text: str, *, uid: int = 0, **environment: str) -> Snapshot:
    surroundings = Surroundings(
        folder=PurePosixPath("/srv/site"),
        uid=uid,
        environment=environment,
        find_program={"php-fpm": "/usr/sbin/php-fpm"}.get,
    )
    return build(source.parse("conf/cloister.toml", text), surroundings, check_files=False)


def codes(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        resolved(text)
    return [problem.code for problem in caught.value.problems]


def test_everything_given() -> None:
    text = """
[cloister]
runtime-directory = "run"
state-directory = "/var/lib/site"
ids = "100000-100099"
[door]
workers = 2
user = "www-data"
log-connections = false
[listeners.https]
listen = ["127.0.0.1:8443", "unix:sockets/https"]
route = { hosts = "hosts" }
socket = { owner = "root", group = "33", mode = "0600", directory-mode = "2750", backlog = 16 }
limits = { connections = 0, hello-timeout = "500ms", connect-timeout = "1s" }
[listeners.php]
listen = "unix:@php"
route = { target = "unix:../php.sock", send-proxy = "v2" }
[apps.blog]
command = ["bin/../server", "--fd", "3"]
directory = "blog/"
hosts = ["Blog.Example.", "*.blog.example", "*"]
tls = { certificate = "tls/a.pem", key = "/etc/ssl/a.key" }
send-proxy = "v1"
environment = { LANG = "C", EMPTY = "" }
credentials = { password = "secret" }
binds = [{ source = "data", writable = true }, { source = "/opt/x", destination = "/srv/x/" }]
ready = "notify"
ready-timeout = "1m"
stop-timeout = "2s"
tmp-size = "1G"
"""
    assert resolved(text) == Snapshot(
        source="/srv/site/cloister.toml",
        paths=Paths("/srv/site/run", "/var/lib/site"),
        ids=IdRange(100000, 100099),
        door=DoorOptions(workers=2, user="www-data", log_connections=False),
        listeners=(
            Listener(
                name="https",
                addresses=(TcpAddress("127.0.0.1", 8443), UnixAddress("/srv/site/sockets/https")),
                route=ServerNameRoute("/srv/site/hosts"),
                socket=SocketOptions("root", "33", 0o600, 0o2750, 16),
                limits=ListenerLimits(0, 0.5, 1.0),
            ),
            Listener(
                name="php",
                addresses=(UnixAddress("php", abstract=True),),
                route=TargetRoute(UnixPathTarget("/srv/php.sock"), SendProxy.V2),
            ),
        ),
        apps=(
            App(
                name="blog",
                program=CommandProgram(("/srv/site/blog/server", "--fd", "3")),
                directory="/srv/site/blog",
                hosts=("blog.example", "*.blog.example", "*"),
                tls=FileTls("/srv/site/tls/a.pem", "/etc/ssl/a.key"),
                send_proxy=SendProxy.V1,
                environment=(("LANG", "C"), ("EMPTY", "")),
                credentials=(Credential("password", "/srv/site/secret"),),
                binds=(
                    Bind("/srv/site/data", "/srv/site/data", writable=True),
                    Bind("/opt/x", "/srv/x"),
                ),
                ready=Readiness.NOTIFY,
                ready_timeout=60.0,
                stop_timeout=2.0,
                tmp_size=1 << 30,
            ),
        ),
    )


def test_nothing_given_but_what_has_to_be() -> None:
    snapshot = resolved(
        LISTENER
        + '[apps.a]\npython = "x.y:z"\ndirectory = "a"\nhosts = ["a"]\n'
        + '[apps.b]\ncommand = ["php-fpm"]\nhosts = ["b"]\n'
    )
    assert snapshot.paths == Paths("/run/cloister", "/var/lib/cloister")
    assert snapshot.ids == IdRange(500000, 565535)
    assert snapshot.door == DoorOptions()
    (listener,) = snapshot.listeners
    assert listener.route == ServerNameRoute(None)
    assert listener.socket == SocketOptions()
    assert listener.limits == ListenerLimits()
    python = App("a", PythonProgram("x.y", "z"), "/srv/site/a", ("a",), ready=Readiness.NOTIFY)
    command = App("b", CommandProgram(("/usr/sbin/php-fpm",)), None, ("b",))
    assert snapshot.apps == (python, command)
    assert command.ready is Readiness.ACCEPT


def test_the_only_application_s_folder_is_the_configuration_s() -> None:
    for program in ('python = "x:y"', 'command = ["./server"]'):
        (app,) = resolved(LISTENER + f'[apps.a]\n{program}\nhosts = ["a"]\n').apps
        assert app.directory == "/srv/site"


def test_nginx_before_one_unix_socket() -> None:
    """Nothing but a guarded socket: no application and no name is needed."""
    snapshot = resolved(
        '[listeners.printerfacts]\nlisten = "unix:/run/printerfacts.sock"\n'
        'socket = { group = "within", mode = "0770" }\n'
        'route = { target = "unix:/srv/printerfacts/socket" }\n'
    )
    assert snapshot.apps == ()
    assert snapshot.listeners[0].socket.mode == 0o770


def test_a_target_leads_to_an_application_without_hosts() -> None:
    target = 'route = { target = "unix:/run/cloister/apps/a/socket" }'
    app = '[apps.a]\npython = "a:b"\n'
    assert resolved(f'[listeners.x]\nlisten = "*:80"\n{target}\n{app}').apps[0].hosts == ()
    assert resolved(f'{LISTENER}route = {{ hosts = "hosts" }}\n{app}').apps[0].hosts == ()
    assert codes(f"{LISTENER}{app}") == ["unreachable-app"]


def test_folders_without_root() -> None:
    text = LISTENER
    home = {"HOME": "/home/alice"}
    session = {"XDG_RUNTIME_DIR": "/run/user/7", "XDG_STATE_HOME": "/state"}
    assert resolved(text, uid=7, **home, **session).paths == Paths(
        "/run/user/7/cloister", "/state/cloister"
    )
    state = "/home/alice/.local/state/cloister"
    assert resolved(text, uid=7, **home).paths == Paths(f"{state}/run", state)


def test_paths_that_follow_from_the_folders() -> None:
    paths = Paths("/run/cloister", "/var/lib/cloister")
    assert paths.control_socket == "/run/cloister/control.sock"
    assert paths.app_socket("blog") == "/run/cloister/apps/blog/socket"
    assert paths.authority_certificate == "/var/lib/cloister/authority/ca.pem"


@pytest.mark.parametrize(
    ("one", "other", "collide"),
    [
        ("127.0.0.1:443", "127.0.0.1:443", True),
        ("0.0.0.0:443", "127.0.0.1:443", True),
        ("[::]:443", "[::1]:443", True),
        ("0.0.0.0:443", "[::]:443", False),
        ("127.0.0.1:443", "127.0.0.2:443", False),
        ("127.0.0.1:0", "127.0.0.1:0", False),
        ("*:443", "*:444", False),
        ("unix:a", "unix:./a", True),
        ("unix:/a", "unix:@a", False),
    ],
)
def test_addresses_that_collide(one: str, other: str, collide: bool) -> None:
    for first, second in ((one, other), (other, one)):
        text = f'[listeners.a]\nlisten = "{first}"\n[listeners.b]\nlisten = "{second}"\n'
        if collide:
            assert codes(text) == ["duplicate-address"]
        else:
            resolved(text)


@pytest.mark.parametrize(
    "folder", ["/", "/etc", "/proc/1", "/dev/shm", "/home/alice", "/srv", "/h"]
)
def test_folders_that_are_too_broad(folder: str) -> None:
    text = f'{LISTENER}[apps.a]\npython = "a:b"\nhosts = ["a"]\ndirectory = "{folder}"\n'
    with pytest.raises(ConfigError) as caught:
        resolved(text, HOME="/h/")
    assert [problem.code for problem in caught.value.problems] == ["broad-directory"]


def test_what_a_problem_hides_is_not_blamed() -> None:
    """A misspelt key explains what is missing because of it."""
    assert codes(f'{LISTENER}[apps.a]\npython = "a:b"\nhost = ["a"]\n') == ["unknown-key"]
    assert codes('[listener.https]\nlisten = "*:443"\n') == ["unknown-key"]
    assert codes("[listeners.https]\nlisten = 1\n") == ["wrong-type"]
    assert codes(f'{LISTENER}[apps.a]\npythn = "a:b"\nhosts = ["a"]\n') == ["unknown-key"]
    assert codes(f'{LISTENER}[apps.a]\npython = "a:b"\nhosts = ["a", "b c"]\n') == ["bad-host"]


@pytest.mark.parametrize(
    "text",
    ["apps = 1", "apps = [1]", "[[apps]]", "listeners.x = 1", "apps.a.tls = [1]", "door = []"],
)
def test_tables_of_the_wrong_shape(text: str) -> None:
    assert set(codes(text)) <= {"wrong-type", "missing-key", "unknown-value", "no-listeners"}


def test_json_is_recognised() -> None:
    with pytest.raises(ConfigError) as caught:
        source.parse("unit.json", '{\n  "listeners": {}\n}\n')
    (problem,) = caught.value.problems
    assert problem.code == "syntax"
    assert "JSON" in (problem.hint or "")


@pytest.mark.parametrize(
    ("text", "line"),
    [("a = 1\na = 2\n", 2), ("[a\n", 1), ("a = 1\nb = [1,\n2\n", 3), ('\na = "x\n', 2), ("=", 1)],
)
def test_the_line_of_a_syntax_error(text: str, line: int) -> None:
    with pytest.raises(ConfigError) as caught:
        source.parse("x", text)
    assert caught.value.problems[0].where.line == line


def test_a_syntax_error_as_python_3_14_reports_it() -> None:
    class Error(tomllib.TOMLDecodeError):
        msg = "Invalid value"
        lineno = 7

    error = Error("Invalid value (at line 7, column 3)")
    assert source._syntax_error(error, "") == ("invalid value", 7)


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        source.parse("x", "a = " + "[" * 100_000 + "]" * 100_000)
    assert caught.value.problems[0].code == "syntax"


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "cloister.toml"
    path.write_bytes(b"\xef\xbb\xbf" + LISTENER.encode())
    assert load(str(path)).listeners[0].name == "https"


def test_a_fifo_does_not_hang(tmp_path: Path) -> None:
    path = tmp_path / "cloister.toml"
    os.mkfifo(path)
    with pytest.raises(ConfigError):
        load(str(path))


def test_the_source_is_absolute(
    write_config: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_config(LISTENER)
    monkeypatch.chdir(path.parent)
    assert load("cloister.toml").source == str(path)
    assert load("./cloister.toml").source == str(path)
    assert load(str(path)).source == str(path)


def test_without_looking_at_files(write_config: Callable[[str], Path]) -> None:
    path = write_config(f'{LISTENER}[apps.a]\npython = "a:b"\nhosts = ["a"]\ndirectory = "no"\n')
    assert load(str(path), check_files=False).apps[0].directory == str(path.parent / "no")
    with pytest.raises(ConfigError) as caught:
        load(str(path))
    assert [problem.code for problem in caught.value.problems] == ["missing-file"]


def test_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("cloister.config.load.SYSTEM_FILE", str(tmp_path / "system.toml"))
    assert find("anything.toml") == "anything.toml"
    with pytest.raises(CloisterError) as caught:
        find(None)
    assert "cloister init" in (caught.value.hint or "")
    (tmp_path / "system.toml").touch()
    assert find(None) == str(tmp_path / "system.toml")
    (tmp_path / "cloister.toml").touch()
    assert find(None) == "cloister.toml"


def test_self_signed() -> None:
    text = f'{LISTENER}[apps.a]\npython = "a:b"\nhosts = ["a"]\ntls = "self-signed"\n'
    assert resolved(text).apps[0].tls == SelfSignedTls()
