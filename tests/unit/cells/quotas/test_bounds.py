"""Which project an application gets, what is marked, and what is said where nothing can be."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.cells.quotas.fakes import FakeDisks

from cloister.cells.quotas.bounds import DiskBounds, DiskUsage, Lifted
from cloister.cells.quotas.messages import Bound, DiskUse, Mark, Projects, Unmark
from cloister.cells.quotas.projects import ProjectStore, Record
from cloister.model.app import App, CommandProgram
from cloister.model.errors import CloisterError
from cloister.model.fences import Fences, FilterProfile
from cloister.model.isolation import Bind, IdRange, Isolation, Namespaces
from cloister.model.limits import NO_LIMITS, Limits

MEGABYTE = 1 << 20


class Scene:
    def __init__(self, folder: Path) -> None:
        self.store = ProjectStore(
            str(folder / "state" / "projects.json"), IdRange(900_500, 900_600)
        )
        self.disks = FakeDisks()
        self.data = folder / "data"
        self.data.mkdir()
        self.bounds = self.another()

    def another(self, *, root: bool = True) -> DiskBounds:
        return DiskBounds(self.store, ask=self.disks.ask, root=root)

    def app(self, name: str = "blog", *, at: Path | None = None, **limits: object) -> App:
        return App(
            name,
            CommandProgram(("/x",)),
            None,
            binds=(Bind(str(at or self.data), "/data", writable=True),),
            limits=Limits(**{"disk": 64 * MEGABYTE, **limits}),  # type: ignore[arg-type]
        )


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def enforce(scene: Scene, app: App, bounds: DiskBounds | None = None) -> dict[str, bool]:
    found = asyncio.run((bounds or scene.bounds).enforce(app))
    return {one.name: one.in_force for one in found}


def test_the_tree_is_marked_and_then_bounded(scene: Scene) -> None:
    assert enforce(scene, scene.app()) == {"disk": True, "disk-files": True}
    path = str(scene.data)
    assert scene.disks.done == [
        Mark(path, 900_501, Projects(900_500, 900_600)),
        # One file for each 16 KiB.
        Bound(path, 900_501, 64 * MEGABYTE, 4096),
    ]
    assert scene.store.get("blog") == Record(900_501, {path: scene.data.stat().st_ino})


def test_it_is_walked_once(scene: Scene) -> None:
    enforce(scene, scene.app())
    scene.disks.done.clear()
    enforce(scene, scene.app(), scene.another())
    assert [type(one) for one in scene.disks.done] == [Bound]


def test_it_is_walked_again_where_its_mark_is_gone_or_it_is_another_one(scene: Scene) -> None:
    enforce(scene, scene.app())
    scene.disks.marked.clear()
    scene.disks.done.clear()
    enforce(scene, scene.app())
    assert [type(one) for one in scene.disks.done] == [Mark, Bound]
    scene.disks.done.clear()
    os.rename(scene.data, f"{scene.data}.old")  # noqa: PTH104 - a text
    scene.data.mkdir()
    enforce(scene, scene.app())
    assert [type(one) for one in scene.disks.done] == [Mark, Bound]


def test_a_walk_that_did_not_end_is_done_again(scene: Scene) -> None:
    scene.disks.foreign = 42
    with pytest.raises(CloisterError, match="on disks cannot be put into force") as caught:
        enforce(scene, scene.app())
    assert "belongs to project 42 already" in (caught.value.why or "")
    scene.disks.foreign = None
    enforce(scene, scene.app())
    assert [type(one) for one in scene.disks.done] == [Mark, Mark, Bound]


def test_files_are_bounded_by_themselves_too(scene: Scene) -> None:
    app = scene.app(disk=None, disk_files=7)
    assert enforce(scene, app) == {"disk-files": True}
    assert scene.disks.done[-1] == Bound(str(scene.data), 900_501, 0, 7)
    assert enforce(scene, scene.app(disk=MEGABYTE)) == {"disk": True, "disk-files": True}
    assert scene.disks.done[-1] == Bound(str(scene.data), 900_501, MEGABYTE, 1024)


def test_a_project_that_has_something_there_is_somebody_elses(scene: Scene) -> None:
    scene.disks.uses[900_501] = DiskUse(4096, 1, 0, 0)
    scene.disks.uses[900_502] = DiskUse(0, 0, 4096, 0)
    enforce(scene, scene.app())
    assert scene.disks.marked == {str(scene.data): 900_503}


def test_its_own_project_stays_its_own(scene: Scene) -> None:
    enforce(scene, scene.app())
    scene.disks.uses[900_501] = DiskUse(4096, 1, 64 * MEGABYTE, 4096)
    enforce(scene, scene.app(), scene.another())
    assert scene.disks.marked == {str(scene.data): 900_501}


def test_where_all_projects_are_in_use_it_is_said(scene: Scene) -> None:
    for number in range(900_500, 900_601):
        scene.disks.uses[number] = DiskUse(1, 1, 0, 0)
    with pytest.raises(CloisterError) as caught:
        enforce(scene, scene.app())
    assert "no project is free in 900500-900600" in (caught.value.why or "")


def test_a_disk_that_keeps_none_refuses_the_application(scene: Scene) -> None:
    scene.disks.enforced = False
    with pytest.raises(CloisterError) as caught:
        enforce(scene, scene.app())
    assert "quotas of projects are not on" in (caught.value.why or "") or "no quotas" in (
        caught.value.why or ""
    )
    assert "required = false" in (caught.value.hint or "")
    assert scene.disks.done == []
    assert scene.store.names() == ()


def test_unless_it_is_not_required(scene: Scene) -> None:
    scene.disks.enforced = False
    app = scene.app(required=False)
    assert enforce(scene, app) == {"disk": False, "disk-files": False}
    assert not any(one.in_force for one in scene.bounds.status("blog"))


def test_an_ordinary_user_changes_nothing(scene: Scene) -> None:
    bounds = scene.another(root=False)
    with pytest.raises(CloisterError) as caught:
        enforce(scene, scene.app(), bounds)
    assert "only root may set quotas" in (caught.value.why or "")
    assert scene.disks.done == []
    assert asyncio.run(bounds.retain(())) == ()


def test_memory_is_no_disk(scene: Scene) -> None:
    scene.disks.file_system = 0x01021994
    assert enforce(scene, scene.app()) == {"disk": True, "disk-files": True}
    (first, *_) = scene.bounds.status("blog")
    assert first.detail == "there is no disk that it could write to"
    assert scene.disks.done == []


def test_planning_changes_nothing(scene: Scene) -> None:
    found = asyncio.run(scene.bounds.plan(scene.app()))
    assert all(one.in_force for one in found)
    assert found[0].detail.startswith("project 900501 on ")
    assert scene.disks.done == []
    assert scene.store.names() == ()
    assert asyncio.run(scene.bounds.plan(replace(scene.app(), limits=NO_LIMITS))) == ()


@pytest.mark.parametrize(
    ("namespaces", "fences", "word"),
    [
        (Namespaces(mount=False), Fences(), "mount namespace"),
        (Namespaces(user=False), Fences(profile=FilterProfile.NONE), "no filter"),
        (Namespaces(user=False), Fences(allow=("ioctl",)), "allow ioctl"),
    ],
)
def test_what_it_could_get_around_is_refused(
    scene: Scene, namespaces: Namespaces, fences: Fences, word: str
) -> None:
    app = replace(scene.app(), isolation=Isolation(namespaces=namespaces), fences=fences)
    with pytest.raises(CloisterError) as caught:
        enforce(scene, app)
    assert word in (caught.value.why or "")


def test_a_folder_of_two_is_refused(scene: Scene) -> None:
    enforce(scene, scene.app())
    inner = scene.data / "inner"
    inner.mkdir()
    with pytest.raises(CloisterError) as caught:
        enforce(scene, scene.app("shop", at=inner))
    assert "is bounded for blog already" in (caught.value.why or "")


def test_what_is_used_is_told_for_each_disk(scene: Scene) -> None:
    enforce(scene, scene.app())
    scene.disks.uses[900_501] = DiskUse(5 * MEGABYTE, 12, 64 * MEGABYTE, 4096)
    assert asyncio.run(scene.bounds.usage()) == {
        "blog": (DiskUsage(str(scene.data), 5 * MEGABYTE, 12, 64 * MEGABYTE, 4096),)
    }
    # A folder that has gone is no reason to say nothing of the others.
    scene.data.rmdir()
    assert asyncio.run(scene.bounds.usage()) == {"blog": ()}


def test_who_has_gone_has_no_bound_and_what_is_left_is_said(scene: Scene) -> None:
    enforce(scene, scene.app())
    scene.disks.uses[900_501] = DiskUse(5 * MEGABYTE, 12, 64 * MEGABYTE, 4096)
    assert asyncio.run(scene.bounds.retain(["blog"])) == ()
    (lifted,) = asyncio.run(scene.another().retain(["shop"]))
    place = f"5 MiB in 12 files on the disk of {scene.data}"
    assert lifted == Lifted("blog", 900_501, (place,))
    assert scene.disks.uses[900_501] == DiskUse(5 * MEGABYTE, 12, 0, 0)
    # It comes back to what is its own, all of which is looked through again.
    scene.disks.done.clear()
    enforce(scene, scene.app(), scene.another())
    assert [type(one) for one in scene.disks.done] == [Mark, Bound]
    assert scene.disks.marked == {str(scene.data): 900_501}


def test_a_bound_that_was_taken_out_of_the_configuration_is_lifted(scene: Scene) -> None:
    enforce(scene, scene.app())
    assert enforce(scene, replace(scene.app(), limits=NO_LIMITS)) == {}
    assert scene.disks.uses[900_501] == DiskUse(0, 0, 0, 0)
    assert scene.bounds.status("blog") == ()
    assert asyncio.run(scene.bounds.usage()) == {}


def test_a_command_leaves_nothing(scene: Scene) -> None:
    asyncio.run(scene.bounds.enforce(scene.app("run"), "run.1"))
    assert scene.store.names() == ("run.1",)
    asyncio.run(scene.bounds.dissolve("run.1"))
    assert Unmark(str(scene.data), 900_501) in scene.disks.done
    assert scene.disks.marked == {}
    assert scene.store.get("run.1") is None
