"""``egress`` of ``[apps.NAME]``: what is read, and what is refused with what reason."""

import pytest
from tests.unit.config.test_load import LISTENER, resolved

from cloister.model.egress import Egress
from cloister.model.errors import ConfigError, Problem
from cloister.model.listener import TcpAddress, UnixAddress
from cloister.model.route import SrvTarget, TcpTarget, UnixPathTarget

APP = LISTENER + '[apps.a]\ncommand = ["/bin/a"]\nhosts = ["a"]\n'


SOCKET = '{ socket = "/run/a.sock", to = "db.internal:5432" }'


def egress(text: str, extra: str = "") -> tuple[Egress, ...]:
    return resolved(f"{APP}egress = {text}\n{extra}").apps[0].egress


def problem(text: str, extra: str = "") -> Problem:
    with pytest.raises(ConfigError) as caught:
        egress(text, extra)
    (only,) = caught.value.problems
    return only


def test_each_name_has_an_address_of_its_own_and_each_port_its_place() -> None:
    assert egress(
        '["DB.internal:5432", "api.example:443", "db.internal:5433",'
        '{ name = "cache", port = 6379, to = "unix:cache.sock" },'
        '{ name = "ldap", port = 389, to = "srv:_ldap._tcp.example.org" },'
        '{ name = "here", port = 1, to = "127.0.0.1:5432" }]'
    ) == (
        Egress("db.internal", 5432, "127.0.1.1", TcpTarget("db.internal", 5432)),
        Egress("api.example", 443, "127.0.1.2", TcpTarget("api.example", 443)),
        Egress("db.internal", 5433, "127.0.1.1", TcpTarget("db.internal", 5433)),
        Egress("cache", 6379, "127.0.1.3", UnixPathTarget("/srv/site/cache.sock")),
        Egress("ldap", 389, "127.0.1.4", SrvTarget("_ldap._tcp.example.org")),
        Egress("here", 1, "127.0.1.5", TcpTarget("127.0.0.1", 5432)),
    )


def test_a_complete_name_is_dialled_without_its_dot_and_looked_up_with_it() -> None:
    (only,) = egress('["db.internal.:5432"]')
    assert only == Egress("db.internal", 5432, "127.0.1.1", TcpTarget("db.internal.", 5432))


def test_nothing_given_is_no_way_out() -> None:
    assert resolved(APP).apps[0].egress == ()


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        ('["10.0.0.1:5432"]', '"10.0.0.1:5432" has no name', "name ="),
        ('["localhost:5432"]', '"localhost" is the cell itself', "another name"),
        ('[{ name = "localhost", port = 1, to = "a:1" }]', "the cell itself", "another name"),
        ('["unix:/run/a"]', "is no way out by its name", "{ name, port, to }"),
        ('[{ to = "a:1" }]', "nothing in the cell leads to", "socket ="),
        ('[{ to = "a:1", name = "a" }]', "has no `port`", "add `port`"),
        ('[{ to = "a:1", port = 1, socket = "/run/a" }]', "has no `name`", "add `name`"),
        (f'[{{ to = "a:1", socket = "/run/{"a" * 103}" }}]', "108 bytes", "shorter"),
        (f"[{SOCKET}, {SOCKET}]", "/run/a.sock stands twice", "remove"),
        ('["db.internal"]', "is no target", "for example"),
        ('["a:1", "a:1"]', "a:1 stands twice", "remove"),
        (str([f"a:{port}" for port in range(1, 34)]).replace("'", '"'), "33 ways out", "dial"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, what: str, hint: str) -> None:
    found = problem(text)
    assert what in found.what
    assert hint in (found.hint or "")


@pytest.mark.parametrize(
    ("extra", "why"),
    [
        ("[apps.a.isolation]\nnamespaces = { network = false }", "whatever the host reaches"),
        ("[apps.a.isolation]\nnamespaces = { mount = false }", "the host's files"),
        ('fences = { profile = "strict" }', "no sockets but Unix ones"),
    ],
)
def test_where_it_could_have_no_effect_it_is_refused(extra: str, why: str) -> None:
    found = problem('["db.internal:5432"]', extra)
    assert found.what == "`egress` has no effect here"
    assert why in (found.why or "")


def test_the_port_that_the_application_listens_on_is_its_own() -> None:
    found = problem('["db.internal:8080"]', 'endpoint = "port"')
    assert "the application itself listens on" in found.what
    assert egress('["db.internal:8081"]', 'endpoint = "port"')


def test_a_socket_stands_for_a_name_or_beside_one() -> None:
    target = TcpTarget("db.internal", 5432)
    both = '{ name = "db", port = 1, socket = "/run/b.sock", to = "db.internal:5432" }'
    assert egress(f"[{SOCKET}, {both}]") == (
        Egress(None, None, None, target, "/run/a.sock"),
        Egress("db", 1, "127.0.1.1", target, "/run/b.sock"),
    )
    first, second = egress(f"[{SOCKET}, {both}]")
    assert (str(first), str(second)) == ("/run/a.sock", "db:1")
    assert first.places == (UnixAddress("/run/a.sock"),)
    assert second.places == (TcpAddress("127.0.1.1", 1), UnixAddress("/run/b.sock"))


def test_with_sockets_alone_no_other_sockets_are_needed() -> None:
    (only,) = egress(f"[{SOCKET}]", 'fences = { profile = "strict" }')
    assert only.socket == "/run/a.sock"


def test_ways_out_of_a_root_of_its_own() -> None:
    assert len(egress('["db.internal:5432"]', '[apps.a.isolation]\nrootfs = "/srv/image"')) == 1


@pytest.mark.parametrize(
    ("path", "extra"),
    [
        ("/dev/a", ""),
        ("/proc/1/a", ""),
        ("/run/credentials/a", ""),
        ("/run/notify", ""),
        ("/data/a", 'binds = [{ source = "/srv/a", destination = "/data", writable = true }]'),
        ("/data", 'binds = [{ source = "/srv/a", destination = "/data" }]'),
        ("/srv/app/a", 'directory = "/srv/app"'),
        ("/cache", '[apps.a.isolation]\ntmpfs = [{ path = "/cache" }]'),
    ],
)
def test_a_socket_has_a_place_of_the_cells_own(path: str, extra: str) -> None:
    found = problem(f'[{{ socket = "{path}", to = "a:1" }}]', extra)
    assert found.code == "protected-destination"
    assert found.what == f"no socket can be made at {path}"
    assert "/run" in (found.hint or "")


def test_memory_inside_what_is_bound_is_the_cells_own() -> None:
    binds = 'binds = [{ source = "/srv/a", destination = "/data" }]'
    own = '[apps.a.isolation]\ntmpfs = [{ path = "/data/run" }]'
    (only,) = egress('[{ socket = "/data/run/a", to = "a:1" }]', f"{binds}\n{own}")
    assert only.socket == "/data/run/a"
