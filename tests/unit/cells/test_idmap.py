"""Who an application is, by its maps."""

import os

import pytest

from cloister.cells import idmap, spec
from cloister.model.errors import CloisterError
from cloister.model.id_map import host_root_sentence
from cloister.model.isolation import Bind, HostIdentity, IdMapping, Isolation, Namespaces

HOST = HostIdentity(500_001, 500_002)
REFERENCE = (IdMapping(0, 1000, 1000),)
"""The map of NGINX Unit's example of application isolation."""


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


@pytest.fixture
def as_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 7001)
    monkeypatch.setattr(os, "getegid", lambda: 7002)


def of(isolation: Isolation, host: HostIdentity = HOST) -> spec.Identity:
    return idmap.identity("blog", isolation, host)


def ids(identity: spec.Identity) -> tuple[int, int, int, int]:
    return identity.uid, identity.gid, identity.host_uid, identity.host_gid


def test_without_a_map_there_is_one_user_and_one_group() -> None:
    found = of(Isolation())
    assert ids(found) == (1000, 1000, 500_001, 500_002)
    assert found.uid_map == (spec.IdRange(1000, 500_001, 1),)
    assert found.gid_map == (spec.IdRange(1000, 500_002, 1),)
    assert ids(of(Isolation(uid=0, gid=7))) == (0, 7, 500_001, 500_002)


def test_without_a_user_namespace_ids_are_the_hosts() -> None:
    found = of(Isolation(Namespaces(user=False), uid=0, gid=0))
    assert ids(found) == (500_001, 500_002, 500_001, 500_002)
    assert (found.uid_map, found.gid_map) == ((), ())


@pytest.mark.usefixtures("as_root")
def test_a_chosen_id_decides_who_it_is_on_the_host() -> None:
    found = of(Isolation(uid=0, gid=5, uid_map=REFERENCE, gid_map=REFERENCE))
    assert ids(found) == (0, 5, 1000, 1005)
    assert found.uid_map == (spec.IdRange(0, 1000, 1000),)


@pytest.mark.usefixtures("as_root")
def test_the_hosts_id_decides_who_it_is_inside() -> None:
    mappings = (IdMapping(0, 100, 10), IdMapping(20, 500_000, 5))
    assert ids(of(Isolation(uid_map=mappings))) == (21, 1000, 500_001, 500_002)
    with pytest.raises(CloisterError, match="does not have the application's own id") as caught:
        of(Isolation(uid_map=REFERENCE))
    assert "500001" in str(caught.value.why)
    with pytest.raises(CloisterError, match="gid-map of blog has no id 1000 inside"):
        of(Isolation(uid=0, gid=1000, uid_map=REFERENCE, gid_map=REFERENCE))


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize(
    ("isolation", "host"),
    [
        (Isolation(Namespaces(user=False)), HostIdentity(0, 500)),
        (Isolation(Namespaces(user=False)), HostIdentity(500, 0)),
        (Isolation(), HostIdentity(0, 0)),
        (Isolation(uid=7, uid_map=(IdMapping(7, 7), IdMapping(0, 0))), HOST),
        (Isolation(gid=7, gid_map=(IdMapping(7, 7), IdMapping(0, 0, 5))), HOST),
    ],
)
def test_host_root_takes_the_sentence_with_the_applications_name(
    isolation: Isolation, host: HostIdentity
) -> None:
    with pytest.raises(CloisterError, match="blog would be root on the host") as caught:
        of(isolation, host)
    assert 'allow-host-root = "blog-is-root-on-the-host"' in str(caught.value.hint)
    assert host_root_sentence("blog") != host_root_sentence("shop")
    fields = {name: getattr(isolation, name) for name in isolation.__slots__}
    assert of(Isolation(**{**fields, "host_root": True}), host).host_root


