"""Trees come into a project as a whole, and nothing outside of them, whoever is at work there.

On an XFS without quotas: projects of files are there all the same.
"""

import asyncio
import errno
import os
import random
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support import packages
from tests.support.quotas import disk, membership, project_of_unopened

from cloister.cells.quotas.helper import ask
from cloister.cells.quotas.messages import Mark, Marked, Projects, Unmark
from cloister.model.errors import CloisterError

pytestmark = pytest.mark.usefixtures("root")

PROJECT = 500_007
OURS = Projects(500_000, 565_535)
FOREIGN = 499_000


@pytest.fixture
def place(open_folder: Path) -> Iterator[Path]:
    packages.need("xfsprogs")
    with disk("xfs", open_folder, options="") as point:
        yield point


@pytest.fixture
def data(place: Path) -> Path:
    data = place / "data"
    (data / "a" / "b").mkdir(parents=True)
    (data / "a" / "file").write_text("x")
    return data


def mark(path: Path, project: int = PROJECT) -> Marked:
    (marked,) = asyncio.run(ask([Mark(str(path), project, OURS)]))
    assert isinstance(marked, Marked)
    return marked


def test_all_of_a_tree_and_what_is_made_in_it(data: Path) -> None:
    assert mark(data) == Marked(4, 4)
    assert membership(data / "a" / "b") == (PROJECT, True)
    assert membership(data / "a" / "file") == (PROJECT, False)
    (data / "a" / "b" / "new").write_text("x")
    assert membership(data / "a" / "b" / "new") == (PROJECT, False)
    assert mark(data) == Marked(5, 0)


def test_a_single_file(data: Path) -> None:
    assert mark(data / "a" / "file") == Marked(1, 1)
    assert membership(data / "a") == (0, False)


def test_another_application_takes_it_over_and_only_its_own_leaves(data: Path) -> None:
    mark(data)
    mark(data / "a" / "b", PROJECT + 1)
    asyncio.run(ask([Unmark(str(data), PROJECT)]))
    assert membership(data / "a" / "file") == (0, False)
    assert membership(data / "a" / "b") == (PROJECT + 1, True)
    assert mark(data).changed == 4


def test_links_lead_nowhere(data: Path) -> None:
    outside = data.parent / "outside"
    outside.mkdir()
    (outside / "file").write_text("x")
    (data / "folder").symlink_to(outside)
    (data / "file").symlink_to(outside / "file")
    mark(data)
    assert membership(outside) == (0, False)
    assert membership(outside / "file") == (0, False)


def test_a_link_on_the_way_is_an_error(data: Path) -> None:
    """It was none when somebody looked: whoever exchanged it wants something of root."""
    (data.parent / "link").symlink_to(data)
    for path in (data.parent / "link", data.parent / "link" / "a"):
        with pytest.raises(CloisterError) as caught:
            mark(path)
        assert os.strerror(errno.ELOOP) in (caught.value.why or "")
    assert membership(data / "a") == (0, False)


def test_what_is_mounted_in_it_is_left_alone(data: Path) -> None:
    (data.parent / "out-other").mkdir()
    (data.parent / "out-file").touch()
    (data / "other").mkdir()
    (data / "mounted").touch()
    pairs = (("out-other", "other"), ("out-file", "mounted"))
    for source, target in pairs:
        subprocess.run(["mount", "--bind", data.parent / source, data / target], check=True)
    try:
        mark(data)
    finally:
        for _, target in pairs:
            subprocess.run(["umount", data / target], check=True)
    for source, target in pairs:
        assert membership(data.parent / source) == (0, False)
        assert membership(data / target) == (0, False)


def test_pipes_and_devices_are_not_opened(data: Path) -> None:
    os.mkfifo(data / "pipe")
    os.mknod(data / "device", 0o020600, os.makedev(4, 250))
    marked = mark(data)
    assert marked.entries == 6
    os.mkfifo(data / "second")
    # The newest kernels have them belong there, too: else they could not be renamed.
    assert project_of_unopened(data / "pipe") == PROJECT
    (data / "pipe").rename(data / "a" / "pipe")
    asyncio.run(ask([Unmark(str(data), PROJECT)]))
    assert project_of_unopened(data / "device") == 0


def test_somebody_elses_tree_is_named_and_stays(data: Path) -> None:
    mark(data / "a" / "b", FOREIGN)
    with pytest.raises(CloisterError) as caught:
        mark(data)
    assert str(caught.value) == f"{data}/a/b belongs to project {FOREIGN} already"
    assert f"chattr -R -P -p 0 {data}/a/b" in (caught.value.hint or "")
    assert membership(data / "a" / "b") == (FOREIGN, True)


def test_an_unchangeable_file_is_passed_over(data: Path) -> None:
    subprocess.run(["chattr", "+i", data / "a" / "file"], check=True)
    try:
        mark(data)
    finally:
        subprocess.run(["chattr", "-i", data / "a" / "file"], check=True)
    assert membership(data / "a" / "b") == (PROJECT, True)


def test_a_tree_as_deep_as_its_owner_likes(data: Path) -> None:
    """Each folder takes a descriptor; where they end it is said, and nothing else happens."""
    for depth, ends in ((2000, False), (5000, True)):
        top = folder = os.open(data, os.O_RDONLY)
        made = []
        for _ in range(depth):
            os.mkdir("x", dir_fd=folder)
            folder = os.open("x", os.O_RDONLY, dir_fd=folder)
            made.append(folder)
            if len(made) > 2:
                os.close(made[-3])
        os.close(made[-1])
        os.close(made[-2])
        os.close(top)
        if ends:
            with pytest.raises(CloisterError) as caught:
                mark(data)
            assert os.strerror(errno.EMFILE) in (caught.value.why or "")
            assert "too deep" in (caught.value.hint or "")
        else:
            assert mark(data).changed == 4 + depth
        subprocess.run(["rm", "-rf", data / "x"], check=True)


def test_whoever_is_at_work_in_it_hides_nothing(data: Path) -> None:
    """Folders are made, filled, moved up and down and exchanged while the tree is walked."""
    for number in range(60):
        (data / f"{number}" / "inner").mkdir(parents=True)
        for file in range(20):
            (data / f"{number}" / "inner" / f"{file}").write_text("x")
    over = threading.Event()
    moved = 0

    def work(seed: int) -> None:
        nonlocal moved
        chance = random.Random(seed)
        count = 0
        while not over.is_set():
            folders = [path for path, _, _ in os.walk(data)]
            source, target = chance.choice(folders[1:] or folders), chance.choice(folders)
            count += 1
            for step in (
                lambda source=source, target=target, count=count: Path(source).rename(
                    f"{target}/moved-{seed}-{count}"
                ),
                lambda target=target, count=count: Path(target, f"made-{seed}-{count}").mkdir(),
                lambda target=target, count=count: Path(target, f"file-{seed}-{count}").touch(),
                lambda source=source, target=target, count=count: os.link(
                    f"{source}/3", f"{target}/linked-{seed}-{count}"
                ),
            ):
                try:
                    step()
                    moved += 1
                except OSError:
                    pass

    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for worker in workers:
        worker.start()
    try:
        while moved < 20:
            time.sleep(0.001)
        mark(data)
    finally:
        over.set()
        for worker in workers:
            worker.join()
    missing = [
        path
        for folder, _, files in os.walk(data)
        for path in (folder, *(f"{folder}/{file}" for file in files))
        if membership(Path(path))[0] != PROJECT
    ]
    assert missing == []
