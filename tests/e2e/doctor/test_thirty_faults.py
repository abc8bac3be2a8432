"""One host, more than thirty faults at once: each is the first that is named for its socket, and
what is printed for it cures it while all the others stay. (Units of systemd have a host of
their own in tests/e2e/systemd/test_doctor.py; so do SELinux and AppArmor in tests/mac.)"""

import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.e2e.doctor.test_server_state import _GREEDY, _TWO_TYPES, fill
from tests.e2e.doctor.test_talk import host, serve
from tests.e2e.doctor.test_views import UNSHARE_MOUNTS, covered
from tests.support.broken import (
    ASKER_UID,
    SERVER_GID,
    SERVER_UID,
    Corner,
    again,
    codes,
    cure,
    examine,
)
from tests.support.namespaces import NamesNamespace
from tests.support.nginx_front import Nginx
from tests.support.packages import need
from tests.support.waiting import wait_until

from cloister.diagnose.nginx.config import read
from cloister.diagnose.probes.host import HostProbes
from cloister.diagnose.target import Target, parse

_ON_A_PORT = """
import socket
listening = socket.create_server(("127.0.0.1", 8000))
print("ready", flush=True)
while True:
    listening.accept()[0].close()
"""
Who = subprocess.Popen[str] | str


def nothing() -> None:
    """After most cures there is nothing left to do."""


@dataclass
class Planted:
    """What is broken, who meets it, and what a person does after the cure."""

    codes: list[str]
    target: Target | Path | str
    who: Who
    after: Callable[[], object] = nothing
    restarted: str | None = None
    """The name of the asker's program, where the cure starts it again."""
    before: Callable[[], object] = nothing
    """What has to happen before the cure is run, such as an end of the crowd."""
    cured: list[str] = field(default_factory=list)
    """What is left over on purpose."""


