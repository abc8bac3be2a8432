"""Default cells as the configuration makes them, fences and all, to be run to their end."""

import json
import os
from collections.abc import Callable, Sequence
from typing import Any

from tests.support.cell_spec import HOST_ID, Outcome, run

from cloister.cells import spec
from cloister.cells.plan import build_cell
from cloister.model.app import App, CommandProgram
from cloister.model.fences import Fences
from cloister.model.isolation import Bind, HostIdentity

Change = Callable[[dict[str, Any]], None]
DEFAULT = Fences()


def specification(
    *command: str, fences: Fences = DEFAULT, binds: Sequence[Bind] = ()
) -> dict[str, Any]:
    """That of an application with this command and these fences, as JSON has it."""
    app = App("fenced", CommandProgram(command), None, binds=tuple(binds), fences=fences)
    owner = HOST_ID if os.geteuid() == 0 else os.geteuid()
    plan = build_cell(app, HostIdentity(owner, owner), None)
    plan.close()
    made: dict[str, Any] = json.loads(spec.encode(plan.spec))
    return made


def run_default(
    *command: str,
    fences: Fences = DEFAULT,
    binds: Sequence[Bind] = (),
    change: Change | None = None,
    **launch: Any,
) -> Outcome:
    """Runs one to its end; ``change`` takes something away from its specification."""
    made = specification(*command, fences=fences, binds=binds)
    if change is not None:
        change(made)
    return run(made, **launch)
