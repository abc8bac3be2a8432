"""The catalogue, and what rules decide where a real setup would need another kernel."""

import importlib
import pkgutil
import shlex
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.diagnose.fakes import OWN, PATH, SERVER, WORKER, FakeProbes, case, walk

from cloister.diagnose import rules
from cloister.diagnose.doctor import diagnose
from cloister.diagnose.facts import (
    Attempt,
    Kind,
    Limit,
    Process,
    SocketType,
    Step,
    Unit,
    UnixPlace,
    UnixSocket,
    Walk,
)
from cloister.diagnose.rules import (
    chroot,
    foreign_listener,
    full_backlog,
    mac_denial,
    open_files,
    process_groups,
    unit_state,
)
from cloister.diagnose.target import Target
from cloister.model.finding import Confidence, Outcome

LISTENING = UnixSocket(7, SocketType.STREAM, True, PATH, (1, 99), 0, 128)
DENIED = Attempt(13)


def test_every_rule_is_in_the_catalogue_and_explains_itself() -> None:
    names = {module.name for module in pkgutil.iter_modules(rules.__path__)}
    assert {module.__name__.rpartition(".")[2] for module in rules.MODULES} == names
    for name in names:
        module = importlib.import_module(f"{rules.__name__}.{name}")
        text = module.check.__doc__ or ""
        for part in ("What it does:", "Why bad:", "Example:"):
            assert part in text, (name, part)


def test_codes_are_stable_and_belong_to_one_rule() -> None:
    assert len(set(rules.CODES)) == len(rules.CODES)
    assert sorted(rules.CODES) == CATALOGUE


def test_every_code_is_documented() -> None:
    text = (Path(__file__).parents[3] / "docs" / "doctor.md").read_text()
    assert [code for code in (*rules.CODES, "unexplained") if f"`{code}`" not in text] == []


CATALOGUE = [
    "acl-denies",
    "chroot",
    "foreign-listener",
    "full-backlog",
    "group-not-in-process",
    "link-loop",
    "mac-denial",
    "nginx-path",
    "nginx-syntax",
    "no-answer",
    "no-execute-bit",
    "no-listener",
    "no-name-server",
    "no-socket",
    "not-a-socket",
    "not-listening",
    "open-files",
    "other-address",
    "other-mount-view",
    "other-network",
    "path-too-long",
    "plain-to-tls",
    "private-tmp",
    "process-limit",
    "proxy-header-missing",
    "proxy-header-unexpected",
    "second-listener",
    "socket-group",
    "socket-mode",
    "stale-socket",
    "tls-to-plain",
    "unit-failed",
    "unit-inactive",
    "unknown-name",
    "wrong-type",
]


def apparmor(**changes: str) -> str:
    fields = {
        "apparmor": "DENIED",
        "operation": "connect",
        "profile": "/usr/sbin/nginx",
        "name": PATH,
        "comm": "nginx",
        "requested_mask": "wr",
        "denied_mask": "wr",
    } | changes
    pairs = " ".join(f'{name}="{value}"' for name, value in fields.items())
    return f"audit: type=1400 audit({time.time():.3f}:7): {pairs} pid=2001 fsuid=33 ouid=500"


AVC = (
    f"type=AVC msg=audit({time.time():.3f}:8): avc:  denied  {{ connectto }} for  pid=2001 "
    f'comm="nginx" path="{PATH}" scontext=system_u:system_r:httpd_t:s0 '
    "tcontext=system_u:system_r:unconfined_service_t:s0 tclass=unix_stream_socket permissive=0"
)
PROFILE = {"/etc/apparmor.d/usr.sbin.nginx": "/usr/sbin/nginx {\n}\n"}


def denied(*log: str, **more: str) -> FakeProbes:
    return FakeProbes(walks={PATH: walk(PATH)}, attempt=DENIED, log=log, files=dict(more))


def test_apparmor_named_the_socket() -> None:
    probes = denied(apparmor())
    probes.files = dict(PROFILE)
    (finding,) = mac_denial.check(case(probes))
    assert finding.confidence is Confidence.CERTAIN
    assert "/usr/sbin/nginx refused connect" in finding.seen
    assert finding.cure is not None
    assert finding.cure.endswith("apparmor_parser --replace /etc/apparmor.d/usr.sbin.nginx")
    probes.files = {"/etc/apparmor.d/usr.sbin.nginx": f"/usr/sbin/nginx {{\n  {PATH} rw,\n}}\n"}
    assert list(mac_denial.check(case(probes))) == []  # the line of the log is history


