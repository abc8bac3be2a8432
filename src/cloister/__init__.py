"""Cloister: one Linux host, many services, each in a cell of its own.

Layers, lowest first; a module imports only from layers below its own:

``model``     frozen values, no I/O
``processes``, ``wire``      what both programs' drivers share: pipes, and the JSON
``handoff``   receives connections; the one module that applications import
``hosts``     hostnames in their canonical form
``config``    text to ``model.snapshot.Snapshot``
``sockets``, ``door``, ``cells``   one side of the system each
``apps``      the life of an application
``control``   the API on a Unix socket
``wiring``    puts a running whole together
``cli``       the command line; the only place that picks exit codes
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    __version__: str
else:

    def __getattr__(name):
        # Reading the metadata takes as long as all else that `cloister --help` does.
        if name != "__version__":
            raise AttributeError(name)
        from importlib.metadata import version

        return version("cloister")
