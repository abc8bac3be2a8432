"""The page as text: escaped, whole without script, nothing from elsewhere."""

import dataclasses
import html.parser
import re

from tests.support.status import BLOG, STATUS

from cloister.apps.brief import AppBrief, Brief, ListenerBrief
from cloister.apps.status import Failure
from cloister.model.finding import Diagnosis, Finding, Outcome
from cloister.observe.rates import Observation, View
from cloister.observe.usage import Usage
from cloister.observe.web.page import Page, policy, render

EVIL = '"><script>alert(1)</script><img src=x onerror=alert(2)>&amp;'
FINDING = Finding(EVIL, EVIL, EVIL, EVIL, lasting=EVIL)
ILL = Diagnosis(EVIL, EVIL, Outcome.REFUSED, EVIL, (FINDING,), ())
WELL = Diagnosis("unix:/run/x", "the door", Outcome.CONNECTED, None, (), ())


def view() -> View:
    seen = Observation()
    for moment in range(3):
        app = AppBrief("blog", "ready", (7,), 0, 10 * moment, 2, 1000 * moment, 0, ())
        listener = ListenerBrief("https", "0.0.0.0:443", 20 * moment, 2, moment)
        seen.add(
            Brief(float(moment), (8,), "ready", (listener,), (app,)),
            {"blog": Usage(moment / 4, 4096)},
        )
    return seen.add(
        Brief(4.0, (8,), "ready", (listener,), (app,)), {"blog": Usage(1.0, 4096, 0, 0, 3)}
    )


def page(**changes: object) -> str:
    whole = Page(STATUS, view(), {"blog": [0.1, 0.5]}, {"cpu": [1.0, 2.0]}, (WELL,), STATUS.since)
    return render(dataclasses.replace(whole, **changes))  # type: ignore[arg-type]


class Elements(html.parser.HTMLParser):
    """Every element with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_whatever_stands_in_a_name_is_text() -> None:
    app = dataclasses.replace(
        BLOG,
        program=EVIL,
        message=EVIL,
        socket=EVIL,
        hosts=(EVIL,),
        state=EVIL,
        failure=Failure(EVIL, 0.0, (EVIL,)),
    )
    listeners = tuple(dataclasses.replace(one, name=EVIL, route=EVIL) for one in STATUS.listeners)
    door = dataclasses.replace(STATUS.door, outcomes={EVIL: 1}, state=EVIL)
    status = dataclasses.replace(
        STATUS, apps=(app,), listeners=listeners, config=EVIL, door=door, version=EVIL
    )
    text = page(status=status, diagnoses=(ILL,))
    elements = Elements(text).found
    assert [tag for tag, _ in elements].count("script") == 1
    assert "img" not in [tag for tag, _ in elements]
    handlers = [name for _, given in elements for name in given if name.startswith("on")]
    assert handlers == []
    assert text.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 12


def test_nothing_comes_from_elsewhere() -> None:
    elements = Elements(page()).found
    for tag, given in elements:
        assert tag not in {"link", "iframe", "img", "object", "embed", "form", "base"}
        assert "style" not in given  # the policy would not let it in
        assert given.get("href", "#").startswith("#")  # type: ignore[union-attr]
        assert "src" not in given
    assert "default-src 'none'" in policy()
    assert "unsafe" not in policy()
    assert len(re.findall(r"'sha256-[A-Za-z0-9+/]{43}='", policy())) == 2


def test_it_is_whole_without_script() -> None:
    text = page(diagnoses=(ILL, WELL))
    assert '<noscript><meta http-equiv="refresh" content="10"></noscript>' in text
    for wanted in ("blog.example", "0.0.0.0:443", "25.0", "4.0K", "2 sockets looked at"):
        assert wanted in text, wanted


def test_what_is_not_known_yet_is_said() -> None:
    assert "doctor has not looked yet" in page(diagnoses=None)
    assert "doctor found nothing" in page(diagnoses=(WELL,))
    empty = Observation().add(Brief(0.0, (), "stopped", (), ()), {})
    assert "no door has told of it yet" in page(view=empty)


def test_every_id_is_there_once_and_every_way_leads_somewhere() -> None:
    elements = Elements(page()).found
    ids = [given["id"] for _, given in elements if "id" in given]
    assert len(ids) == len(set(ids))
    ways = {str(given["href"])[1:] for tag, given in elements if tag == "a"}
    assert ways <= set(ids)
    script = page().partition("<script>")[2]
    named = re.search(r"parts = \[(.*?)\]", script)
    assert named is not None
    assert set(re.findall(r'"(\w+)"', named[1])) <= set(ids)
