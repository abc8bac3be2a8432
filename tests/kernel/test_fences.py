"""Single fences around an application: each where it is, where it is asked for otherwise, and
what is said of it."""

import errno
import os
import resource
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.support.cell_attempts import REACHED, script
from tests.support.cell_spec import HOST_ID, PYTHON, Outcome
from tests.support.default_cell import DEFAULT, Change, run_default

from cloister.model.fences import Fences, FilterProfile, LandlockChoice

pytestmark = pytest.mark.usefixtures("root")


def python(body: str, *, fences: Fences = DEFAULT, change: Change | None = None) -> Outcome:
    return run_default(PYTHON, "-I", "-c", body, fences=fences, change=change)


def attempt(body: str, *, fences: Fences = DEFAULT, change: Change | None = None) -> str:
    outcome = python(script(body), fences=fences, change=change)
    assert outcome.failure is None, outcome.failure
    assert outcome.status == 0, outcome
    return outcome.output.strip()


# -- what is said ------------------------------------------------------------------------------


def test_every_fence_is_said_to_stand() -> None:
    outcome = run_default("/usr/bin/true")
    assert (outcome.status, outcome.failure) == (0, None)
    assert list(outcome.fences) == [
        *("namespaces", "capabilities", "no-new-privileges", "system-calls", "landlock"),
        *("keyring", "session", "core-dumps", "descriptors", "proc", "limits"),
    ]
    assert all(fence["active"] for fence in outcome.fences.values()), outcome.fences
    assert outcome.fences["system-calls"]["detail"].startswith("profile default: ")
    assert outcome.fences["landlock"]["detail"].endswith("files, signals, abstract sockets")


def test_what_is_taken_away_is_said_not_to_stand() -> None:
    fences = Fences(
        profile=FilterProfile.NONE, landlock=LandlockChoice.OFF, core_dumps=True, proc=("stat",)
    )

    def change(made: dict[str, Any]) -> None:
        made["namespaces"]["network"] = made["protections"]["new_keyring"] = False

    said = run_default("/usr/bin/true", fences=fences, change=change).fences
    off = {name for name, fence in said.items() if not fence["active"]}
    assert off == {"namespaces", "system-calls", "landlock", "core-dumps", "keyring"}
    assert (
        said["namespaces"]["detail"]
        == "user, mount, pid, ipc, uts, cgroup, time; the host's: network"
    )
    assert said["proc"]["detail"] == "its own processes, stat"


def test_what_is_said_is_what_the_kernel_says() -> None:
    status = python("print(open('/proc/self/status').read())").output
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")
    sets = {fields[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")}
    assert sets == {"0000000000000000"}


def test_a_failed_execution_is_a_failure_although_the_fences_stand() -> None:
    outcome = run_default("/none-such")
    assert outcome.failure is not None
    assert (outcome.failure["step"], outcome.failure["errno"]) == ("execute", errno.ENOENT)
    assert outcome.status == 127


# -- system calls ------------------------------------------------------------------------------

WRITABLE_CODE = """
import mmap
mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
"""
MADE_EXECUTABLE = """
memory = libc.mmap
memory.restype = ctypes.c_void_p
page = memory(None, 4096, 3, 0x22, -1, 0)
check(libc.mprotect(ctypes.c_void_p(page), 4096, 5))
"""


@pytest.mark.parametrize("body", [WRITABLE_CODE, MADE_EXECUTABLE])
def test_strict_makes_no_code_in_memory(body: str) -> None:
    strict = Fences(profile=FilterProfile.STRICT)
    assert attempt(body) == REACHED
    assert attempt(body, fences=strict) == "denied EPERM"


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_NETLINK"])
def test_strict_has_unix_sockets_only(family: str) -> None:
    strict = Fences(profile=FilterProfile.STRICT)
    kind = "SOCK_RAW" if family == "AF_NETLINK" else "SOCK_STREAM"
    body = f"socket.socket(socket.{family}, socket.{kind}).close()"
    assert attempt(body) == REACHED
    assert attempt(body, fences=strict) == "denied EPERM"
    assert attempt("socket.socketpair()", fences=strict) == REACHED


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("ptrace", "check(libc.ptrace(0, 0, None, None))"),
        ("keyring", "check(libc.syscall(250, 0, -3, 0))"),
        ("io-uring", "check(libc.syscall(425, 8, ctypes.create_string_buffer(256)))"),
        ("namespaces", "check(libc.unshare(0x10000000))"),
        ("any-socket", "socket.socket(16, 3, 16).close()"),
        ("kcmp", "check(libc.syscall(312, os.getpid(), os.getpid(), 0, 0, 0))"),
    ],
)
def test_additions_open_what_they_name(name: str, body: str) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("the attempts name calls by their numbers on x86_64")
    assert attempt(body).startswith("denied ")
    assert attempt(body, fences=Fences(allow=(name,))) == REACHED


