"""What the signer answers, on a real socket, to whom the kernel says asks."""

import asyncio
import contextlib
import hashlib
import json
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.sigv4 import is_signed_by

from cloister.signer import s3
from cloister.signer.ledger import Ledger
from cloister.signer.service import BODY_MAX, Signer, Signing
from cloister.signer.spec import Answered, AskerSpec, GrantSpec
from cloister.sockets.http_server import HttpServer

GRANT = GrantSpec("backups", ("blog/{date}/*.gz",), ("blog/*",), 300_000, 1000, 5)
BLOG = AskerSpec("app", "blog", os.geteuid(), 0, (GRANT,))
DAY = "2026-11-29"
NOW = 1_795_980_000.0
SHA256 = hashlib.sha256(b"abc").hexdigest()


class World:
    """A signer that listens for one asker."""

    def __init__(self, folder: Path, asker: AskerSpec = BLOG) -> None:
        self.folder = folder
        self.asker = asker
        self.told: list[Answered] = []
        self.now = NOW
        self.path = ""

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[httpx.AsyncClient]:
        descriptor = os.open(self.folder, os.O_RDONLY)
        issued = Ledger(descriptor)
        bucket = s3.Bucket("https://s3.example", "eu-1", "bucket", path_style=True)
        stores = {"backups": Signing(bucket, s3.Credentials("AK", "SECRET"))}
        signer = Signer(stores, issued, self.told.append, lambda: self.now)
        methods = frozenset({"GET", "POST"})
        self.path = f"{self.folder}/socket-{self.now}-{len(self.told)}"
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(self.path)
            listening.listen(16)
            handle = signer.handler(self.asker)
            server = HttpServer(handle, methods=methods, max_body=BODY_MAX, each=2)
            await server.listen(listening)
            transport = httpx.AsyncHTTPTransport(uds=self.path)
            async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
                yield client
            await server.finish(1.0)
        issued.close()
        os.close(descriptor)

    def ask(self, *requests: dict[str, Any]) -> list[httpx.Response]:
        async def all_of_them() -> list[httpx.Response]:
            async with self.serving() as client:
                return [await client.post("/sign", json=one) for one in requests]

        return asyncio.run(all_of_them())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def put(name: str, **other: Any) -> dict[str, Any]:
    key = f"blog/{DAY}/{name}.gz"
    base = {"operation": "put", "store": "backups", "key": key, "size": 3, "sha256": SHA256}
    return base | other


def test_an_upload_is_signed(world: World) -> None:
    (response,) = world.ask(put("a"))
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    signed = response.json()
    assert signed.keys() == {"method", "url", "headers", "expires"}
    assert is_signed_by("SECRET", "PUT", signed["url"], signed["headers"])
    assert signed["url"].startswith(f"https://s3.example/bucket/blog/{DAY}/a.gz?")
    assert signed["expires"] == "2026-11-29T19:25:00Z"
    (told,) = world.told
    assert told == replace(
        told, outcome="signed", key=f"blog/{DAY}/a.gz", size=3, expires=int(NOW) + 300
    )
    assert "SECRET" not in response.text
    assert "SECRET" not in str(told)


def test_a_key_is_signed_for_once_also_by_the_next_signer(world: World) -> None:
    first, second = world.ask(put("a"), put("a", size=4))
    assert (first.status_code, second.status_code) == (200, 409)
    assert second.json()["reason"] == "issued"
    (third,) = world.ask(put("a"))
    assert third.json()["reason"] == "issued"
    world.now += 2000
    assert world.ask(put("a"))[0].status_code == 409


def test_no_other_asker_gets_the_same_key(world: World) -> None:
    world.ask(put("a"))
    world.asker = replace(BLOG, name="shop")
    assert world.ask(put("a"), put("b"))[0].json()["reason"] == "issued"