@pytest.mark.usefixtures("as_root")
def test_a_map_that_the_kernel_refuses_is_refused_here() -> None:
    for mappings, expected in (
        ((IdMapping(0, 10, 5), IdMapping(4, 100)), "4 stands twice inside"),
        ((IdMapping(0, 10, 5), IdMapping(5, 14)), "14 stands twice outside"),
        (tuple(IdMapping(2 * n, 2 * n + 1) for n in range(341)), "it has 341 runs"),
        (tuple(IdMapping(2 * n, 10**9 + 2 * n) for n in range(300)), "bytes long"),
        ((IdMapping(2**32 - 2, 1, 2),), "beyond the largest id"),
    ):
        with pytest.raises(CloisterError, match=expected):
            of(Isolation(uid=0, uid_map=mappings))


@pytest.mark.usefixtures("as_user")
def test_an_ordinary_user_maps_what_is_theirs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = Isolation(uid=0, uid_map=(IdMapping(0, 7001),))
    assert ids(of(own))[:3] == (0, 1000, 7001)
    many = Isolation(uid=0, uid_map=(IdMapping(0, 7001), IdMapping(1, 100_000, 65_536)))
    monkeypatch.setattr(idmap, "HELPER_PATH", "/nonexistent")
    with pytest.raises(CloisterError, match="needs root, or the program newuidmap"):
        of(many)
    monkeypatch.setattr("shutil.which", lambda program, path: f"/usr/bin/{program}")
    monkeypatch.setattr(idmap, "subordinate_ids", lambda path, uid: [range(100_000, 165_536)])
    assert ids(of(many))[:3] == (0, 1000, 7001)
    monkeypatch.setattr(idmap, "subordinate_ids", lambda path, uid: [range(100_000, 165_535)])
    with pytest.raises(CloisterError, match="takes ids 100000-165535") as caught:
        of(many)
    assert "/etc/subuid" in str(caught.value.why)


WHO = spec.Identity(1000, 1000, 500_001, 500_001, (), (), host_root=False)


@pytest.mark.usefixtures("as_root")
def test_files_of_an_owner_are_the_applications() -> None:
    assert idmap.owners("blog", Bind("/srv/x", "/x"), WHO) is None
    assert idmap.owners("blog", Bind("/x", "/x", owner="500001", group="500001"), WHO) is None
    found = idmap.owners("blog", Bind("/x", "/x", owner="4242", group="root"), WHO)
    assert found == spec.Owners((spec.IdRange(4242, 500_001, 1),), (spec.IdRange(0, 500_001, 1),))
    found = idmap.owners("blog", Bind("/x", "/x", group="4242"), WHO)
    assert found is not None
    assert found.users == (spec.IdRange(0, 0, 2**32 - 1),)
    with pytest.raises(CloisterError, match="there is no user no-such-user"):
        idmap.owners("blog", Bind("/x", "/x", owner="no-such-user"), WHO)


@pytest.mark.usefixtures("as_root")
def test_roots_files_are_not_written_to_under_another_name() -> None:
    with pytest.raises(CloisterError, match="may not write root's files in /x") as caught:
        idmap.owners("blog", Bind("/x", "/x", writable=True, owner="root"), WHO)
    assert "set-user-id" in str(caught.value.why)
    assert idmap.owners("blog", Bind("/x", "/x", owner="root"), WHO) is not None
    superuser = spec.Identity(0, 0, 9, 9, (spec.IdRange(0, 9, 5),), (spec.IdRange(0, 9, 5),), False)
    assert idmap.image_owners("blog", False, superuser).users == superuser.uid_map
    with pytest.raises(CloisterError, match="may not write root's files in its `rootfs`"):
        idmap.image_owners("blog", True, superuser)


@pytest.mark.usefixtures("as_user")
def test_an_ordinary_user_makes_no_idmapped_mount() -> None:
    with pytest.raises(CloisterError, match="the owner of /x cannot be mapped") as caught:
        idmap.owners("blog", Bind("/x", "/x", owner="root"), WHO)
    assert "needs root" in str(caught.value.why)
