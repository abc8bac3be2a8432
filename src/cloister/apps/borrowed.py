"""Serves an application under an interpreter that has no Cloister, such as a virtual
environment's own: ``PYTHON /…/cloister/apps/borrowed.py FOLDER[:FOLDER] ARGUMENTS``.

The folders hold Cloister and the server that it brings. They come last in the module search
path, so that whatever the interpreter has itself counts. The arguments are those of
``cloister.apps.servers``. Standard library only.
"""

import runpy
import sys

OLDEST = (3, 11)


def main() -> None:
    """Become ``cloister.apps.servers``."""
    if sys.version_info < OLDEST:
        found = ".".join(map(str, sys.version_info[:2]))
        sys.exit(f"{sys.executable} is Python {found}; the server needs 3.11 or later")
    program, folders, *arguments = sys.argv
    # The script's own folder: its modules would hide others' of the same name.
    del sys.path[0]
    sys.path += [folder for folder in folders.split(":") if folder not in sys.path]
    sys.argv = [program, *arguments]
    runpy.run_module("cloister.apps.servers", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