class Faults:
    """Plants; each method is one fault."""

    def __init__(self, corner: Corner, stack: ExitStack) -> None:
        self.corner, self.stack = corner, stack
        self.asker = corner.asker()
        self._number = 0

    def path(self, *, mode: int = 0o777, uid: int = SERVER_UID) -> Path:
        """A place of its own for each."""
        self._number += 1
        return self.corner.directory(f"run{self._number}", mode=mode, uid=uid) / "app.sock"

    def home_without_execute(self) -> Planted:
        path = self.path(mode=0o700)
        self.corner.serve(path)
        return Planted(["no-execute-bit"], path, self.asker)

    def folder_of_root(self) -> Planted:
        path = self.path()
        self.corner.serve(path)
        os.chown(path.parent, 0, 0)
        path.parent.chmod(0o750)
        return Planted(["no-execute-bit"], path, self.asker)

    def list_on_a_folder(self) -> Planted:
        path = self.path(mode=0o755)
        self.corner.serve(path)
        run("setfacl", "--modify", f"u:{ASKER_UID}:---", path.parent)
        return Planted(["acl-denies"], path, self.asker)

    def mask_on_the_socket(self) -> Planted:
        path = self.path()
        self.corner.serve(path, umask="077")
        run("setfacl", "--modify", f"u:{ASKER_UID}:rw,m::r", path)
        return Planted(["acl-denies"], path, self.asker)

    def umask_022(self) -> Planted:
        path = self.path()
        self.corner.serve(path, umask="022")
        return Planted(["socket-mode"], path, self.asker)

    def umask_077(self) -> Planted:
        path = self.path()
        self.corner.serve(path, umask="077")
        return Planted(["socket-mode"], path, self.asker)

    def group_that_only_reads(self) -> Planted:
        path = self.path()
        self.corner.serve(path)
        path.chmod(0o740)
        return Planted(["socket-mode"], path, self.asker)

    def other_group(self) -> Planted:
        path = self.path()
        self.corner.serve(path)
        return Planted(["socket-group"], path, self.corner.asker(groups=()))

    def group_of_later(self) -> Planted:
        name = f"cl-thirty-{os.getpid()}"
        run("useradd", "--system", "--user-group", "--no-create-home", name)
        self.stack.callback(run, "userdel", name)
        run("groupadd", "--system", f"{name}-g")
        self.stack.callback(run, "groupdel", f"{name}-g")
        fields = Path("/etc/passwd").read_text().split(f"\n{name}:x:")[1].split(":")
        uid, gid = int(fields[0]), int(fields[1])
        shared = int(Path("/etc/group").read_text().split(f"\n{name}-g:x:")[1].split(":")[0])
        path = self.path()
        self.corner.serve(path, gid=shared)
        who = self.corner.start("tac", uid=uid, gid=gid)
        run("usermod", "--append", "--groups", f"{name}-g", name)
        return Planted(["group-not-in-process"], path, who, restarted=f"tac {uid}")

    def private_tmp(self) -> Planted:
        path = self.tmp()
        self.corner.serve(path)
        who = self.corner.asker(before=covered("/tmp", self.private()))
        return Planted(["private-tmp"], path, who)

    def covered_folder(self) -> Planted:
        path = self.path()
        self.corner.serve(path)
        empty = self.corner.directory(f"empty{self._number}")
        return Planted(
            ["other-mount-view"],
            path,
            self.corner.asker(before=covered(str(path.parent), empty)),
        )

    def chroot(self) -> Planted:
        path = self.path()
        self.corner.serve(path)
        root = self.corner.directory("jail", uid=0)
        for name in ("usr", "lib", "lib64", "bin"):
            (root / name).mkdir()
        script = (
            'for d in usr lib lib64 bin; do mount --bind "/$d" "$0/$d"; done; exec chroot "$0" "$@"'
        )
        who = self.corner.asker(before=[*UNSHARE_MOUNTS, "sh", "-c", script, str(root)])
        return Planted(["chroot"], path, who)

    def other_network(self) -> Planted:
        name = f"@cloister-thirty-{os.getpid()}"
        self.corner.serve(name)
        who = self.corner.start("rev", groups=(SERVER_GID,), before=["unshare", "--net"])
        return Planted(["other-network"], name, who, restarted=f"rev {ASKER_UID}")

    def dead_server(self) -> Planted:
        path = self.path()
        server = self.corner.serve(path)
        server.kill()
        server.wait()
        return Planted(["stale-socket"], path, self.asker, after=lambda: self.corner.serve(path))

    def misspelt(self) -> Planted:
        path = self.path()
        self.corner.serve(path)
        return Planted(["no-socket"], path.with_name("ap.sock"), self.asker)

    def dangling_link(self) -> Planted:
        path = self.path()
        self.corner.serve(path)
        link = path.with_name("current.sock")
        link.symlink_to(path.with_name("app.sock.1"))
        return Planted(["no-socket"], link, self.asker)

    def circle_of_links(self) -> Planted:
        path = self.path()
        path.symlink_to(path.with_name("other"))
        path.with_name("other").symlink_to(path)
        return Planted(["link-loop"], path, self.asker, after=lambda: self.corner.serve(path))

    def folder_in_the_way(self) -> Planted:
        path = self.path()
        path.mkdir()
        return Planted(["not-a-socket"], path, self.asker, after=lambda: self.corner.serve(path))

    def file_in_the_way(self) -> Planted:
        path = self.path()
        path.touch()
        return Planted(["not-a-socket"], path, self.asker, after=lambda: self.corner.serve(path))

    def datagrams(self) -> Planted:
        return self._type("2")

    def packets(self) -> Planted:
        return self._type("5")

    def _type(self, number: str) -> Planted:
        path = self.path()
        command = [sys.executable, "-I", "-S", "-c", _TWO_TYPES, number, str(path), f"{path}.http"]
        self.corner.start(*command, uid=SERVER_UID, gid=SERVER_GID, ready=True)
        return Planted(["wrong-type"], path, self.asker)

    def stopped_server(self) -> Planted:
        path = self.path()
        server = self.corner.serve(path, backlog=1)
        os.kill(server.pid, 19)
        wait_until(
            lambda: "\nState:\tT" in Path(f"/proc/{server.pid}/status").read_text(), what="a stop"
        )
        clients = fill(path)
        for client in clients:
            self.stack.callback(client.close)
        return Planted(
            ["full-backlog"],
            path,
            self.asker,
            before=lambda: [client.close() for client in clients],
        )

    def two_servers(self) -> Planted:
        path = self.path()
        first = self.corner.serve(path)
        path.unlink()
        self.corner.serve(path)
        reaper = threading.Thread(target=first.wait)
        return Planted(
            ["second-listener"], path, self.asker, before=reaper.start, after=reaper.join
        )

    def long_path(self) -> Planted:
        folder = self.corner.directory("x" * 60 + "/" + "y" * 60)
        self.corner.serve("app.sock", before=["env", f"--chdir={folder}"])
        return Planted(["path-too-long"], folder / "app.sock", self.asker)

    def no_descriptors(self) -> Planted:
        path = self.path()
        command = [sys.executable, "-I", "-S", "-c", _GREEDY, str(path)]
        before = ["prlimit", "--nofile=64:8192"]
        self.corner.start(*command, uid=SERVER_UID, gid=SERVER_GID, before=before, ready=True)
        return Planted(["open-files"], path, self.asker)

    def no_processes(self) -> Planted:
        path = self.path()
        self.corner.serve(path, uid=71004, before=["prlimit", "--nproc=1:"])
        return Planted(["process-limit"], path, self.asker)

    def header_missing(self) -> Planted:
        folder = self.corner.directory("hosts/one.example")
        serve(self.corner, folder / "tls-socket", "ssl proxy_protocol", name="one")
        return Planted(["proxy-header-missing"], host(folder / "tls-socket"), self.asker)

    def header_unexpected(self) -> Planted:
        folder = self.corner.directory("hosts/two.example")
        serve(self.corner, folder / "tls-socket", "ssl", name="two")
        (folder / "send-proxy-v2").touch()
        return Planted(["proxy-header-unexpected"], host(folder / "tls-socket"), self.asker)

    def _front(self, line: str) -> Target:
        """The one line of a configuration that a running nginx has."""
        self._number += 1
        site = f"server {{ listen unix:{{folder}}/front.sock; location / {{\n{line}\n}} }}\n"
        front = Nginx(self.corner, site, name=f"front{self._number}")
        front.start()
        with HostProbes() as probes:
            (target,) = read(str(front.config), probes.read).targets
        self._worker = str(front.worker())
        return target

    def tls_to_plain(self) -> Planted:
        path = self.path()
        self.corner.serve(path, umask="000")
        target = self._front(f"proxy_pass https://unix:{path};")
        return Planted(["tls-to-plain"], target, self._worker)

    def plain_to_tls(self) -> Planted:
        path = self.path()
        serve(self.corner, path, "ssl", name="secret")
        target = self._front(f"proxy_pass http://unix:{path};")
        return Planted(["plain-to-tls"], target, self._worker)

    def edited_into_what_nginx_refuses(self) -> Planted:
        """Its reload goes on with the old configuration, as if nothing had been changed."""
        path = self.path()
        self.corner.serve(path, umask="000")
        good = f"proxy_pass http://unix:{path};"
        file = self._front(good).line
        assert file is not None
        site = Path(file.file)
        site.write_text(site.read_text().replace(good, f"proxy_pass unix:{path};"))
        with HostProbes() as probes:
            (target,) = read(str(site), probes.read).targets
        return Planted(["nginx-syntax"], target, self._worker)

    def misspelt_name(self) -> Planted:
        inside = self.stack.enter_context(NamesNamespace(self.corner.folder / "etc"))
        inside.write_hosts("127.0.0.1 localhost\n127.0.0.1 backend.internal.test\n")
        self.stack.enter_context(inside.dns())
        before = inside.command([], folder=Path("/"))
        command = [sys.executable, "-I", "-S", "-c", _ON_A_PORT]
        self.corner.start(*command, uid=SERVER_UID, gid=SERVER_GID, before=before, ready=True)
        who = self.corner.asker(before=before)
        return Planted(["unknown-name"], parse("backand.internal.test:8000"), who)

    def uri_without_colon(self) -> Planted:
        path = self.path()
        self.corner.serve(path, umask="000")
        target = self._front(f"proxy_pass http://unix:{path}/api;")
        return Planted(["nginx-path"], target, self._worker)

    def other_address(self) -> Planted:
        server = self.stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        target = self._front(f"fastcgi_pass 127.0.0.2:{server.getsockname()[1]};")
        return Planted(["other-address"], target, self._worker)

    def closed_home_and_closed_socket(self) -> Planted:
        path = self.path(mode=0o700)
        self.corner.serve(path, umask="022")
        who = self.corner.asker(groups=())
        return Planted(["no-execute-bit", "socket-mode"], path, who)

    def private_tmp_and_another_group(self) -> Planted:
        path = self.tmp()
        self.corner.serve(path)
        who = self.corner.asker(groups=(), before=covered("/tmp", self.private()))
        return Planted(["private-tmp", "socket-group"], path, who)

    def stale_behind_two_closed_folders(self) -> Planted:
        outer = self.path().parent
        path = self.corner.directory(f"{outer.name}/inner", mode=0o700) / "app.sock"
        server = self.corner.serve(path)
        server.kill()
        server.wait()
        outer.chmod(0o700)
        return Planted(
            ["no-execute-bit", "no-execute-bit", "stale-socket"],
            path,
            self.asker,
            after=lambda: self.corner.serve(path),
        )

    def tmp(self) -> Path:
        path = Path(tempfile.mktemp(prefix="cloister-thirty-", dir="/tmp"))
        self.stack.callback(path.unlink, missing_ok=True)
        return path

    def private(self) -> Path:
        self._number += 1
        name = f"systemd-private-{self._number}-web.service-x/tmp"
        return self.corner.directory(name, uid=0, mode=0o777)


