"""``cloister up``: what applications write is kept, and a flood is in nobody's way."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.up import ASGI, Client, Up, open_folder
from tests.support.waiting import wait_until

FLOOD = (
    ASGI
    + """
import os, sys, threading
def flood():
    line = b"x" * 99 + b"\\n"
    written = 0
    while written < 50_000_000:
        written += os.write(1, line * 600)
    os.write(2, b"the flood is over\\n")
threading.Thread(target=flood, daemon=True).start()
"""
)

SAYS = """
import sys
print("hello from one", flush=True)
print("trouble", file=sys.stderr)
"""


@pytest.fixture
def up() -> Iterator[Up]:
    with open_folder() as folder:
        up = Up(folder)
        yield up
        up.close()


def logs(up: Up, app: str, *arguments: str) -> list[dict[str, object]]:
    done = subprocess.run(
        [sys.executable, "-m", "cloister", "logs", app, str(up.config), "--json", *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def said(up: Up) -> list[dict[str, object]]:
    """Of one, as soon as there is anything."""
    return logs(up, "one") if (up.state / "log" / "one.log").exists() else []


def test_output_is_kept_for_the_supervisor_s_user_alone(up: Up) -> None:
    code = (
        ASGI
        + 'print("hello from one", flush=True)\nimport sys\nprint("trouble", file=sys.stderr)\n'
    )
    up.write({"one": code}, 'log = { to = "files" }\n')
    up.start()
    up.wait_ready()
    wait_until(
        lambda: {"hello from one", "trouble", "ready"} <= {one["message"] for one in said(up)},
        what="the lines",
        seconds=30,
    )
    kept = {line["message"]: line for line in logs(up, "one")}
    assert (kept["hello from one"]["stream"], kept["trouble"]["stream"]) == ("stdout", "stderr")
    path = up.state / "log" / "one.log"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    # They outlive the supervisor, and the next one goes on.
    assert up.stop() == 0
    before = len(logs(up, "one", "-n", "1000"))
    up.start()
    up.wait_ready()
    wait_until(
        lambda: len(logs(up, "one", "-n", "1000")) > before, what="further lines", seconds=30
    )


def test_a_flood_is_bounded_on_disk_counted_and_in_nobody_s_way(up: Up) -> None:
    settings = 'log = { to = "files", size = "64K", files = 2, rate = 20 }\n'
    up.write({"quiet": ASGI, "loud": FLOOD}, settings)
    up.start()
    up.wait_ready("quiet")
    client = Client(up, "quiet.example")

    def lost() -> int:
        # The other one answers, and so does the supervisor.
        assert client.get().startswith(b"asgi")
        assert up.app("quiet").state == "ready"
        return sum(line.get("lost", 0) for line in up.log() if line["source"] == "loud")

    # The application itself was never made to wait: it has written everything, and serves.
    wait_until(lambda: lost() > 490_000, what="the count of what was lost", seconds=90)
    wait_until(lambda: up.app("loud").state == "ready", what="the loud one", seconds=60)
    assert Client(up, "loud.example").get().startswith(b"asgi")
    kept = sum(file.stat().st_size for file in (up.state / "log").iterdir())
    assert kept <= 2 * 64 * 1024
    assert len(up.said("loud")) < 2000


def test_the_journal_gets_lines_with_their_fields(up: Up, tmp_path: Path) -> None:
    """A real journal, in a folder of its own, where this machine has the program."""
    program = Path("/usr/lib/systemd/systemd-journald")
    if not program.exists() or os.geteuid() != 0:
        pytest.skip("needs systemd-journald and root")
    up.write({"one": ASGI + 'print("hello from one", flush=True)\n'})
    script = f"""
set -e
mount -t tmpfs tmpfs /run/systemd
mkdir -p /run/systemd/journal /run/log
mount -t tmpfs tmpfs /run/log
mount -t tmpfs tmpfs /var/log
mkdir /run/log/journal
{program} &
while [ ! -S /run/systemd/journal/socket ]; do sleep 0.02; done
{sys.executable} -m cloister up {up.config} >{up.log_path} 2>&1 &
{sys.executable} -m cloister status {up.config} --wait 60 >/dev/null
for try in $(seq 100); do
    {sys.executable} -m cloister logs one {up.config} --json >{tmp_path}/found || true
    grep -q "from one" {tmp_path}/found && exit 0
done
exit 1
"""
    # Whatever runs in it dies with the script, the first process of a pid namespace.
    fences = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    with (tmp_path / "said").open("w") as said:
        done = subprocess.run(
            ["unshare", *fences, "bash", "-c", script],
            check=False,
            timeout=110,
            stdout=said,
            stderr=said,
        )
    assert done.returncode == 0, (tmp_path / "said").read_text()
    lines = [json.loads(line) for line in (tmp_path / "found").read_text().splitlines()]
    (hello,) = [line for line in lines if "from one" in str(line["MESSAGE"])]
    assert hello["CLOISTER_APP"] == hello["SYSLOG_IDENTIFIER"] == "one"
    assert hello["CLOISTER_STREAM"] == "stdout"
    assert hello["PRIORITY"] == "6"
    assert any(line["MESSAGE"] == "ready" for line in lines)
