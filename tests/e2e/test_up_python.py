"""A Python application with an environment, folders and a factory of its own."""

import subprocess
import sys
from pathlib import Path

from tests.support.up import Up, open_folder

MODULE = """
import sys, only_here, only_in_a_folder
def make():
    def application(environ, start_response):
        body = f"{only_here.WORD} {only_in_a_folder.WORD} {sys.prefix}".encode()
        start_response("200 OK", [("content-length", str(len(body)))])
        return [body]
    return application
"""


def test_its_virtual_environment_runs_it() -> None:
    with open_folder() as folder:
        home, library, code = folder / "venv", folder / "lib", folder / "apps" / "own"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(home)], check=True)
        (packages,) = home.glob("lib/python*/site-packages")
        (packages / "only_here.py").write_text("WORD = 'venv'\n")
        for place in (library, code):
            place.mkdir(parents=True)
        (library / "only_in_a_folder.py").write_text("WORD = 'folder'\n")
        up = Up(folder)
        up.write({})
        (code / "web.py").write_text(MODULE)
        up.config.write_text(up.config.read_text() + configured(code, home, library))
        up.start()
        try:
            up.wait_ready()
            assert up.curl("own.example") == f"venv folder {home}"
        finally:
            up.close()


def configured(code: Path, home: Path, library: Path) -> str:
    return f"""
[apps.own]
directory = "{code}"
hosts = ["own.example"]
tls = "self-signed"
[apps.own.python]
app = "web:make"
factory = true
home = "{home}"
path = ["{library}"]
"""