@pytest.mark.parametrize(
    ("profile", "file", "text"),
    [
        ("nginx", "usr.sbin.nginx", "profile nginx /usr/sbin/nginx flags=(complain) {\n}\n"),
        ("web", "other", "profile website {\n}\n\nprofile web{\n}\n"),
        ("/usr/sbin/nginx", "usr.sbin.nginx", "# /usr/sbin/nginx\n/usr/sbin/nginx {\n}\n"),
    ],
)
def test_the_cure_adds_a_line_to_the_profile_wherever_it_stands(
    tmp_path: Path, profile: str, file: str, text: str
) -> None:
    probes = denied(apparmor(profile=profile))
    probes.files = {f"/etc/apparmor.d/{file}": text, "/etc/apparmor.d/abi/3.0": "x"}
    (finding,) = mac_denial.check(case(probes))
    assert finding.cure is not None
    (tmp_path / file).write_text(text)
    edit = finding.cure.split(" && ")[0].replace("/etc/apparmor.d", str(tmp_path))
    subprocess.run(["sh", "-c", edit], check=True)
    lines = text.splitlines()
    assert (tmp_path / file).read_text().splitlines() == [
        *lines[:-1],
        f"  {PATH} rw,",
        lines[-1],
    ]


def family(family: str) -> str:
    """As Linux 6.1 writes it."""
    return (
        f'audit: type=1400 audit({time.time():.3f}:7): apparmor="DENIED" operation="create" '
        f'profile="/usr/sbin/nginx" pid=2001 comm="nginx" family="{family}" sock_type="stream" '
        'protocol=0 requested_mask="create" denied_mask="create"'
    )


def test_apparmor_named_the_family() -> None:
    probes = denied(family("unix"))
    probes.files = dict(PROFILE)
    (finding,) = mac_denial.check(case(probes))
    assert "refused a socket of unix, stream" in finding.seen
    assert finding.cure is not None
    assert "network unix stream," in finding.cure
    probes.files = {"/etc/apparmor.d/usr.sbin.nginx": "/usr/sbin/nginx {\n network unix stream,\n}"}
    assert list(mac_denial.check(case(probes))) == []
    assert list(mac_denial.check(case(denied(family("inet6"))))) == []


def test_a_profile_that_stands_nowhere_has_no_cure() -> None:
    probes = denied(apparmor(profile="web"))
    probes.files = {"/etc/apparmor.d/other": "profile website {\n}\n"}
    (finding,) = mac_denial.check(case(probes))
    assert finding.cure is None


def test_selinux_named_the_socket() -> None:
    (finding,) = mac_denial.check(case(denied(AVC)))
    assert "httpd_t { connectto } on unconfined_service_t (unix_stream_socket)" in finding.seen
    assert finding.confidence is Confidence.LIKELY


@pytest.mark.parametrize(
    "line",
    [
        apparmor(comm="apache2"),
        apparmor(name="/run/other.sock"),
        AVC.replace("audit(1", "audit(0"),  # fifty years ago
    ],
)
def test_refusals_of_others_and_of_long_ago_do_not_count(line: str) -> None:
    assert list(mac_denial.check(case(denied(line)))) == []


def test_what_was_refused_before_the_policy_changed_is_history() -> None:
    loaded = f"audit: type=1403 audit({time.time() + 1:.3f}:9): auid=0 ses=1 lsm=selinux res=1"
    assert list(mac_denial.check(case(denied(AVC, loaded)))) == []
    assert len(list(mac_denial.check(case(denied(loaded.replace("1403", "1400"), AVC))))) == 1


def test_names_that_a_hostile_program_gives_itself_mean_nothing_to_the_shell() -> None:
    """comm is set by prctl(2), a socket's name by whoever makes it."""
    evil = replace(WORKER, name="x'$(id);#")
    line = AVC.replace('comm="nginx"', f'comm="{evil.name}"')
    (finding,) = mac_denial.check(case(denied(line), evil))
    assert finding.cure is not None
    words = shlex.split(finding.cure)
    assert f'avc: .* comm="{evil.name}"' in words
    assert "cloister_doctor_x___id___" in words
    path = "/run/app},/**"
    probes = FakeProbes(
        walks={path: walk(path)},
        attempt=DENIED,
        log=(apparmor(name=path),),
        files=dict(PROFILE),
    )
    (finding,) = mac_denial.check(case(probes, target=Target(UnixPlace(path))))
    assert finding.cure is None


