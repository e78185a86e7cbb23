"""README.zh-CN.md says what README.md says: whatever needs no translation is the same in both."""

from __future__ import annotations

import re
from collections import Counter
from itertools import zip_longest
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENGLISH = (ROOT / "README.md").read_text("utf-8")
CHINESE = (ROOT / "README.zh-CN.md").read_text("utf-8")
BLOCK = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
COMMENT = re.compile("<!--.*?-->", re.DOTALL)
CODE = re.compile("`[^`]+`")
FIGURE = re.compile(r"\d+(?:[.,:-]\d+)*")
LINK = re.compile(r"\]\(([^)]+)\)")
HEADING = re.compile(r"^#+(?= )", re.MULTILINE)
HAN = r"[\u4e00-\u9fff]"


def prose(readme: str) -> str:
    """All but the code blocks and what is not shown."""
    return COMMENT.sub("", BLOCK.sub("", readme))


def sections(readme: str) -> list[str]:
    """What stands between one heading and the next, headings included."""
    return re.split(r"^(?=#+ )", prose(readme), flags=re.MULTILINE)[1:]


def rows(readme: str) -> list[str]:
    return [line for line in prose(readme).splitlines() if line.startswith("|")]


def figures(markdown: str) -> Counter[str]:
    return Counter(FIGURE.findall(CODE.sub("", LINK.sub("]", markdown))))


def code(markdown: str) -> Counter[str]:
    return Counter(CODE.findall(markdown))


SECTIONS = list(zip_longest(sections(ENGLISH), sections(CHINESE), fillvalue=""))
ROWS = list(zip_longest(rows(ENGLISH), rows(CHINESE), fillvalue=""))


def test_code_blocks_are_the_same_to_the_byte_and_in_order():
    assert BLOCK.findall(ENGLISH), "none found"
    assert BLOCK.findall(CHINESE) == BLOCK.findall(ENGLISH)


def test_headings_have_the_same_levels_in_order():
    assert HEADING.findall(prose(CHINESE)) == HEADING.findall(prose(ENGLISH))


def test_each_readme_links_to_the_other_at_its_top():
    assert ENGLISH.splitlines()[2] == "[中文](README.zh-CN.md)"
    assert CHINESE.splitlines()[2] == "[English](README.md)"


def test_all_other_links_are_the_same_and_in_order():
    assert LINK.findall(CHINESE)[1:] == LINK.findall(ENGLISH)[1:]


@pytest.mark.parametrize(("english", "chinese"), SECTIONS, ids=range(len(SECTIONS)))
def test_a_section_has_the_same_figures_and_code(english: str, chinese: str):
    """In a sentence a name may be said twice in one language; each is said in both."""
    assert figures(chinese) == figures(english)
    assert set(code(chinese)) == set(code(english))


def test_a_section_has_as_many_paragraphs():
    counts = [[len(re.findall(r"\n\n(?=\S)", part)) for part in pair] for pair in SECTIONS]
    assert [chinese for _, chinese in counts] == [english for english, _ in counts]


def test_a_table_row_has_the_same_cells_figures_and_code():
    """Settings, numbers and files alike, row by row."""
    assert ROWS
    for english, chinese in ROWS:
        assert chinese.count("|") == english.count("|"), chinese
        assert figures(chinese) == figures(english), chinese
        assert code(chinese) == code(english), chinese


def test_a_default_that_is_code_or_a_figure_is_the_same():
    """Every setting is a row of both."""
    row = re.compile(r"^\| (`--[a-z-]+`) \| ([^|]*) \|", re.MULTILINE)
    english, chinese = (dict(row.findall(readme)) for readme in (ENGLISH, CHINESE))
    assert list(chinese) == list(english)
    for flag, default in english.items():
        assert figures(chinese[flag]) == figures(default), flag
        assert code(chinese[flag]) == code(default), flag


def test_the_figures_are_of_the_same_result():
    result = re.compile(r"benchmarks/results/[\w.-]+\.json")
    assert result.findall(CHINESE) == result.findall(ENGLISH)


def test_a_space_parts_chinese_from_latin_and_figures():
    plain = LINK.sub("]", prose(CHINESE))
    latin = "[A-Za-z0-9`*]"
    glued = re.findall(f".{{0,8}}(?:{HAN}{latin}|{latin}{HAN}).{{0,8}}", plain)
    assert not glued


def test_punctuation_beside_chinese_is_full_width():
    """And stands without a space."""
    plain = LINK.sub("]", prose(CHINESE))
    assert not re.findall(f".{{0,8}}{HAN}[,;:!?()].{{0,8}}", plain)
    assert not re.findall(f".{{0,8}}[,;:!?()]{HAN}.{{0,8}}", plain)
    assert not re.findall(r".{0,8}(?: [，。；：、（）“”]|[，。；：、（）“”] (?!\|)).{0,8}", plain)
