"""An application in an SELinux context: in force, and felt.

``make test-machine`` runs this in a machine where SELinux enforces; what happens where there is
none stands in ``test_fences.py``.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import mandatory
from tests.support.labelled import lines, run, tell, write_files

from cloister.model.fences import Fences

pytestmark = pytest.mark.usefixtures("root")

CONTEXT = "system_u:system_r:cloister_test_t:s0"
MODULE = """\
(type cloister_test_t)
(type cloister_test_open_t)
(type cloister_test_secret_t)
(roletype system_r cloister_test_t)
(typeattributeset domain (cloister_test_t))
(typeattributeset file_type (cloister_test_open_t cloister_test_secret_t))
(allow domain cloister_test_t (process (transition siginh noatsecure rlimitinh)))
(allow domain cloister_test_t (process2 (nnp_transition nosuid_transition)))
(allow domain self (process (setexec)))
(allow cloister_test_t self (process (all)))
(allow cloister_test_t self (fd (use)))
(allow cloister_test_t self (fifo_file (all)))
(allow cloister_test_t self (file (all)))
(allow cloister_test_t self (dir (all)))
(allow cloister_test_t self (lnk_file (all)))
(allow cloister_test_t domain (fd (use)))
(allow cloister_test_t domain (fifo_file (all)))
(allow cloister_test_t domain (process (sigchld)))
(allow cloister_test_t bin_t (file (entrypoint execute map read open getattr ioctl)))
(allow cloister_test_t lib_t (file (execute map read open getattr ioctl)))
(allow cloister_test_t ld_so_t (file (execute map read open getattr ioctl)))
(allow cloister_test_t usr_t (file (map read open getattr ioctl)))
(allow cloister_test_t file_type (dir (search getattr read open)))
(allow cloister_test_t file_type (lnk_file (read getattr)))
(allow cloister_test_t cloister_test_open_t (file (read open getattr ioctl)))
(allow cloister_test_t locale_t (file (map read open getattr)))
(allow cloister_test_t device_node (chr_file (read write open getattr ioctl)))
"""
"""A domain into which every other one may send a program, as a cell does; it may read the one
type of files, and not the other."""


@pytest.fixture(autouse=True, scope="module")
def installed() -> Iterator[None]:
    mandatory.need_selinux()
    with mandatory.module("cloister_test", MODULE):
        yield


@pytest.fixture
def shown(open_folder: Path) -> Path:
    write_files(open_folder)
    return open_folder


def test_the_program_runs_in_its_context_which_denies(shown: Path) -> None:
    for name in ("open", "secret"):
        mandatory.label(shown / name, f"cloister_test_{name}_t")
    confined = tell(shown, Fences(selinux_context=CONTEXT))
    assert lines(confined) == [CONTEXT, "open words", "secret denied"]
    assert [one for one in confined.fences.values() if CONTEXT in str(one)], confined.fences


def test_a_context_that_the_policy_does_not_know_is_an_error(shown: Path) -> None:
    failure = tell(shown, Fences(selinux_context="system_u:system_r:none_such_t:s0")).failure
    assert failure is not None
    assert (failure["step"], failure["errno"]) == ("set-labels", 22)
    assert "its policy does not know this context" in failure["hint"]


def test_a_context_that_may_not_be_entered_is_an_error(shown: Path) -> None:
    """The policy says who becomes what, whatever the configuration asks for."""
    failure = tell(shown, Fences(selinux_context="system_u:system_r:sshd_t:s0")).failure
    assert failure is not None
    assert failure["step"] in ("set-labels", "execute")
    assert failure["errno"] in (1, 13)
    assert "SELinux" in failure["hint"]


def test_by_the_command() -> None:
    done = run("--fence", f"selinux-context={CONTEXT}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip("\0\n") == CONTEXT
