"""From a file to a snapshot: defaults, paths, where files are looked for, what real ones say."""

import json
import os
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from unittest import mock

import pytest

from cloister.config import source
from cloister.config.load import build, find, load
from cloister.config.surroundings import Surroundings
from cloister.model.app import (
    App,
    CommandProgram,
    Credential,
    FileTls,
    Interface,
    PythonProgram,
    Readiness,
    SelfSignedTls,
)
from cloister.model.configuration import MAX_BYTES
from cloister.model.disk import writable_places
from cloister.model.errors import CloisterError, ConfigError
from cloister.model.isolation import Bind, IdRange
from cloister.model.limits import IoBound, Limits
from cloister.model.listener import Listener, ListenerLimits, SocketOptions, TcpAddress, UnixAddress
from cloister.model.metrics import AppMetrics, MetricsOptions
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
[metrics]
listen = ["127.0.0.1:9464", "unix:metrics"]
token = "token"
group = "prometheus"
mode = "0600"
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
metrics = { path = "/m?x=1", tls = false, timeout = "2s", max-size = "4K", listen = "[::1]:1" }
user = "www-data"
group = "33"
groups = ["postgres"]
[apps.blog.limits]
memory = "256M"
memory-high = "200M"
swap = "0"
cpu-weight = 50
cpu-max = 1.5
io-weight = 20
io-max = [{ path = "data", read = "1M", write-operations = 5 }]
pids = 64
cpus = "3,0-1"
required = false
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
                metrics=AppMetrics("/m?x=1", False, 2.0, 4096, (TcpAddress("::1", 1),)),
                user="www-data",
                group="33",
                groups=("postgres",),
                limits=Limits(
                    memory=256 << 20,
                    memory_high=200 << 20,
                    swap=0,
                    cpu_weight=50,
                    cpu_max=1.5,
                    io_weight=20,
                    io_max=(IoBound("/srv/site/data", read=1 << 20, write_operations=5),),
                    pids=64,
                    cpus=(0, 1, 3),
                    required=False,
                ),
            ),
        ),
        metrics=MetricsOptions(
            (TcpAddress("127.0.0.1", 9464), UnixAddress("/srv/site/metrics")),
            SocketOptions(group="prometheus", mode=0o600),
            "/srv/site/token",
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


def test_a_python_application_that_needs_more_than_its_name() -> None:
    (app,) = resolved(
        LISTENER
        + '[apps.a]\nhosts = ["a"]\ndirectory = "a"\n[apps.a.python]\napp = "x.y:make"\n'
        + 'factory = true\ninterface = "wsgi"\nthreads = 4\nhome = "venv"\npath = ["lib", "/l"]\n'
    ).apps
    assert app.program == PythonProgram(
        "x.y",
        "make",
        factory=True,
        interface=Interface.WSGI,
        threads=4,
        home="/srv/site/venv",
        path=("/srv/site/lib", "/l"),
    )
    assert app.ready is Readiness.NOTIFY


@pytest.mark.parametrize(
    ("table", "code"),
    [
        ('interface = "asgi"\nthreads = 4', "unused-setting"),
        ('home = "/opt"', "broad-directory"),
        ('path = ["/usr"]', "broad-directory"),
        ('path = ["/var/lib/cloister/x"]', "overlapping-directory"),
    ],
)
def test_what_a_python_application_cannot_have(table: str, code: str) -> None:
    app = f'[apps.a]\nhosts = ["a"]\ndirectory = "a"\n[apps.a.python]\napp = "x:y"\n{table}\n'
    assert codes(LISTENER + app) == [code]


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


@pytest.mark.parametrize(
    ("listen", "addresses"),
    [
        ("*:8000", (TcpAddress("0.0.0.0", 8000), TcpAddress("::", 8000))),
        ("unix:/run/blog.sock", (UnixAddress("/run/blog.sock"),)),
        ("unix:blog.sock", (UnixAddress("/srv/site/blog.sock"),)),
    ],
)
def test_an_application_listens_on_tcp_or_on_a_path_by_one_setting(
    listen: str, addresses: tuple[TcpAddress | UnixAddress, ...]
) -> None:
    snapshot = resolved(f'[apps.blog]\npython = "blog:app"\nlisten = "{listen}"\n')
    (listener,) = snapshot.listeners
    assert (listener.name, listener.addresses) == ("blog", addresses)
    assert listener.route == TargetRoute(UnixPathTarget("/run/cloister/apps/blog/socket"))


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


def test_a_native_configuration_may_be_json() -> None:
    text = """\ufeff// The same language, in other clothes.
{
    "listeners": {"https": {"listen": "*:443",}},
    "apps": {"a": {"python": "a:b", "hosts": ["a"], "directory": "a"}}
}"""
    assert resolved(text) == resolved(
        LISTENER + '[apps.a]\npython = "a:b"\nhosts = ["a"]\ndirectory = "a"\n'
    )


def test_problems_in_json_have_a_line_and_a_pointer() -> None:
    text = (
        '{"apps": {\n"a": {"python": 1,\n"hosts": ["x y"]}},\n"listeners": {"~/": {"listen": 1}}}'
    )
    with pytest.raises(ConfigError) as caught:
        resolved(text)
    assert [(p.where.line, p.where.key) for p in caught.value.problems] == [
        (2, "/apps/a/python"),
        (3, "/apps/a/hosts/0"),
        (4, "/listeners/~0~1"),
        (4, "/listeners/~0~1/listen"),
    ]
    assert caught.value.problems[0].hint == 'for example "python": "blog:app"'


def test_the_place_of_a_syntax_error_in_json() -> None:
    with pytest.raises(ConfigError) as caught:
        source.parse("unit.json", '{\n  "listeners": {}\n  "apps": {}\n}\n')
    (problem,) = caught.value.problems
    assert (problem.code, problem.where.line) == ("syntax", 3)
    assert problem.what == 'a comma or "}" is expected'
    assert problem.why == "the text is no JSON at column 3"


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


@pytest.mark.parametrize(
    ("tls", "metrics", "expected"),
    [
        ("", '"/m"', AppMetrics("/m", tls=False)),
        ('tls = "self-signed"', '"/m"', AppMetrics("/m", tls=True)),
        ('tls = "self-signed"', "{}", AppMetrics("/metrics", tls=True)),
        ('tls = "self-signed"', "{ tls = false }", AppMetrics("/metrics", tls=False)),
        ("", "{ tls = true }", AppMetrics("/metrics", tls=True)),
    ],
)
def test_metrics_are_asked_for_as_the_application_speaks(
    tls: str, metrics: str, expected: AppMetrics
) -> None:
    app = f'[apps.a]\npython = "a:b"\nhosts = ["a"]\n{tls}\nmetrics = {metrics}\n'
    text = f'{LISTENER}[metrics]\nlisten = "127.0.0.1:0"\n{app}'
    assert resolved(text).apps[0].metrics == expected


def _many(form: str) -> Callable[[int], str]:
    return lambda count: "".join(form.format(n=number) for number in range(count))


MANY: dict[str, Callable[[int], str]] = {
    "comments": lambda count: LISTENER + "# comment\n" * (10 * count),
    "one comment": lambda count: f"{LISTENER}#{'x' * (100 * count)}\n",
    "comments in JSON": lambda count: '{"listeners": {}}' + "// x\n/* y */" * (10 * count),
    "addresses": lambda count: (
        '[listeners.a]\nroute = { target = "unix:/x" }\n'
        f"listen = {[f'127.0.0.1:{port}' for port in range(1, count)]}\n"
    ),
    "listeners of Unit": lambda count: json.dumps(
        {"listeners": {f"unix:/{number}": {"pass": "applications/a"} for number in range(count)}}
    ),
    "problems": _many('[apps.a{n}]\ncommand = ["/a"]\nnothing = 1\n'),
    "tables": _many('[listeners.a{n}]\nlisten = "unix:/a{n}"\nroute = {{ target = "unix:/x" }}\n'),
}


@pytest.mark.parametrize("kind", MANY)
def test_twice_the_text_is_twice_the_work(kind: str) -> None:
    few, many = (_calls(MANY[kind](count)) for count in (200, 400))
    assert many < 2.2 * few


def _calls(text: str) -> int:
    """How many functions are called to read a configuration."""
    count = 0

    def counted(*_: object) -> None:
        nonlocal count
        count += 1

    before = sys.getprofile()
    sys.setprofile(counted)
    try:
        resolved(text)
    except ConfigError:
        pass
    finally:
        sys.setprofile(before)
    return count


def test_many_bounded_disks_are_compared_without_taking_their_paths_apart() -> None:
    with mock.patch("cloister.config.disk_checks.writable_places", wraps=writable_places) as asked:
        form = (
            '[apps.a{n}]\ncommand = ["/a"]\nhosts = ["a{n}"]\nlimits.disk = "1G"\n'
            'binds = [{{ source = "/srv/a{n}", writable = true }}]\n'
        )
        resolved(LISTENER + _many(form)(50))
    assert asked.call_count == 50


@pytest.mark.parametrize(
    "text",
    ["#" * MAX_BYTES + "\n", "{/*" + "x" * MAX_BYTES + "*/}", "# é" + "é" * (MAX_BYTES // 2)],
)
def test_a_text_is_bounded_wherever_it_comes_from(text: str) -> None:
    assert codes(text) == ["file-too-large"]


@pytest.mark.parametrize("text", [LISTENER + "# \ud800\n", '{\n"listeners": {}} // \udfff'])
def test_a_text_that_utf_8_cannot_write_is_refused_before_it_is_kept(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolved(text)
    (problem,) = caught.value.problems
    assert (problem.code, problem.where.line) == (
        "not-utf8",
        text.count("\n", 0, len(text) - 2) + 1,
    )
