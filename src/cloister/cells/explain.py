"""Asks ``cloister-cell`` which steps a plan consists of, without taking one."""

import os
import subprocess

from cloister import wire
from cloister.cells import programs, spec
from cloister.cells.plan import CellPlan
from cloister.model.errors import CellError
from cloister.processes import memory_file

_PATIENCE = 10.0
"""Seconds; it only reads a specification and writes text."""


def operations(plan: CellPlan, *, program: str | None = None) -> list[spec.Operation]:
    """The operations of ``plan`` in their order. Blocks; the plan stays open.

    Raises :class:`CellError` when ``cloister-cell`` refuses the specification or cannot be
    understood.
    """
    descriptor = memory_file("cell-spec", spec.encode(plan.spec))
    try:
        done = subprocess.run(
            [
                program or programs.find("cloister-cell"),
                "explain",
                "--spec-fd",
                str(descriptor),
                "--json",
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            pass_fds=(descriptor, *plan.descriptors),
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _error(plan, f"no answer within {_PATIENCE:g} s") from error
    finally:
        os.close(descriptor)
    if done.returncode != 0:
        raise _error(plan, done.stderr.decode(errors="replace").strip() or "no reason given")
    try:
        return [spec.decode(spec.Operation, line) for line in done.stdout.splitlines()]
    except wire.WireError as error:
        raise _error(plan, error.what) from error


def _error(plan: CellPlan, why: str) -> CellError:
    return CellError(
        f"the cell of {plan.spec.name} cannot be explained",
        step="explain",
        errno=0,
        why=why,
        hint="check that cloister and cloister-cell are of the same version",
    )
