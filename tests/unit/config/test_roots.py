"""Paths in a folder that is an application's root."""

from pathlib import Path

from cloister.config.roots import in_root


def test_paths_are_looked_for_in_the_root_alone(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "tool").touch()
    (tmp_path / "secret").touch()
    assert in_root(str(root), "/bin/tool") == f"{root}/bin/tool"
    assert in_root(str(root), "bin/./tool") == f"{root}/bin/tool"
    assert in_root(str(root), "/") == str(root)
    assert in_root(str(root), "/none") is None
    assert in_root(str(root), "/../../../bin/tool") == f"{root}/bin/tool"
    assert in_root(str(root), "/../secret") is None
    assert in_root(str(root), str(tmp_path / "secret")) is None


def test_links_lead_where_they_lead_in_the_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "usr" / "bin").mkdir(parents=True)
    (root / "usr" / "bin" / "tool").touch()
    (tmp_path / "secret").touch()
    (root / "bin").symlink_to("usr/bin")
    (root / "absolute").symlink_to("/usr/bin/tool")
    (root / "up").symlink_to("../../../../usr/bin")
    (root / "out").symlink_to(tmp_path / "secret")
    (root / "climbs").symlink_to("../secret")
    (root / "loop").symlink_to("loop")
    tool = f"{root}/usr/bin/tool"
    for inside in ("/bin/tool", "/absolute", "/up/tool", "/bin/../bin/tool"):
        assert in_root(str(root), inside) == tool
    for outside in ("/out", "/climbs", "/loop"):
        assert in_root(str(root), outside) is None