def test_a_call_that_is_newer_than_the_table_seems_not_to_be_there() -> None:
    assert attempt("check(libc.syscall(10_000))") == "denied ENOSYS"
    assert attempt("check(libc.syscall(-1))") == "denied ENOSYS"


# -- Landlock ----------------------------------------------------------------------------------


def test_ports() -> None:
    fences = Fences(tcp_bind=(8080,), tcp_connect=(8080,))
    body = """
server = socket.create_server(("127.0.0.1", {port}))
server.close()
"""
    dial = """
try: socket.create_connection(("127.0.0.1", {port}))
except ConnectionRefusedError: pass
"""
    for one in (body, dial):
        assert attempt(one.format(port=8080), fences=fences) == REACHED
        assert attempt(one.format(port=8081), fences=fences) == "denied EACCES"
        assert attempt(one.format(port=8081)) == REACHED
    assert attempt(body.format(port=8080), fences=Fences(tcp_bind=())) == "denied EACCES"


@pytest.mark.parametrize("alone", ["network", "landlock"])
def test_abstract_sockets_are_out_of_reach_by_either_fence_alone(alone: str) -> None:
    name = f"cloister-fences-{os.getpid()}"
    body = f"socket.socket(socket.AF_UNIX).connect(chr(0) + {name!r})"

    def without(made: dict[str, Any], *fences: str) -> None:
        made["namespaces"]["network"] = "network" not in fences
        made["fences"]["landlock"]["abstract_sockets"] = "landlock" not in fences

    other = "landlock" if alone == "network" else "network"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"\0{name}")
        listening.listen()
        denied = attempt(body, change=lambda made: without(made, other))
        assert denied == ("denied ECONNREFUSED" if alone == "network" else "denied EPERM")
        assert attempt(body, change=lambda made: without(made, "network", "landlock")) == REACHED


def test_files_are_restricted_as_they_are_mounted() -> None:
    """What the mounts allow is not taken away again: everything is read, what is writable
    written, what is executable executed."""
    body = """
import shutil, subprocess
for path in ("/", "/etc", "/usr", "/proc/self", "/dev", "/tmp"): os.listdir(path)
open("/etc/passwd").read()
for path in ("/dev/null", "/dev/zero", "/proc/self/comm"): open(path, "w").write("x")
for folder in ("/tmp", "/dev/shm"):
    os.mkdir(folder + "/a"); os.mkdir(folder + "/b")
    open(folder + "/a/x", "w").write("x")
    os.rename(folder + "/a/x", folder + "/b/y")
    os.truncate(folder + "/b/y", 0)
    os.symlink("y", folder + "/b/z")
    os.mkfifo(folder + "/b/fifo")
    socket.socket(socket.AF_UNIX).bind(folder + "/b/socket")
    shutil.rmtree(folder + "/b")
shutil.copy("/usr/bin/true", "/tmp/true")
subprocess.run(["/tmp/true"], check=True)
os.openpty()
"""
    assert attempt(body) == REACHED


