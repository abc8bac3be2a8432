"""What ``cloister up`` becomes: ``python -m cloister.cli.foreground DESCRIPTOR LOG-FORMAT``.

Not a command: whatever reads command lines stays out of a process that lives for months.
"""

import asyncio
import importlib
import importlib.util
import os
import pickle
import sys


def run(descriptor: int, log_format: str) -> None:
    """Runs what ``cloister up`` has written into ``descriptor``, and closes that."""
    _leave_out_commands()
    from cloister.apps.logs import LogFormat, Sink
    from cloister.processes import raise_descriptor_limit
    from cloister.wiring import composition

    raise_descriptor_limit()  # one application takes some 16 (with the holder's copies)
    with os.fdopen(descriptor, "rb") as file:
        # Written in this very process, before it became this program, into memory that nobody
        # else can write.
        start = pickle.load(file)  # noqa: S301
    names = ("cloister", "door", *(app.name for app in start.snapshot.apps))
    sink = Sink(log_format=LogFormat(log_format), width=max(len(name) for name in names))
    try:
        asyncio.run(composition.run(start, sink))
    finally:
        sink.close()


def _leave_out_commands() -> None:
    """Has the parts of uvicorn be imported without its ``__init__``, which brings its command
    line, and with that click: 4 MiB that nothing here uses."""
    spec = importlib.util.find_spec("uvicorn")
    assert spec is not None  # noqa: S101 (a dependency)
    package = importlib.util.module_from_spec(spec)
    sys.modules["uvicorn"] = package
    # Its own parts take this one thing from it.
    vars(package)["Config"] = importlib.import_module("uvicorn.config").Config


def main() -> int:
    """Runs to the end; the exit code is that of the command line."""
    try:
        run(int(sys.argv[1]), sys.argv[2])
    except Exception as error:  # noqa: BLE001 (raised once more where codes are picked)
        return _end(error)
    except KeyboardInterrupt as interrupt:
        return _end(interrupt)
    return 0


def _end(error: BaseException) -> int:
    from cloister.cli.main import guard

    def again() -> None:
        raise error

    return guard(again)


if __name__ == "__main__":
    sys.exit(main())
