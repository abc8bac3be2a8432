"""`cloister generate systemd up`: the supervisor under a real systemd."""

import json
import shutil
import sys
import sysconfig
from pathlib import Path

import pytest
from tests.e2e.systemd.conftest import Generate
from tests.support import systemd
from tests.support.systemd import Container

import cloister

pytestmark = [pytest.mark.systemd, pytest.mark.timeout(900)]  # the first makes the file system

LIBRARIES = "/usr/local/lib/cloister-libraries"

CONFIG = """\
[listeners.https]
listen = ["127.0.0.1:443"]

[apps.hello]
python = "hello:app"
directory = "/srv/hello"
hosts = ["hello.example"]
tls = "self-signed"
"""

HELLO = """\
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello from a cell"})
"""

SCRIPT = """\
#!/usr/bin/python3
import sys
from cloister.cli.main import main
sys.exit(main())
"""

CURL = [
    "curl",
    "--max-time",
    "10",
    "--silent",
    "--show-error",
    "--resolve",
    "hello.example:443:127.0.0.1",
]
AUTHORITY = ["--cacert", "/var/lib/cloister/authority/ca.pem"]


@pytest.fixture
def installed(container: Container) -> Container:
    """The Python package with its libraries and all programs."""
    folder = container.view / LIBRARIES.lstrip("/")
    shutil.copytree(sysconfig.get_path("purelib"), folder, symlinks=True)
    shutil.copytree(Path(cloister.__file__).parent, folder / "cloister", dirs_exist_ok=True)
    container.write("/usr/lib/python3/dist-packages/cloister.pth", f"{LIBRARIES}\n")
    for name in ("cloister-door", "cloister-cell"):
        container.copy(Path(sys.executable).with_name(name))
    script = (
        "#!/usr/bin/python3\nimport sys\nfrom cloister.cli.main import main\nsys.exit(main())\n"
    )
    container.write("/usr/local/bin/cloister", script, mode=0o755)
    container.write("/etc/cloister/cloister.toml", CONFIG)
    container.write("/srv/hello/hello.py", HELLO)
    return container


def test_it_serves_is_reloaded_and_stops(installed: Container, generate: Generate) -> None:
    container = installed
    generate("systemd", "up", program="cloister")
    systemd.verify(container, ["cloister.service"])
    container.run("systemctl", "enable", "--now", "cloister.service", seconds=60)
    assert container.state("cloister.service") == "active"
    url = "https://hello.example/"
    assert container.output(*CURL, *AUTHORITY, url) == "hello from a cell"
    container.run("systemctl", "reload", "cloister.service")
    assert container.output(*CURL, *AUTHORITY, url) == "hello from a cell"
    status = json.loads(container.output("/usr/local/bin/cloister", "status", "--json"))
    assert status
    container.run("systemctl", "stop", "cloister.service", seconds=60)
    assert container.state("cloister.service") == "inactive"
    assert not (container.view / "run/cloister").exists()
