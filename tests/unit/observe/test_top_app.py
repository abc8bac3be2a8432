"""One application's ways out, as the screen has them."""

import dataclasses

from tests.support.status import BLOG, SHOP

from cloister.observe.top_app import app_text


def test_what_each_way_out_was_used_for() -> None:
    app, hosts, headings, *ways = str(app_text(BLOG)).splitlines()
    assert app.split() == ["blog", "ready", "python", "blog:app"]
    assert hosts == "hosts blog.example, *.blog.example"
    assert headings.split() == ["WAY", "OUT", "TO", "OPEN", "ALL", "FAILED", "IN", "OUT"]
    assert [way.split() for way in ways] == [
        ["db.internal:5432", "tcp:db:5432", "2", "7", "1", "40", "30"],
        ["/run/db.sock", "unix:/run/db", "0", "0", "0", "0", "0"],
    ]


def test_none_at_all() -> None:
    assert str(app_text(SHOP)).endswith("\nno ways out")
    assert "hosts none" in str(app_text(dataclasses.replace(SHOP, hosts=())))


def test_markup_is_text() -> None:
    way = dataclasses.replace(BLOG.egress[0], name="[red]x[/red]")
    assert "[red]x[/red]" in str(app_text(dataclasses.replace(BLOG, egress=(way,))))
