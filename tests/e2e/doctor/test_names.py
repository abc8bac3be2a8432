"""Names without an address: a name server that answers, one that does not, and none at all."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.broken import Corner, codes, cure, examine
from tests.support.namespaces import NamesNamespace

from cloister.model.finding import Diagnosis


@pytest.fixture
def namespace(corner: Corner) -> Iterator[NamesNamespace]:
    with NamesNamespace(corner.folder / "etc") as namespace:
        yield namespace


def asker(corner: Corner, namespace: NamesNamespace) -> subprocess.Popen[str]:
    """Inside, with its resolv.conf and hosts file."""
    return corner.asker(before=namespace.command([], folder=Path("/")))


def look(who: subprocess.Popen[str], host: str) -> Diagnosis:
    return examine(f"{host}:8000", who)


def test_a_name_that_is_misspelt(corner: Corner, namespace: NamesNamespace) -> None:
    namespace.write_hosts("127.0.0.1 localhost\n127.0.0.1 backend.internal.test\n")
    with namespace.dns():
        who = asker(corner, namespace)
        diagnosis = look(who, "backand.internal.test")
        assert codes(diagnosis) == ["unknown-name"]
        assert "backend.internal.test" in diagnosis.findings[0].seen
        cure(diagnosis.findings[0])
        assert "127.0.0.1 backand.internal.test" in (namespace.folder / "hosts").read_text()
        # It has an address now; nobody listens there, which is another matter.
        assert codes(look(who, "backand.internal.test")) == ["no-listener"]


def test_a_name_like_no_other(corner: Corner, namespace: NamesNamespace) -> None:
    with namespace.dns():
        diagnosis = look(asker(corner, namespace), "nowhere.internal.test")
    assert codes(diagnosis) == ["unknown-name"]
    assert diagnosis.findings[0].cure is None


def test_a_name_server_that_does_not_answer(corner: Corner, namespace: NamesNamespace) -> None:
    diagnosis = look(asker(corner, namespace), "backend.internal.test")
    assert codes(diagnosis) == ["no-name-server"]
    assert "127.0.0.1" in diagnosis.findings[0].seen


def test_a_view_without_a_hosts_file(corner: Corner, namespace: NamesNamespace) -> None:
    """This host's own name has an address here, and none where the asker looks."""
    host = socket.gethostname()
    if host not in Path("/etc/hosts").read_text().split():
        pytest.skip("needs this host's own name in /etc/hosts")
    for name in ("resolv.conf", "hosts"):
        (namespace.folder / name).unlink()
    (namespace.folder / "nsswitch.conf").write_text("hosts: files dns\n")
    who = asker(corner, namespace)
    diagnosis = look(who, host)
    assert codes(diagnosis) == ["no-name-server"]
    assert "is not there" in diagnosis.findings[0].seen
    cure(diagnosis.findings[0])
    assert codes(look(who, host)) != ["no-name-server"]
