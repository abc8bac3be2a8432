"""Lines out of a byte stream."""

import asyncio
import itertools
import os

from hypothesis import given
from hypothesis import strategies as st
from tests.support.waiting import until

from cloister.apps.lines import LINE_LIMIT, LastLines, Line, LineSplitter, PipeReader


def split(*chunks: bytes, limit: int = LINE_LIMIT) -> list[Line]:
    splitter = LineSplitter(limit)
    lines = [line for chunk in chunks for line in splitter.feed(chunk)]
    return lines + splitter.end()


@given(st.binary(max_size=60), st.lists(st.integers(0, 60)), st.integers(1, 10))
def test_the_lines_do_not_depend_on_how_the_bytes_came(
    data: bytes, cuts: list[int], limit: int
) -> None:
    points = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    chunks = [data[a:b] for a, b in itertools.pairwise(points)]
    assert split(*chunks, limit=limit) == split(data, limit=limit)


def test_lines_end_at_a_line_feed_with_or_without_carriage_return() -> None:
    assert split(b"one\r\ntwo\n\nthree") == [Line("one"), Line("two"), Line(""), Line("three")]


def test_a_long_line_is_cut_and_its_rest_counted() -> None:
    assert split(b"abcdef", b"gh\nij\n", limit=4) == [Line("abcd", dropped=4), Line("ij")]


def test_an_endless_line_takes_no_memory() -> None:
    splitter = LineSplitter()
    for _ in range(100):
        assert splitter.feed(b"x" * 65536) == []
    assert len(splitter._kept) == LINE_LIMIT
    (line,) = splitter.end()
    assert line.dropped == 100 * 65536 - LINE_LIMIT


def test_what_is_no_utf8_is_marked() -> None:
    assert split(b"a\xff\xfeb\n") == [Line("a\ufffd\ufffdb")]


def test_a_pipe_is_read_to_its_end() -> None:
    async def scenario() -> list[Line]:
        lines: list[Line] = []
        reading, writing = os.pipe()
        reader = PipeReader(reading, lines.append)
        os.write(writing, b"first\nsec")
        os.write(writing, b"ond\nunfinished")
        os.close(writing)
        await asyncio.wait_for(reader.wait_end(), 5)
        reader.close()
        return lines

    assert asyncio.run(scenario()) == [Line("first"), Line("second"), Line("unfinished")]


def test_a_pipe_whose_writer_lives_on_may_be_closed() -> None:
    async def scenario() -> list[Line]:
        lines: list[Line] = []
        reading, writing = os.pipe()
        reader = PipeReader(reading, lines.append)
        reader.close()
        await asyncio.wait_for(reader.wait_end(), 5)
        os.close(writing)
        return lines

    assert asyncio.run(scenario()) == []


def test_only_the_newest_lines_are_kept() -> None:
    last = LastLines(2)
    for text in ("one", "two", "x" * 1000):
        last.add(Line(text))
    assert last.all() == ("two", "x" * 400)


@given(st.binary(max_size=60), st.integers(0, 60))
def test_what_is_passed_over_leaves_the_next_line_whole(data: bytes, cut: int) -> None:
    splitter = LineSplitter()
    splitter.skip(data[:cut])
    following = [*splitter.feed(data[cut:] + b"\nwhole\n"), *splitter.end()]
    # As many lines as there are breaks after the cut, and the first one from its beginning.
    assert following == split(data + b"\nwhole\n")[data[:cut].count(b"\n") :]


def test_lines_beyond_what_is_wanted_are_read_and_dropped() -> None:
    async def play() -> tuple[list[str], list[int]]:
        reading, writing = os.pipe()
        seen: list[str] = []
        asked: list[int] = []
        first = asyncio.Event()

        def admit(count: int) -> int:
            asked.append(count)
            first.set()
            return 2 if len(asked) == 1 else 0

        reader = PipeReader(reading, lambda line: seen.append(line.text), admit)
        os.write(writing, b"1\n2\n3\n")
        await asyncio.wait_for(first.wait(), 10)
        os.write(writing, b"4\n5\nthe end")
        os.close(writing)
        await asyncio.wait_for(reader.wait_end(), 10)
        return seen, asked

    # The last one has no line break, so nobody was asked about it.
    assert asyncio.run(play()) == (["1", "2", "the end"], [3, 2])


def test_a_flood_is_read_now_and_then_and_its_end_as_ever() -> None:
    async def play() -> list[str]:
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        seen: list[str] = []
        wanted = 0

        def admit(count: int) -> int:
            return min(count, wanted)

        reader = PipeReader(reading, lambda line: seen.append(line.text), admit)
        line = b"y" * 99 + b"\n"
        begun = asyncio.get_running_loop().time()
        written = 0
        while written < 60 * 65536:
            try:
                written += os.write(writing, line * 100)
            except BlockingIOError:
                await asyncio.sleep(0)
        # The pipe holds 64 KiB, and is emptied a hundred times a second.
        assert asyncio.get_running_loop().time() - begun > 0.3
        await until(lambda: not reader._flooded)
        wanted = 10
        os.write(writing, b"\nheard again\n")
        os.close(writing)
        await asyncio.wait_for(reader.wait_end(), 10)
        return seen

    seen = asyncio.run(play())
    assert seen[-1] == "heard again"


def test_an_endless_line_is_a_flood() -> None:
    async def play() -> bool:
        reading, writing = os.pipe()
        reader = PipeReader(reading, lambda line: None)
        os.write(writing, b"y" * 65536)
        await until(lambda: reader._flooded)
        os.close(writing)
        await asyncio.wait_for(reader.wait_end(), 10)
        return True

    assert asyncio.run(play())