def test_a_root_of_ones_own_is_executed_and_written_as_it_is_mounted(open_folder: Path) -> None:
    source = open_folder / "main.c"
    source.write_text(
        "#include <fcntl.h>\n#include <unistd.h>\n"
        'int main(void) { return access("/image", F_OK) ? 1 : open("/new", O_CREAT | O_RDWR, 0600) '
        "< 0 ? 7 : 8; }"
    )
    program = open_folder / "program"
    subprocess.run(["gcc", "-static", "-o", program, source], check=True, timeout=60)
    program.chmod(0o755)
    for name in ("usr", "tmp", "proc", "dev", "etc", "run", "image"):
        (open_folder / name).mkdir()
    os.chown(open_folder, HOST_ID, HOST_ID)
    for writable, status in ((False, 7), (True, 8)):

        def change(made: dict[str, Any], writable: bool = writable) -> None:
            root = {"source": str(open_folder), "writable": writable, "owners": None}
            made["filesystem"] |= {"root": root, "links": [], "files": []}
            made["filesystem"]["binds"] = []

        outcome = run_default("/program", change=change)
        assert (outcome.failure, outcome.status) == (None, status)


def test_landlock_can_be_required() -> None:
    outcome = run_default("/usr/bin/true", fences=Fences(landlock=LandlockChoice.REQUIRED))
    # Whether this kernel can do all of it is for the kernel to say: never half of it in silence.
    if outcome.failure is None:
        assert outcome.fences["landlock"]["active"]
    else:
        assert outcome.failure["step"] == "restrict-access"
        assert outcome.failure["errno"] == errno.EOPNOTSUPP


# -- /proc -------------------------------------------------------------------------------------


def test_what_is_asked_for_of_proc_is_seen_and_nothing_else() -> None:
    body = """
seen = [name for name in os.listdir("/proc") if not name.isdigit()]
for name in seen:
    try:
        path = f"/proc/{name}"
        found = os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(1)
    except PermissionError: continue
    if found and name not in ("self", "thread-self", "mounts", "net"): print(name)
"""
    shown = Fences(proc=("meminfo", "cpuinfo", "sys"))
    seen = python(f"import os\n{body}", fences=shown).output.split()
    assert sorted(seen) == ["cpuinfo", "meminfo", "sys"]
    assert python(f"import os\n{body}").output == ""
    denied = attempt("open('/proc/sys/kernel/hostname', 'w')", fences=shown)
    assert denied in ("denied EROFS", "denied EACCES")
    assert attempt("open('/proc/sys/kernel/hostname')", fences=shown) == REACHED
    assert attempt("open('/proc/meminfo')", fences=shown) == REACHED
    assert attempt("open('/proc/meminfo')") == "denied ENOENT"


# -- limits ------------------------------------------------------------------------------------


def test_limits_are_what_is_asked_for() -> None:
    fences = Fences(open_files=100, processes=50, locked_memory=65536, file_size=1 << 20)
    body = """
import resource
for name in ("NOFILE", "NPROC", "MEMLOCK", "FSIZE"):
    print(*resource.getrlimit(getattr(resource, "RLIMIT_" + name)))
"""
    assert python(body, fences=fences).output.splitlines() == [
        *("100 100", "50 50", "65536 65536", f"{1 << 20} {1 << 20}")
    ]


def test_a_fork_bomb_ends_at_the_limit() -> None:
    body = """
count = 0
try:
    while os.fork(): count += 1
    time.sleep(60)
except BlockingIOError: print(count)
"""
    many = python(f"import os, time\n{body}", fences=Fences(processes=20))
    # The application itself is one; so is the cell's init, which has its user.
    assert many.output.strip() in ("18", "19")


def test_more_than_the_launcher_may_have_is_refused() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard >= 1 << 20:
        pytest.skip("the tests' own limit cannot be exceeded")
    failure = run_default("/usr/bin/true", fences=Fences(open_files=hard + 1)).failure
    if failure is None:
        pytest.skip("root may raise limits here: it has CAP_SYS_RESOURCE")
    assert failure["step"] == "limit-resources"
    assert "ulimit" in failure["hint"]


# -- labels ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fences", "hint"),
    [
        (Fences(selinux_context="u:r:none:s0"), "SELinux is not active"),
        (Fences(apparmor_profile="none-such"), "AppArmor is not active"),
    ],
)
def test_a_label_that_nobody_gives_is_an_error(fences: Fences, hint: str) -> None:
    failure = run_default("/usr/bin/true", fences=fences).failure
    assert failure is not None
    assert failure["step"] == "set-labels"
    assert hint in failure["hint"]
