"""Any document whatever ends as a snapshot or as problems, each with a place and words."""

from datetime import date
from pathlib import PurePosixPath

from hypothesis import given
from hypothesis import strategies as st

from cloister.config import source, validation
from cloister.config.declared import field_help, settings
from cloister.config.lines import scan
from cloister.config.load import build
from cloister.config.problems import Code
from cloister.config.reference import sections
from cloister.config.surroundings import Surroundings
from cloister.model.errors import ConfigError, Problem

SURROUNDINGS = Surroundings(PurePosixPath("/srv/site"), 0, {}, lambda name: None)
KNOWN = sorted({name for section in sections() for name, _ in settings(section.table)})
EXAMPLES = sorted(
    {
        str(source.parse("x", f"x = {field_help(field).example}").document["x"])
        for section in sections()
        for _, field in settings(section.table)
    }
)

keys = st.sampled_from([*KNOWN, "https", "blog", "[key]", "<table>", "<word>", "0", ""]) | st.text()
scalars = (
    st.sampled_from(EXAMPLES)
    | st.text()
    | st.integers()
    | st.booleans()
    | st.floats()
    | st.just(date(2026, 1, 1))
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4)
)
listeners = st.dictionaries(keys, st.dictionaries(st.sampled_from(KNOWN), values), max_size=3)
documents = st.fixed_dictionaries(
    {},
    optional={
        "cloister": values,
        "door": values,
        "listeners": listeners | values,
        "apps": listeners | values,
        "other": values,
    },
)


@given(documents)
def test_nothing_but_problems_is_raised(document: dict[str, object]) -> None:
    problems = problems_of(document)
    if problems is None:
        return
    assert problems
    for problem in problems:
        assert problem.code in list(Code)
        assert problem.what
        assert problem.where.file == "cloister.toml"


def problems_of(document: dict[str, object]) -> tuple[Problem, ...] | None:
    written = source.Source("cloister.toml", document, scan(""))
    try:
        build(written, SURROUNDINGS, check_files=False)
    except ConfigError as error:
        return error.problems
    return None


@given(documents)
def test_the_document_is_left_as_it_was(document: dict[str, object]) -> None:
    before = repr(document)
    validation.check(source.Source("cloister.toml", document, scan("")))
    assert repr(document) == before


@given(documents)
def test_what_is_left_after_problems_has_none(document: dict[str, object]) -> None:
    """Leaving out what problems concern always ends, with something that is valid."""
    checked = validation.check(source.Source("cloister.toml", document, scan("")))
    assert bool(checked.problems) == bool(checked.left_out)
    for path in checked.left_out:
        assert not checked.complete(path)
