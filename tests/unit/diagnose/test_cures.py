"""Commands are for a shell: each is run by one here, on texts that shells and sed mistake."""

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.diagnose.fakes import MASTER, SERVER, WORKER, FakeProbes

from cloister.diagnose import cures
from cloister.diagnose.facts import Credentials, Limit

CONFIG = """\
[apps.blog]
command = ["x"]
send-proxy = "v1"

[apps.other]
send-proxy = "v2"
"""


def shell(command: str) -> None:
    subprocess.run(["sh", "-c", command], check=True)


@pytest.mark.parametrize("before", ['send-proxy = "v1"\n', ""])
def test_a_key_of_one_app_is_set_and_no_other_s(tmp_path: Path, before: str) -> None:
    file = tmp_path / "it's a file.toml"
    file.write_text(CONFIG.replace('send-proxy = "v1"\n', before))
    shell(cures.set_key(str(file), "blog", "send-proxy", "none"))
    blog, other = file.read_text().split("[apps.other]")
    assert blog.count("send-proxy") == 1
    assert 'send-proxy = "none"' in blog
    assert 'send-proxy = "v2"' in other


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("unix:/run/a.sock/x", "unix:/run/a.sock"),
        ("http://unix:/run/a b|c&[x].sock", "http://unix:/run/$(id)&\\1|'q'.sock"),
        ("https://", "http://"),
    ],
)
def test_a_text_in_a_line_is_changed_literally(tmp_path: Path, old: str, new: str) -> None:
    file = tmp_path / "site.conf"
    line = f"proxy_pass {old};"
    file.write_text(f"{line}\n{line}\n")
    shell(cures.replace_in_line(str(file), 2, old, new))
    assert file.read_text() == f"{line}\nproxy_pass {new};\n"


def test_how_programs_are_started_afresh() -> None:
    probes = FakeProbes()
    assert cures.restart(SERVER, probes) == "systemctl restart app.service"
    assert cures.restart(replace(WORKER, unit=None), probes) == f"kill -HUP {MASTER.pid}"
    alone = replace(
        SERVER,
        unit=None,
        folder="/srv/my app",
        command=("/usr/bin/app", "--title", "it's"),
        credentials=Credentials(500, 501, frozenset({7, 5})),
    )
    command = cures.restart(alone, probes)
    assert command.startswith("kill 3000; ")
    assert "--chdir='/srv/my app' setpriv --reuid=500 --regid=501 --groups=5,7" in command
    assert command.endswith("""-- /usr/bin/app --title 'it'"'"'s'""")


def test_a_limit_is_raised_without_privilege_where_that_is_enough() -> None:
    lowered = cures.set_limit(SERVER, "nofile", 4096, Limit(64, 8192, 64))
    assert lowered.startswith("setpriv --reuid=500 ")
    assert lowered.endswith("prlimit --pid 3000 --nofile=4096:")
    raised = cures.set_limit(SERVER, "nofile", 9000, Limit(64, 8192, 64))
    assert raised == "prlimit --pid 3000 --nofile=9000:9000"
