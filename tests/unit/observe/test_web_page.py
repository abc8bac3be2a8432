"""The page as text: escaped, whole without script, nothing from elsewhere."""

import dataclasses
import html.parser
import re
from typing import Any

from tests.support.status import BLOG, STATUS

from cloister.apps.brief import AppBrief, Brief, ListenerBrief
from cloister.apps.status import Failure
from cloister.model.finding import Diagnosis, Finding, Outcome
from cloister.observe.host_names import HostName, HostNames
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
        egress=(dataclasses.replace(BLOG.egress[0], name=EVIL, target=EVIL),),
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


def with_hosts(*names: HostName, **changes: Any) -> str:
    listener = dataclasses.replace(STATUS.listeners[0], hosts_directory="/srv/hosts")
    status = dataclasses.replace(STATUS, listeners=(listener,))
    found = HostNames(names, **changes)
    text = page(status=status, hosts={("/srv/hosts", False): found})
    return text.partition('id="routes"')[2].partition("</section>")[0]


def name(number: int, **changes: Any) -> HostName:
    host = HostName(f"n{number}.example", ("tls-socket",), "alice", "serving", None)
    return dataclasses.replace(host, **changes)


def test_a_hosts_directory_shows_its_names() -> None:
    text = with_hosts(
        name(1, targets=("tls-socket", "alpn/acme-tls%2F1")),
        name(2, targets=(), state="refused", problem="nobody has made the socket yet"),
        name(3, name="blog.example"),
    )
    assert "<code>tls-socket</code>, <code>alpn/acme-tls%2F1</code>" in text
    assert "of alice" in text
    assert "nobody has made the socket yet" in text
    # The application that has the name comes before the folder, as in the door.
    assert '<a href="#app-shop">shop</a>, before this folder' in text
    assert "<details" not in text


def test_many_names_are_behind_one_click_and_too_many_are_said() -> None:
    text = with_hosts(*(name(number) for number in range(40)), more=True)
    shown, _, behind = text.partition("<details")
    assert (shown.count("n11.example"), shown.count("n12.example")) == (1, 0)
    assert "28 more names, and others" in behind
    assert behind.count("n39.example") == 1
    assert "beyond the first 40" in behind


def test_a_hosts_directory_that_cannot_be_looked_at_is_said() -> None:
    assert "Permission denied" in with_hosts(problem="/srv/hosts: Permission denied")
    assert "no names" in with_hosts()
    listener = dataclasses.replace(STATUS.listeners[0], hosts_directory="/srv/hosts")
    status = dataclasses.replace(STATUS, listeners=(listener,))
    assert "not looked at yet" in page(status=status)


def test_names_of_a_hosts_directory_are_text() -> None:
    text = with_hosts(HostName(EVIL, (EVIL,), EVIL, EVIL, EVIL), problem=None)
    assert {tag for tag, _ in Elements(text).found} <= {
        *("h2", "div", "article", "header", "h3", "p", "code", "ul", "li", "span", "a")
    }
    assert EVIL not in with_hosts(problem=EVIL)


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


def test_an_application_s_ways_out() -> None:
    text = page()
    fact = "to tcp:db:5432: 7 connections, 2 open, 1 failed, 40 in, 30 out"
    assert f"<dt>way out db.internal:5432</dt><dd>{fact}</dd>" in text
    assert text.count("<dt>way out ") == len(BLOG.egress)


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