def test_a_day_has_so_many(world: World) -> None:
    answers = [one.status_code for one in world.ask(*(put(str(n)) for n in range(6)))]
    assert answers == [*[200] * 5, 429]
    world.now += 24 * 3600 + 1
    again = world.ask(put("7", key="blog/2026-11-30/7.gz"))
    assert again[0].status_code == 200


def test_what_is_refused_spends_nothing(world: World) -> None:
    refused = [put("a", size=1001), put("a", store="x"), put("a", sha256="x"), put("a", key="x")]
    reasons = [one.json()["reason"] for one in world.ask(*refused, put("a"))[:-1]]
    assert reasons == ["too-large", "no-grant", "bad-request", "no-grant"]
    assert [one.outcome for one in world.told] == [*reasons, "signed"]


def test_whoever_is_somebody_else_gets_nothing(world: World) -> None:
    world.asker = replace(BLOG, uid=os.geteuid() + 1)

    async def ask() -> list[httpx.Response]:
        async with world.serving() as client:
            return [await client.post("/sign", json=put("a")), await client.get("/grants")]

    responses = asyncio.run(ask())
    assert [one.outcome for one in world.told] == ["unknown-caller"] * 2
    for response in responses:
        assert response.status_code == 403
        assert response.json()["reason"] == "unknown-caller"
        assert f"user {os.geteuid()}" in response.json()["why"]


def test_what_is_granted_can_be_asked(world: World) -> None:
    async def ask() -> httpx.Response:
        async with world.serving() as client:
            return await client.get("/grants")

    found = asyncio.run(ask()).json()
    assert (found["name"], found["grants"][0]["put"]) == ("blog", ["blog/{date}/*.gz"])


def test_a_download_is_signed_as_often_as_it_is_granted(world: World) -> None:
    get = {"operation": "get", "store": "backups", "key": "blog/a.gz"}
    for response in world.ask(get, get):
        signed = response.json()
        assert (signed["method"], signed["headers"]) == ("GET", {})
        assert is_signed_by("SECRET", "GET", signed["url"], {})


def test_requests_are_bounded(world: World) -> None:
    async def ask() -> list[int]:
        async with world.serving() as client:
            statuses = [
                await client.post("/sign", content=b"x" * (BODY_MAX + 1)),
                await client.post("/other", json=put("a")),
                await client.delete("/sign"),
                await client.get("/sign"),
            ]
            return [one.status_code for one in statuses]

    assert asyncio.run(ask()) == [413, 400, 405, 400]


def test_who_asks_too_often_waits_and_it_is_counted(world: World) -> None:
    answers = world.ask(*(put("a") for _ in range(15)))
    codes = [one.status_code for one in answers]
    assert codes[:10] == [200, *[409] * 9]
    assert codes[11:].count(429) >= 3
    assert answers[-1].json()["reason"] == "rate"


def test_connections_that_stall_are_few(world: World) -> None:
    """One more than an asker may have is closed at once, and no answer is lost by that."""

    async def ask() -> tuple[bytes, int]:
        async with world.serving() as client:
            path = world.path
            stalled = [await asyncio.open_unix_connection(path) for _ in range(2)]
            reader, writer = await asyncio.open_unix_connection(path)
            closed = await reader.read()
            writer.close()
            for _, one in stalled:
                one.close()
                await one.wait_closed()
            async with asyncio.timeout(10):
                while True:
                    with contextlib.suppress(httpx.TransportError):
                        return closed, (await client.post("/sign", json=put("a"))).status_code

    assert asyncio.run(ask()) == (b"", 200)


def test_a_ledger_that_cannot_be_written_signs_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Ledger, "enter", full)
    (response,) = world.ask(put("a"))
    assert (response.status_code, response.json()["reason"]) == (503, "unavailable")
    assert "url" not in response.text


def test_every_refusal_is_json_with_a_next_step(world: World) -> None:
    for response in world.ask(put("a", size=10**6), put("a", key="..")):
        assert json.loads(response.content).keys() == {"reason", "what", "why", "hint"}
        assert all(response.json().values())
