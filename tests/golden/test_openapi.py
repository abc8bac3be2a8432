"""The API's description is what the API answers."""

import json
from pathlib import Path
from typing import cast

from starlette.routing import Route
from tests.conftest import Golden

from cloister.apps.configuration import RunningConfiguration
from cloister.apps.supervisor import Supervisor
from cloister.control.api import application
from cloister.control.openapi import OPERATIONS, document

GOLDEN = Path(__file__).parent / "control" / "openapi.json"


def test_the_document(golden: Golden) -> None:
    described = document()
    described["info"]["version"] = "0"
    golden.check(GOLDEN, json.dumps(described, indent=2) + "\n")


async def no_metrics() -> str:
    raise AssertionError("nobody asks here")


def test_every_route_is_described_and_nothing_else() -> None:
    app = application(cast("Supervisor", None), cast("RunningConfiguration", None), no_metrics)
    answered: set[tuple[str, str]] = set()
    for route in app.routes:
        assert isinstance(route, Route)
        path = route.path.replace(":path}", "}")
        if path == "/control/applications/{path}":
            path = "/control/applications/{name}/restart"
        answered |= {(path, method.lower()) for method in route.methods or () if method != "HEAD"}
    described = {(one.path, one.method) for one in OPERATIONS}
    # POST to the whole is answered too: it is not allowed, as in Unit.
    assert answered - described == {("/config", "post")}
    assert described <= answered


def test_every_reference_leads_somewhere() -> None:
    described = document()
    schemas = described["components"]["schemas"]
    text = json.dumps(described)
    names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names <= set(schemas)