def run(*command: object) -> None:
    subprocess.run([str(word) for word in command], check=True)


def plant(faults: Faults) -> Iterator[tuple[str, Planted]]:
    for name, method in vars(Faults).items():
        if not name.startswith("_") and name not in ("path", "tmp", "private"):
            yield name, method(faults)


def is_healthy(planted: Planted, who: Who) -> bool:
    target = planted.target
    if isinstance(target, Target) and target.line is not None:
        with HostProbes() as probes:
            (target,) = read(target.line.file, probes.read).targets
        process = Path(f"/proc/{who}")
        if not process.exists():  # nginx has another worker since the cure
            who = "nginx"
    elif isinstance(target, Target) and target.proxy_switch is not None:
        target = host(Path(target.proxy_switch) / "tls-socket")
    return examine(target, who).healthy


def test_every_fault_is_first_and_its_cure_cures(corner: Corner) -> None:
    need("acl", "nginx")
    with ExitStack() as stack:
        faults = dict(plant(Faults(corner, stack)))
        assert len(faults) >= 30
        found = {name: examine(one.target, one.who) for name, one in faults.items()}
        named = {name: codes(diagnosis) for name, diagnosis in found.items()}
        assert named == {name: one.codes for name, one in faults.items()}
        for name, one in faults.items():
            one.before()
            if one.restarted is not None and isinstance(one.who, subprocess.Popen):
                one.who.kill()
                one.who.wait()
            for finding in found[name].findings:
                cure(finding)
            one.after()
            check(name, one, found[name].findings[0].why)


def check(name: str, one: Planted, why: str) -> None:
    if one.restarted is not None:
        program, uid = one.restarted.split()
        with again(program, int(uid)) as pid:
            assert examine(one.target, pid).healthy, name
        return
    if one.codes == ["path-too-long"]:
        short = Path(why.rpartition(" ")[2])
        try:
            assert examine(short, one.who).healthy, name
        finally:
            with suppress(FileNotFoundError):
                short.parent.unlink()
        return
    wait_until(lambda: is_healthy(one, one.who), what=f"the cure of {name}")


@pytest.mark.parametrize("count", [50])
def test_a_healthy_host_has_no_finding(corner: Corner, count: int) -> None:
    who = corner.asker()
    paths = [corner.directory(f"app{number}") / "app.sock" for number in range(count)]
    script = (
        "import os, socket, sys; os.umask(7); kept = []\n"
        "for path in sys.argv[1:]:\n"
        "    kept.append(socket.socket(socket.AF_UNIX)); kept[-1].bind(path); kept[-1].listen(9)\n"
        "print('ready', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-I", "-S", "-c", script, *map(str, paths)]
    corner.start(*command, uid=SERVER_UID, gid=SERVER_GID, ready=True)
    assert all(examine(path, who).healthy for path in paths)