def test_nothing_is_written_through_a_link_of_a_tenant_s_root() -> None:
    """A command of ours would follow it into our own /etc."""
    path, inside = "/run/app/app.sock", "/run/app"
    jailed = replace(WORKER, root="/srv/jail", namespaces=replace(WORKER.namespaces, mount=5))
    link = Step("/run", Kind.LINK, 1, 8, 33, 33, 0o777, link="/etc")
    there = walk(path)

    class Views(FakeProbes):
        def walk(self, wanted: str, view: Process | None = None) -> Walk:
            if view is jailed:
                return Walk(wanted, (there.steps[0], *self.links), 2, inside)
            return there

        links: tuple[Step, ...] = ()

    probes = Views(attempt=Attempt(2), own_attempt=Attempt(0, 3000))
    (finding,) = chroot.check(case(probes, jailed))
    assert finding.cure is not None
    probes.links = (link,)
    (finding,) = chroot.check(case(probes, jailed))
    assert finding.cure is None


def test_a_refusal_that_only_the_confined_process_meets() -> None:
    """The probe is not under the profile: it connects, and the log is what tells."""
    probes = FakeProbes(walks={PATH: walk(PATH)}, attempt=Attempt(0, 3000), log=(apparmor(),))
    assert list(mac_denial.check(case(probes))) == []
    confined = replace(WORKER, label="/usr/sbin/nginx (enforce)")
    (finding,) = mac_denial.check(case(probes, confined))
    assert finding.confidence is Confidence.LIKELY


def test_a_denial_without_a_rule_is_said_rather_than_left_out() -> None:
    one = case(FakeProbes(walks={PATH: walk(PATH)}, attempt=DENIED, own_attempt=Attempt(0, 3000)))
    diagnosis = diagnose(one.target, one.asker, one.probes)
    assert [finding.code for finding in diagnosis.findings] == ["unexplained"]
    assert diagnosis.outcome is Outcome.REFUSED
    assert not diagnosis.healthy


def test_findings_are_in_the_order_of_their_confidence() -> None:
    probes = FakeProbes(
        walks={PATH: walk(PATH, 0o700, end=0o755)},
        attempt=DENIED,
        own_attempt=Attempt(0, 3000),
        log=(AVC,),
    )
    one = case(probes)
    found = diagnose(one.target, one.asker, one.probes).findings
    codes = [finding.code for finding in found]
    assert codes == ["no-execute-bit", "socket-mode", "mac-denial"]


def test_the_group_of_a_root_process_of_nginx_is_renewed_by_its_master() -> None:
    worker = replace(WORKER, unit=None)
    probes = FakeProbes(walks={PATH: walk(PATH, end=0o770)}, attempt=DENIED)
    probes.account = lambda uid: ("www-data", frozenset({33, 500}))  # type: ignore[method-assign]
    (finding,) = process_groups.check(case(probes, worker))
    assert finding.cure == "kill -HUP 2000"


def test_a_full_queue_behind_used_up_descriptors_is_one_cause() -> None:
    probes = FakeProbes(
        walks={PATH: walk(PATH)},
        attempt=Attempt(11),
        own_attempt=Attempt(11),
        sockets=(replace(LISTENING, waiting=129),),
        holding={7: (SERVER,)},
        limits={3000: Limit(1024, 4096, 1024)},
    )
    assert list(full_backlog.check(case(probes))) == []
    (finding,) = open_files.check(case(probes))
    assert "1024 files open and may have 1024" in finding.seen
    probes.limits = {}
    (finding,) = full_backlog.check(case(probes))
    assert "129 wait, 128 may" in finding.seen
    assert finding.cure == "systemctl restart app.service"


APP = Unit("app.service", "active", "success", None, (), {"RuntimeDirectory": "app"})


def test_somebody_else_where_a_unit_is_to_listen() -> None:
    connects = FakeProbes(
        walks={PATH: walk(PATH)},
        attempt=Attempt(0, 3000),
        own_attempt=Attempt(0, 3000),
        sockets=(LISTENING,),
        all_units=(APP,),
    )
    assert list(foreign_listener.check(case(connects))) == []
    connects.processes = (OWN, WORKER, replace(SERVER, unit="ssh.service"))
    (finding,) = foreign_listener.check(case(connects))
    assert finding.cure is not None
    assert finding.cure.endswith("; systemctl restart app.service")
    connects.all_units = (replace(APP, active="inactive"),)
    assert list(foreign_listener.check(case(connects))) == []


@pytest.mark.parametrize(
    ("active", "code"), [("failed", "unit-failed"), ("inactive", "unit-inactive")]
)
def test_a_unit_that_does_not_run(active: str, code: str) -> None:
    probes = FakeProbes(
        attempt=Attempt(2),
        own_attempt=Attempt(2),
        all_units=(replace(APP, active=active, result="exit-code"),),
    )
    (finding,) = unit_state.check(case(probes))
    assert finding.code == code
