"""Cloister: one Linux host, many services, each in a cell of its own.

Layers, lowest first; a module imports only from layers below its own:

``model``     frozen values, no I/O
``processes``, ``wire``      what both programs' drivers share: pipes, and the JSON
``config``    text to ``model.snapshot.Snapshot``
``sockets``, ``hosts``, ``door``, ``cells``   one side of the system each
``apps``      the life of an application
``control``   the API on a Unix socket
``wiring``    puts a running whole together
``cli``       the command line; the only place that picks exit codes
"""

from importlib.metadata import version as _version

__version__ = _version("cloister")
