"""A container of its own for each test, with the programs of this checkout in it."""

import shutil
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support import systemd
from tests.support.hung_supervisor import CONFIG, HELLO
from tests.support.systemd import Container

import cloister
from cloister.cli.main import main

Generate = Callable[..., None]

LIBRARIES = "/usr/local/lib/cloister-libraries"


@pytest.fixture
def container() -> Iterator[Container]:
    """A booted systemd."""
    with systemd.booted() as container:
        container.copy(Path(sys.executable).with_name("cloister-door"))
        yield container


@pytest.fixture
def generate(container: Container) -> Generate:
    """Runs ``cloister generate`` and has the container's systemd read the result."""

    def run(*arguments: str, program: str = "cloister-door") -> None:
        folder = str(container.view)
        where = ["--program", f"{systemd.PROGRAMS}/{program}", "--output", folder]
        assert main(["generate", *arguments, *where]) == 0
        container.run("systemctl", "daemon-reload")

    return run


@pytest.fixture
def installed(container: Container) -> Container:
    """The Python package with its libraries, all programs, and one application."""
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
