"""What the compiled SELinux module grants, and what it does not: asked of the whole policy.

Attributes count: a rule for ``domain`` or ``daemon`` is the door's as well, whoever wrote it.
"""

import pytest
from tests.mac.policy import DOOR, Policy, build, compile_module

from cloister.generate.mandatory_access import MandatoryAccessRequest

# Installing the policy's packages and compiling it takes half a minute.
pytestmark = pytest.mark.timeout(400)

BIND_ANY = "cloister_door_bind_any"
CONNECT_ANY = "cloister_door_connect_any"
CHANGE_USER = "cloister_door_change_user"
BOOLEANS = (BIND_ANY, CONNECT_ANY, CHANGE_USER)


def test_the_door_is_started_by_systemd_in_its_domain(policy: Policy) -> None:
    found = policy.ask("sesearch", "-T", "-s", "init_t", "-t", "cloister_door_exec_t")
    assert "type_transition init_t cloister_door_exec_t:process cloister_door_t;" in found
    assert "transition" in policy.granted(DOOR, "process", source="init_t")
    # NoNewPrivileges=yes in the unit, and RootDirectory= on a file system without suid.
    assert policy.granted(DOOR, "process2", source="init_t") >= {
        "nnp_transition",
        "nosuid_transition",
    }


def test_booleans_are_off(policy: Policy) -> None:
    printed = policy.ask("seinfo", "-b", "-x")
    for boolean in BOOLEANS:
        assert f"bool {boolean} false;" in printed


@pytest.mark.parametrize(
    ("path", "label"),
    [
        ("/usr/bin/cloister-door", "cloister_door_exec_t"),
        ("/usr/local/bin/cloister-door", "cloister_door_exec_t"),
        ("/usr/bin/cloister", "bin_t"),
        ("/run/cloister", "cloister_door_var_run_t"),
        ("/run/cloister/http.sock", "cloister_door_var_run_t"),
        ("/run/cloister-relay/php.sock", "cloister_door_var_run_t"),
        ("/srv/hosts", "cloister_door_hosts_t"),
        ("/srv/hosts/a.example/tls-socket", "cloister_door_hosts_t"),
        ("/srv/hostsother", "var_t"),
        ("/etc/systemd/system/cloister-relay@.service", "cloister_door_unit_t"),
        ("/usr/lib/systemd/system/cloister-relay@php.service.d/x.conf", "cloister_door_unit_t"),
        ("/etc/systemd/system/other.service", "systemd_unit_t"),
    ],
)
def test_files_have_labels(policy: Policy, path: str, label: str) -> None:
    assert policy.label(path) == label


class TestPorts:
    """Binding is asked of the door's type too: systemd labels the sockets that it makes."""

    # What php-fpm, PostgreSQL, ssh and any unknown service listen on.
    OTHERS = ("cslistener_port_t", "postgresql_port_t", "ssh_port_t", "unreserved_port_t")

    @pytest.mark.parametrize("port", [*OTHERS, "http_cache_port_t"])
    def test_no_other_port_is_bound_without_the_boolean(self, policy: Policy, port: str) -> None:
        assert "name_bind" not in policy.granted(port, "tcp_socket", CONNECT_ANY, CHANGE_USER)
        assert "name_bind" in policy.granted(port, "tcp_socket", BIND_ANY)

    @pytest.mark.parametrize("port", [*OTHERS, "http_port_t", "http_cache_port_t"])
    def test_no_other_port_is_connected_to_without_the_boolean(
        self, policy: Policy, port: str
    ) -> None:
        assert "name_connect" not in policy.granted(port, "tcp_socket", BIND_ANY, CHANGE_USER)
        assert "name_connect" in policy.granted(port, "tcp_socket", CONNECT_ANY)

    def test_its_own_ports_and_those_of_web_servers(self, policy: Policy) -> None:
        both = {"name_bind", "name_connect"}
        assert policy.granted("cloister_door_port_t", "tcp_socket") & both == both
        assert policy.granted("http_port_t", "tcp_socket") & both == {"name_bind"}

    def test_name_servers_are_asked(self, policy: Policy) -> None:
        assert policy.granted("dns_port_t", "tcp_socket") == {"name_connect"}
        assert {"create", "connect", "read", "write"} <= policy.granted(DOOR, "udp_socket")
        assert "read" in policy.granted("net_conf_t", "file")

    def test_the_door_itself_binds_nothing(self, policy: Policy) -> None:
        own = policy.granted(DOOR, "tcp_socket", *BOOLEANS)
        assert {"bind", "listen"}.isdisjoint(own)
        assert {"accept", "create", "connect", "read", "write", "shutdown"} <= own
        # systemd makes the sockets instead.
        assert {"create", "bind", "listen"} <= policy.granted(DOOR, "tcp_socket", source="init_t")
        assert {"create", "bind", "listen"} <= policy.granted(
            DOOR, "unix_stream_socket", source="init_t"
        )

    def test_virtual_machines_are_for_the_boolean(self, policy: Policy) -> None:
        assert "connect" not in policy.granted(DOOR, "vsock_socket", BIND_ANY, CHANGE_USER)
        assert "connect" in policy.granted(DOOR, "vsock_socket", CONNECT_ANY)


