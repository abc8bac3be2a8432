"""How a Python application is run in its cell: the interpreter's command line, and what of the
host the interpreter needs.
"""

import os
import sys
import sysconfig
from pathlib import Path

from cloister.cells import programs, view
from cloister.cells.spec import Bind
from cloister.model.app import App, PythonProgram

_PACKAGE = Path(view.__file__).absolute().parent.parent


def command(app: App, program: PythonProgram) -> tuple[str, ...]:
    """The command line that serves ``program`` (``cloister.apps.servers``)."""
    # Requests under way are cut before the supervisor loses its patience, not by it.
    options = ["--stop-timeout", f"{app.stop_timeout * 0.8:g}"]
    if app.tls is not None:
        options.append("--tls")
    if program.factory:
        options.append("--factory")
    if program.interface is not None:
        options += ["--interface", program.interface.value]
    if program.threads is not None:
        options += ["--threads", str(program.threads)]
    for folder in program.path:
        options += ["--path", folder]
    return (*_server(program), *options, str(program))


def shim(target: str, stop_timeout: float) -> tuple[str, ...]:
    """The command line before that of a program which listens at ``target`` in its cell
    (``cloister.apps.shim``)."""
    # The relay's share of the time to stop; the program has the rest.
    drain = f"{stop_timeout / 2:g}"
    own = (sys.executable, "-P", "-m", "cloister.apps.shim")
    return (*own, programs.find("cloister-door"), target, drain, "--")


def shim_binds() -> list[Bind]:
    """What that needs of the host."""
    return [*view.python_view(), view.read_only(programs.find("cloister-door"))]


def binds(program: PythonProgram) -> list[Bind]:
    """The interpreters, their libraries and the application's, all read-only."""
    found = view.python_view()
    interpreter = _interpreter(program)
    if interpreter is not None:
        found += [view.read_only(link) for link in view.follow_links(interpreter)]
        # PREFIX/bin/python, with its standard library in PREFIX/lib (sys.base_prefix). On a
        # host whose /bin is no link the prefix of a Python there is the whole host.
        prefix = str(Path(os.path.realpath(interpreter)).parent.parent)
        if prefix != "/":
            found.append(view.read_only(prefix))
    if program.home is not None:
        found.append(view.read_only(program.home))
    return found + [view.read_only(folder) for folder in program.path]


def _interpreter(program: PythonProgram) -> str | None:
    """Whose Python it is, where it is not Cloister's own."""
    return f"{program.home}/bin/python" if program.home is not None else program.interpreter


def _server(program: PythonProgram) -> tuple[str, ...]:
    interpreter = _interpreter(program)
    if interpreter is None:
        return (sys.executable, "-m", "cloister.apps.servers")
    own = sysconfig.get_path("stdlib")
    standard = {own, f"{own}/lib-dynload"}
    libraries = [
        folder
        for folder in view.import_folders()
        if folder not in standard and not folder.endswith(".zip")
    ]
    folders = ":".join([str(_PACKAGE.parent), *libraries])
    return (interpreter, str(_PACKAGE / "apps" / "borrowed.py"), folders)
