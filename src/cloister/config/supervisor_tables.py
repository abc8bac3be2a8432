"""`[cloister]` and `[door]` as they are written: a part of ``syntax``."""

from typing import Annotated

from cloister.config import forms
from cloister.config.forms import Form, Table, setting
from cloister.model.snapshot import DEFAULT_IDS, ControlOptions, DoorOptions

MAX_WORKERS = 1024

_door = DoorOptions()
_control = ControlOptions()


class ControlTable(Table):
    """`[cloister.control]`: who may ask and command the supervisor, beside root and its own user.

    Whoever may can have any program run in a cell: it is as much as being the supervisor's user.
    """

    owner: forms.User | None = setting(
        "Who owns the control socket, and may ask.",
        example='"deploy"',
        default=_control.owner,
        default_text="the supervisor's user",
    )
    group: forms.Group | None = setting(
        "The socket's group, whose members may ask where `mode` lets them write.",
        example='"operators"',
        default=_control.group,
        default_text="the supervisor's group",
    )
    mode: forms.ControlMode = setting(
        "The socket's permission bits.", example='"0660"', default=_control.mode
    )


class CloisterTable(Table):
    """`[cloister]`: the supervisor's own places."""

    runtime_directory: forms.PathText | None = setting(
        "Where sockets are made: the control socket, and `apps/NAME/socket` for each "
        "application. Lost at a reboot without harm.",
        example='"/run/cloister"',
        default=None,
        default_text='`$RUNTIME_DIRECTORY` (systemd sets it); else "/run/cloister" as root, '
        "otherwise `$XDG_RUNTIME_DIR/cloister`, or `run` in `state-directory` where there is no "
        "login session",
    )
    state_directory: forms.PathText | None = setting(
        "Where identities and the local certificate authority are kept.",
        example='"/var/lib/cloister"',
        default=None,
        default_text='`$STATE_DIRECTORY` (systemd sets it); else "/var/lib/cloister" as root, '
        "otherwise `$XDG_STATE_HOME/cloister` or `~/.local/state/cloister`",
    )
    ids: forms.IdRangeText = setting(
        "User and group ids on this machine, first and last included, that belong to the "
        "cells alone; each application gets one, and the door may take the first. None may "
        "be in use by anybody else.",
        example='"500000-565535"',
        default=DEFAULT_IDS,
        default_text='"500000-565535"',
    )
    control: ControlTable = setting(
        "Who may ask the supervisor.",
        example='{ group = "operators", mode = "0660" }',
        default=ControlTable(),
    )


class DoorTable(Table):
    """`[door]`: the process that takes every connection and never decrypts one."""

    workers: Annotated[int, Form("number")] | None = setting(
        "Threads that relay connections.",
        example="2",
        default=_door.workers,
        default_text="one per processor",
        at_least=1,
        at_most=MAX_WORKERS,
    )
    user: forms.UnprivilegedUser | None = setting(
        "As whom the door runs once its listeners are bound.",
        example='"www-data"',
        default=_door.user,
        default_text="the first of `ids` as root, otherwise the supervisor's own user",
    )
    log_connections: forms.Flag = setting(
        "Whether each connection leaves one line in the log when it ends.",
        example="false",
        default=_door.log_connections,
    )
