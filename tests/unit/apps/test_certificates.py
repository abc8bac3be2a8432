"""Certificates from a process of their own."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from cloister.apps.certificates import Certificates
from cloister.model.errors import CloisterError

HOSTS = {"one": ("one.example",), "two": ("two.example", "*.two.example")}


def names(pem: str) -> str:
    return subprocess.run(
        ["openssl", "x509", "-noout", "-ext", "subjectAltName"],
        input=pem,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_each_application_gets_its_own(tmp_path: Path) -> None:
    certificates = Certificates(str(tmp_path / "authority"), HOSTS)
    assert not asyncio.run(certificates.renew())
    assert certificates.path == str(tmp_path / "authority" / "ca.pem")
    assert "DNS:one.example\n" in names(certificates.leaf("one").certificate)
    assert "DNS:two.example, DNS:*.two.example\n" in names(certificates.leaf("two").certificate)
    before = certificates.leaf("one")
    assert not asyncio.run(certificates.renew())
    assert certificates.leaf("one") != before


def test_a_replaced_authority_is_told(tmp_path: Path) -> None:
    asyncio.run(Certificates(str(tmp_path), {"one": ("one.example",)}).renew())
    assert asyncio.run(Certificates(str(tmp_path), {"new": ("new.example",)}).renew())


def test_a_refusal_arrives_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CloisterError, match="cannot be used") as raised:
        asyncio.run(Certificates(str(tmp_path / "file" / "authority"), HOSTS).renew())
    assert raised.value.hint == (
        "set `state-directory` in [cloister] to a folder that this user can write"
    )


def test_the_current_folder_is_no_place_for_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('foreign code runs')")
    monkeypatch.chdir(tmp_path)
    asyncio.run(Certificates(str(tmp_path / "authority"), HOSTS).renew())


def test_the_supervisor_loads_no_cryptography() -> None:
    code = (
        "import sys, cloister.wiring.composition;"
        "print([name for name in ('cryptography', 'pydantic') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"
