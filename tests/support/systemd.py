"""A real systemd, booted as PID 1 of a container of its own over an untouched Debian.

The file system is made once by mmdebstrap and kept in ``$XDG_CACHE_HOME/cloister-tests``; each
boot gets an overlay in memory, so that no test sees what another one left. Needs root.
"""

import contextlib
import fcntl
import hashlib
import itertools
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from tests.support.processes import children
from tests.support.waiting import wait_until

PACKAGES = (
    "systemd-sysv",
    "dbus",
    "iproute2",
    "procps",
    "curl",
    "socat",
    "nginx-light",
    "php-fpm",
    "python3",
)
"""In every container. Their services are there, but not enabled."""

PROGRAMS = Path("/usr/local/bin")
"""Where tests put the programs."""

_REPOSITORY = Path(__file__).parents[2]
_numbers = itertools.count()


class CommandError(AssertionError):
    """A command inside failed; the text has all that it wrote."""


class Container:
    """One booted systemd. It owns its processes and its overlay."""

    def __init__(self, root: Path, nspawn: subprocess.Popen[bytes], leader: int) -> None:
        self.root = root
        """Its root folder as the host sees it, before what systemd mounts inside."""
        self.leader = leader
        """systemd's process, as the host numbers it."""
        self._nspawn = nspawn

    @property
    def view(self) -> Path:
        """Its root folder with all its mounts: what processes inside see."""
        return Path(f"/proc/{self.leader}/root")

    def run(
        self,
        *command: str,
        user: str = "root",
        check: bool = True,
        input_text: str = "",
        seconds: float = 30,
    ) -> subprocess.CompletedProcess[str]:
        """Runs ``command`` inside, with an environment of its own.

        Raises :class:`CommandError` where ``check`` and it fails.
        """
        entering = ["nsenter", f"--target={self.leader}", "--all", "--root", "--wd"]
        environment = ["env", "--ignore-environment", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
        become = [] if user == "root" else ["runuser", "--user", user, "--"]
        result = subprocess.run(
            [*entering, *environment, "HOME=/root", *become, *command],
            input=input_text,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        if check and result.returncode != 0:
            raise CommandError(
                f"{command} as {user}: exit status {result.returncode}\n"
                f"{result.stdout}{result.stderr}{self.journal()}"
            )
        return result

    def output(self, *command: str, user: str = "root") -> str:
        """What ``command`` writes, without the newline at its end."""
        return self.run(*command, user=user).stdout.rstrip("\n")

    def write(self, path: str, text: str, *, mode: int = 0o644) -> None:
        """Writes a file, with the folders above it."""
        place = self.view / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(mode)

    def copy(self, program: str | Path, folder: Path = PROGRAMS) -> str:
        """Copies a program of the host inside; returns its path there."""
        place = folder / Path(program).name
        shutil.copy(program, self.view / str(place).lstrip("/"))
        return str(place)

    def show(self, unit: str, *names: str) -> dict[str, str]:
        """Properties of ``unit`` as ``systemctl show`` has them."""
        text = self.output("systemctl", "show", unit, f"--property={','.join(names)}")
        return dict(line.split("=", 1) for line in text.splitlines())

    def state(self, unit: str) -> str:
        """``active``, ``inactive``, ``failed``, …"""
        return self.show(unit, "ActiveState")["ActiveState"]

    def wait_for_state(self, unit: str, state: str, *, seconds: float = 10) -> None:
        """Returns when ``unit`` is in ``state``."""
        try:
            wait_until(lambda: self.state(unit) == state, seconds=seconds, what=f"{unit} {state}")
        except AssertionError as error:
            raise AssertionError(f"{error}; {self.state(unit)}\n{self.journal()}") from None

    def journal(self, unit: str | None = None) -> str:
        """The newest lines of the journal, of one unit or of all."""
        command = ["journalctl", "--no-pager", "--output=cat", "--lines=40"]
        if unit is not None:
            command.append(f"--unit={unit}")
        return self.run(*command, check=False).stdout

    def stop(self) -> None:
        """Has systemd power off; kills what does not end by that."""
        with contextlib.suppress(ProcessLookupError):
            # systemd(1): SIGRTMIN+4 is a poweroff.
            os.kill(self.leader, signal.SIGRTMIN + 4)
        try:
            self._nspawn.wait(20)
        except subprocess.TimeoutExpired:
            self._nspawn.kill()
            self._nspawn.wait()


@contextlib.contextmanager
def booted() -> Iterator[Container]:
    """A container with systemd up and nothing but its own services running."""
    tree = file_system()
    with contextlib.ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="cloister-systemd-"))
        stack.callback(folder.rmdir)
        _mount(stack, folder, "tmpfs", "mode=0755")
        for name in ("upper", "work", "root"):
            (folder / name).mkdir()
        layers = f"lowerdir={tree},upperdir={folder}/upper,workdir={folder}/work"
        _mount(stack, folder / "root", "overlay", layers)
        console = stack.enter_context((folder / "console").open("wb"))
        nspawn = subprocess.Popen(
            [
                "systemd-nspawn",
                f"--directory={folder}/root",
                f"--machine=cloister-{os.getpid()}-{next(_numbers)}",
                "--boot",
                "--register=no",
                "--keep-unit",
                "--private-network",
                "--console=pipe",
                "--link-journal=no",
                # Cells join keyrings of their own, which nspawn's filter denies, and mount
                # /proc, which the kernel denies where parts of it are covered.
                "--system-call-filter=@keyring",
                "--quiet",
            ],
            env={**os.environ, "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "yes"},
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
        )
        stack.callback(nspawn.wait)
        stack.callback(nspawn.kill)
        try:
            # nspawn's first child is not systemd but makes way for it: look again each time.
            container = wait_until(
                lambda: _container(folder / "root", nspawn), seconds=60, what="a booted systemd"
            )
        except AssertionError as error:
            raise AssertionError(f"{error}\n{(folder / 'console').read_text()}") from None
        stack.callback(container.stop)
        yield container


def file_system() -> Path:
    """The untouched Debian, made where it is missing: some 40 s, 270 MB."""
    release = _release()
    text = " ".join([release, *PACKAGES, *_CUSTOMIZE])
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cloister-tests"
    tree = cache / f"{release}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not tree.exists():
            # A name of its own: what an interrupted one has started may still be writing.
            partial = Path(tempfile.mkdtemp(prefix=f"{tree.name}-", suffix=".partial", dir=cache))
            partial.chmod(0o755)
            _make(release, partial)
            partial.rename(tree)
    return tree


_CUSTOMIZE = (
    # Tests start what they need, and no timer does anything meanwhile.
    'chroot "$1" sh -c "cd /lib/systemd/system && systemctl disable nginx.service php*-fpm.service '
    "2>/dev/null; systemctl mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer "
    'e2scrub_all.timer systemd-tmpfiles-clean.timer e2scrub_reap.service 2>/dev/null; true"',
)


def _make(release: str, tree: Path) -> None:
    sources = [
        str(path)
        for pattern in ("sources.list", "sources.list.d/*.sources", "sources.list.d/*.list")
        for path in sorted(Path("/etc/apt").glob(pattern))
        if path.stat().st_size > 0
    ]
    nothing = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("man", "locale", "doc")]
    subprocess.run(
        [
            "mmdebstrap",
            "--quiet",
            "--mode=root",
            "--variant=minbase",
            f"--include={','.join(PACKAGES)}",
            '--aptopt=Acquire::Languages "none"',
            *nothing,
            *(f"--customize-hook={hook}" for hook in _CUSTOMIZE),
            release,
            str(tree),
            *sources,
        ],
        check=True,
        stdin=subprocess.DEVNULL,
        timeout=600,
    )


