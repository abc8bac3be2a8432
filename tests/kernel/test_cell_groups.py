"""Groups of the host that an application keeps: for sockets of other services, and no more."""

import os
import socket
from pathlib import Path

import pytest
from tests.support.cell_attempts import REACHED, in_cell
from tests.support.cell_spec import bind, with_binds

pytestmark = pytest.mark.usefixtures("root")

GROUP = 487_031


def test_a_group_opens_the_socket_of_another_service(open_folder: Path) -> None:
    path = open_folder / "service"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        os.chown(path, 0, GROUP)
        path.chmod(0o660)
        body = f"socket.socket(socket.AF_UNIX).connect({str(path)!r})"
        shown = with_binds(bind(str(open_folder)))
        assert in_cell(body, **shown) == "denied EACCES"
        assert in_cell(body, host_groups=[GROUP], **shown) == REACHED
        assert in_cell(body, host_groups=[GROUP + 1], **shown) == "denied EACCES"


def test_the_callers_own_groups_are_given_up(open_folder: Path) -> None:
    file = open_folder / "file"
    file.touch()
    os.chown(file, 0, GROUP)
    file.chmod(0o640)
    body = f"open({str(file)!r})"
    launch = {"extra_groups": [GROUP]}
    shown = with_binds(bind(str(open_folder)))
    assert in_cell(body, launch=launch, **shown) == "denied EACCES"
    assert in_cell(body, launch=launch, host_groups=[GROUP], **shown) == REACHED