class TestNothingBeyondItsNeed:
    """With every boolean of the module on: what a taken-over door still cannot do."""

    def test_no_capability_but_for_a_change_of_user(self, policy: Policy) -> None:
        assert policy.granted(DOOR, "capability", BIND_ANY, CONNECT_ANY) == set()
        changing = {"kill", "setgid", "setpcap", "setuid"}
        assert policy.granted(DOOR, "capability", *BOOLEANS) == changing
        assert policy.granted(DOOR, "capability2", *BOOLEANS) == set()

    def test_no_memory_becomes_code(self, policy: Policy) -> None:
        granted = policy.granted(DOOR, "process", *BOOLEANS)
        assert {"execmem", "execstack", "execheap", "ptrace", "setexec"}.isdisjoint(granted)
        assert {"setcurrent", "dyntransition", "setsockcreate"}.isdisjoint(granted)

    def test_no_program_is_executed_but_its_own(self, policy: Policy) -> None:
        # A keeper starts doors, in the domain that it is in itself.
        executed = {rule.target for rule in policy.rules(DOOR, "file", "execute_no_trans")}
        assert executed == {"cloister_door_exec_t"}
        assert policy.rules(DOOR, "process", "transition") == []
        for program in ("shell_exec_t", "bin_t"):
            assert "execute" not in policy.granted(program, "file", *BOOLEANS)

    def test_no_process_is_traced_or_killed_but_its_own(self, policy: Policy) -> None:
        assert policy.rules(DOOR, "process", "ptrace") == []
        for permission in ("sigkill", "signal", "sigstop"):
            assert {rule.target for rule in policy.rules(DOOR, "process", permission)} <= {DOOR}

    def test_nothing_is_written_but_sockets(self, policy: Policy) -> None:
        writable = {
            rule.target
            for permission in ("write", "create", "append", "unlink", "rename", "setattr")
            for rule in policy.rules(DOOR, "file", permission)
            if rule.boolean is None or rule.boolean in BOOLEANS
        }
        # Its own /proc entries, and the shared memory of StandardInputText= (init_domain()).
        assert writable <= {DOOR, "init_tmpfs_t"}
        for permission in ("add_name", "remove_name", "write", "create", "rmdir"):
            assert policy.rules(DOOR, "dir", permission) == []
        for permission in ("create", "unlink", "rename"):
            assert policy.rules(DOOR, "sock_file", permission) == []

    @pytest.mark.parametrize(
        "secret", ["shadow_t", "user_home_t", "cert_t", "httpd_sys_content_t", "var_log_t"]
    )
    def test_nothing_of_others_is_read(self, policy: Policy, secret: str) -> None:
        assert policy.granted(secret, "file", *BOOLEANS) == set()

    def test_files_in_hosts_directories_are_seen_and_not_read(self, policy: Policy) -> None:
        assert policy.granted("cloister_door_hosts_t", "file", *BOOLEANS) == {"getattr"}
        assert "write" in policy.granted("cloister_door_hosts_t", "sock_file")

    def test_no_raw_and_no_kernel_socket(self, policy: Policy) -> None:
        for kind in ("rawip_socket", "packet_socket", "netlink_route_socket", "key_socket"):
            assert policy.granted(DOOR, kind, *BOOLEANS) == set()


class TestNeighbours:
    def test_web_servers_reach_the_door(self, policy: Policy) -> None:
        assert "connectto" in policy.granted(DOOR, "unix_stream_socket", source="httpd_t")
        socket = policy.granted("cloister_door_var_run_t", "sock_file", source="httpd_t")
        assert "write" in socket
        assert "create" not in socket

    def test_the_door_reaches_services_that_are_its_backends(self, policy: Policy) -> None:
        assert "connectto" in policy.granted("httpd_t", "unix_stream_socket")
        for other in ("sshd_t", "postgresql_t", "syslogd_t", "system_dbusd_t"):
            assert "connectto" not in policy.granted(other, "unix_stream_socket", *BOOLEANS)

    def test_backends_take_connections_that_are_handed_off(self, policy: Policy) -> None:
        assert "use" in policy.granted(DOOR, "fd", source="httpd_t")
        handed = policy.granted(DOOR, "tcp_socket", source="httpd_t")
        assert {"read", "write", "getattr", "shutdown"} <= handed
        assert {"bind", "connect", "accept"}.isdisjoint(handed)

    def test_backends_make_sockets_in_hosts_directories(self, policy: Policy) -> None:
        made = policy.granted("cloister_door_hosts_t", "sock_file", source="httpd_t")
        assert {"create", "unlink"} <= made


def test_another_name_and_interfaces_compile(policy: Policy) -> None:
    """All interfaces, called from a module as an administrator would write it."""
    folder = policy.sources.parent / "edge"
    request = MandatoryAccessRequest(name="edge", hosts_directories=("/srv/edge",))
    build(folder, request)
    assert (folder / "edge.pp").stat().st_size > 0
    module = policy.sources / "site.te"
    module.write_text(
        "policy_module(site, 1.0.0)\n"
        "gen_require(`\n\ttype sysadm_t, postgresql_t, postgresql_runtime_t;\n"
        "\trole sysadm_r;\n')\n"
        "cloister_door_domtrans(sysadm_t)\n"
        "cloister_door_stream_connect(postgresql_t)\n"
        "cloister_door_backend(postgresql_t)\n"
        "cloister_door_target(postgresql_t, postgresql_runtime_t)\n"
        "cloister_door_manage_hosts(sysadm_t)\n"
        "cloister_door_admin(sysadm_t, sysadm_r)\n"
    )
    compile_module(policy.sources, "site")
    assert (policy.sources / "site.pp").stat().st_size > 0
