"""How a Python application is run in its cell: the interpreter's command line, and what of the
host the interpreter needs.
"""

import os
import sys
import sysconfig
from pathlib import Path

from cloister.cells import programs, view
from cloister.cells.spec import Bind
from cloister.config.roots import in_root
from cloister.model.app import App, PythonProgram

_PACKAGE = Path(view.__file__).absolute().parent.parent
_SHARED_PREFIXES = frozenset({"/", "/usr", "/usr/local"})
"""Prefixes of a Python that hold everything else of the system, too."""


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
    if app.restart.after_requests is not None:
        options += ["--after-requests", str(app.restart.after_requests)]
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


def binds(program: PythonProgram, rootfs: str | None = None) -> list[Bind]:
    """The interpreters, their libraries and the application's, all read-only.

    With ``rootfs``, a folder of the host that is the cell's root, ``home`` and ``path`` of the
    application are in that already; what is shown of the host covers as little of it as can be.
    """
    if rootfs is not None:
        return _rooted_binds(program, rootfs)
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


def _rooted_binds(program: PythonProgram, rootfs: str) -> list[Bind]:
    if own_interpreter(program, rootfs):
        # Cloister's server, for the root's own interpreter.
        folders = [str(_PACKAGE), *_libraries()]
        return [view.read_only(folder) for folder in folders]
    found = [bind for bind in view.python_view() if bind.source not in _SHARED_PREFIXES]
    executables = {sys.executable, getattr(sys, "_base_executable", None) or sys.executable}
    folders = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")]
    if program.home is None and program.interpreter is not None:
        executables.add(program.interpreter)
        real = Path(os.path.realpath(program.interpreter))
        prefix = str(real.parent.parent)
        folders.append(f"{prefix}/lib/{real.name}" if prefix in _SHARED_PREFIXES else prefix)
    found += [
        view.read_only(link) for one in sorted(executables) for link in view.follow_links(one)
    ]
    found += [view.read_only(folder) for folder in folders if Path(folder).is_dir()]
    return found + view.library_view(rootfs)


def own_interpreter(program: PythonProgram, rootfs: str) -> bool:
    """Whether the virtual environment of ``program``, which is in the folder ``rootfs``, has
    its interpreter there too. Else it can only be Cloister's own, seen at its own place."""
    if program.home is None:
        return False
    found = in_root(rootfs, f"{program.home}/bin/python")
    return found is not None and os.access(found, os.X_OK)


def _interpreter(program: PythonProgram) -> str | None:
    """Whose Python it is, where it is not Cloister's own."""
    return f"{program.home}/bin/python" if program.home is not None else program.interpreter


def _server(program: PythonProgram) -> tuple[str, ...]:
    interpreter = _interpreter(program)
    if interpreter is None:
        return (sys.executable, "-m", "cloister.apps.servers")
    folders = ":".join([str(_PACKAGE.parent), *_libraries()])
    return (interpreter, str(_PACKAGE / "apps" / "borrowed.py"), folders)


def _libraries() -> list[str]:
    """Where the server's own packages are, without the standard library."""
    own = sysconfig.get_path("stdlib")
    standard = {own, f"{own}/lib-dynload"}
    return [
        folder
        for folder in view.import_folders()
        if folder not in standard and not folder.endswith(".zip")
    ]