def _release() -> str:
    """The host's own Debian release, after installing what makes and boots containers."""
    if os.geteuid() != 0:
        pytest.skip("needs root: it boots a container")
    lines = Path("/etc/os-release").read_text().splitlines()
    fields = dict(line.split("=", 1) for line in lines if "=" in line)
    if fields.get("ID") != "debian":
        pytest.skip("needs Debian: the container is made of the host's own packages")
    subprocess.run(
        [_REPOSITORY / "scripts/debian-packages", "mmdebstrap", "systemd-container"], check=True
    )
    return fields["VERSION_CODENAME"]


def _mount(stack: contextlib.ExitStack, place: Path, kind: str, options: str) -> None:
    subprocess.run(["mount", "-t", kind, "-o", options, kind, place], check=True)
    # Lazily: what a killed container leaves behind goes when its last process does.
    stack.callback(subprocess.run, ["umount", "--lazy", place], check=True)


def _container(root: Path, nspawn: subprocess.Popen[bytes]) -> Container | None:
    """The container, once its systemd has started everything."""
    assert nspawn.poll() is None, "systemd-nspawn has ended"
    for leader in children(nspawn.pid):
        container = Container(root, nspawn, leader)
        result = container.run("systemctl", "is-system-running", check=False)
        if result.stdout.strip() in {"running", "degraded"}:
            return container
    return None


def verify(container: Container, units: Sequence[str]) -> None:
    """Has systemd find every mistake in ``units``, unknown keys and missing programs too."""
    container.run("systemd-analyze", "verify", "--recursive-errors=yes", *units)


if __name__ == "__main__":
    with contextlib.suppress(pytest.skip.Exception):
        file_system()
