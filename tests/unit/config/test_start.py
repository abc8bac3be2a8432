"""Which configuration counts: the file's or the one that was accepted last."""

from dataclasses import replace
from pathlib import Path

import pytest

from cloister.config import start
from cloister.config.accepted import AcceptedStore
from cloister.config.start import choose
from cloister.model.configuration import Start
from cloister.model.errors import ConfigError


class Scene:
    """A file that ran as it is, and a change of the running configuration after it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "cloister.toml"
        self.state = folder / "state"
        self.path.write_text(self.text(8001))
        self.store = AcceptedStore(str(self.state / "configuration"))
        self.first = choose(str(self.path))

    def text(self, port: int) -> str:
        return (
            f'[cloister]\nstate-directory = "{self.state}"\n'
            f'[listeners.web]\nlisten = "127.0.0.1:{port}"\n'
        )

    def accept(self, port: int, version: int = 9) -> None:
        """As by the control API."""
        configuration = replace(self.first.accepted.configuration, text=self.text(port))
        accepted = replace(self.first.accepted, version=version, configuration=configuration)
        self.store.write(accepted)

    def choose(self, **options: bool) -> Start:
        return choose(str(self.path), **options)


def port(start: Start) -> str:
    (listener,) = start.snapshot.listeners
    return str(listener.addresses[0])


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_the_file_counts_where_nothing_was_accepted(scene: Scene) -> None:
    assert (port(scene.first), scene.first.stored) == ("127.0.0.1:8001", False)
    assert scene.first.accepted.version == 1
    assert not scene.state.exists()


def test_a_change_by_the_control_api_stays(scene: Scene) -> None:
    scene.accept(8002)
    start = scene.choose()
    assert (port(start), start.stored, start.accepted.version) == ("127.0.0.1:8002", True, 9)
    assert port(scene.choose(file_only=True)) == "127.0.0.1:8001"


def test_a_file_that_was_edited_after_a_stop_counts(scene: Scene) -> None:
    scene.accept(8002)
    scene.path.write_text(scene.text(8003))
    start = scene.choose()
    assert (port(start), start.stored, start.accepted.version) == ("127.0.0.1:8003", False, 10)


@pytest.mark.parametrize(
    "edited",
    ["state-directory = ", "[cloister]\nsurprise = 1\nstate-directory = '{state}'", "[", None],
)
def test_after_a_crash_the_last_accepted_one_runs_whatever_the_file_holds(
    scene: Scene, edited: str | None
) -> None:
    scene.accept(8002)
    scene.store.begin()
    if edited is None:
        text = scene.text(8003)
    else:
        text = edited.replace("{state}", str(scene.state))
        if str(scene.state) not in text:
            text = scene.text(8003) + text
    scene.path.write_text(text)
    start = scene.choose()
    assert (port(start), start.stored) == ("127.0.0.1:8002", True)
    assert "has been edited since" in start.remarks[0]
    scene.store.end()
    if edited is not None:
        with pytest.raises(ConfigError):
            scene.choose()


def test_another_file_counts_for_itself(scene: Scene) -> None:
    scene.accept(8002)
    scene.store.begin()
    scene.path = scene.path.with_name("other.toml")
    scene.path.write_text(scene.text(8004))
    assert port(scene.choose()) == "127.0.0.1:8004"


def test_a_damaged_one_gives_way_to_the_one_before_then_to_the_file(scene: Scene) -> None:
    scene.accept(8002)
    scene.accept(8005, version=10)
    scene.store.begin()
    before, newest = (scene.state / "configuration" / name for name in ("odd", "even"))
    newest.write_bytes(newest.read_bytes()[:40])
    start = scene.choose()
    assert port(start) == "127.0.0.1:8002"
    assert "its checksum does not fit its content" in start.remarks[0]
    before.unlink()
    start = scene.choose()
    assert port(start) == "127.0.0.1:8001"
    assert start.remarks


def test_an_accepted_one_whose_files_are_gone_runs(scene: Scene) -> None:
    """One application that cannot start is its own trouble, not everybody's."""
    folder = f'directory = "{scene.path.parent}/gone"'
    gone = f'[apps.gone]\npython = "x:y"\n{folder}\nhosts = ["a.example"]\n'
    text = scene.text(8002) + gone
    configuration = replace(scene.first.accepted.configuration, text=text)
    scene.store.write(replace(scene.first.accepted, configuration=configuration))
    assert [app.name for app in scene.choose().snapshot.apps] == ["gone"]


def test_empty_lines_before_the_state_directory_are_not_looked_through_again_and_again() -> None:
    found = start._STATE.search('\n\n  state-directory = "/srv/state"')
    assert found is not None
    assert found[0] == '  state-directory = "/srv/state"'
