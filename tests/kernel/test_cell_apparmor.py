"""An application under an AppArmor profile: in force, and felt.

``make test-machine`` runs this in a machine that has AppArmor; what happens where there is none
stands in ``test_fences.py``.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import mandatory
from tests.support.cell_spec import launched, python
from tests.support.default_cell import specification
from tests.support.labelled import lines, run, tell, write_files

from cloister.model.fences import Fences

pytestmark = pytest.mark.usefixtures("root")

NAME = "cloister-test-label"
PROFILE = f"""\
profile {NAME} flags=(attach_disconnected) {{
  file,
  network,
  capability,
  signal,
  deny /shown/secret r,
}}
"""
"""Everything but one file, whose modes let everybody read it."""
WAIT = "import time; time.sleep(600)"


@pytest.fixture(autouse=True, scope="module")
def loaded() -> Iterator[None]:
    mandatory.need_apparmor()
    with mandatory.profile(PROFILE):
        yield


@pytest.fixture
def shown(open_folder: Path) -> Path:
    write_files(open_folder)
    return open_folder


def current(pid: int) -> str:
    return Path(f"/proc/{pid}/attr/current").read_text().rstrip("\0\n")


def test_the_program_runs_under_its_profile_which_denies(shown: Path) -> None:
    free = tell(shown)
    assert lines(free) == ["unconfined", "open words", "secret words"]
    confined = tell(shown, Fences(apparmor_profile=NAME))
    assert lines(confined) == [f"{NAME} (enforce)", "open words", "secret denied"]
    said = [one for one in confined.fences.values() if NAME in str(one)]
    assert said, confined.fences


def test_the_cells_own_processes_stay_out_of_it() -> None:
    """It counts for the application's execution only."""
    with launched(specification(*python(WAIT), fences=Fences(apparmor_profile=NAME))) as cell:
        assert cell.failure() is None
        labels = [current(pid) for pid in (cell.pid, cell.init(), cell.application())]
    assert labels == ["unconfined", "unconfined", f"{NAME} (enforce)"]


def test_a_profile_that_is_not_loaded_is_an_error(shown: Path) -> None:
    failure = tell(shown, Fences(apparmor_profile="none-such")).failure
    assert failure is not None
    assert (failure["step"], failure["errno"]) == ("set-labels", 2)
    assert "no profile of this name is loaded" in failure["hint"]
    assert failure["path"].endswith("exec")


def test_by_the_command() -> None:
    done = run("--fence", f"apparmor-profile={NAME}")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() == f"{NAME} (enforce)"
    done = run("--fence", "apparmor-profile=none-such")
    assert done.returncode == 1
    assert "no profile of this name is loaded" in done.stderr
