"""The demo from end to end, as `make demo` runs it."""

import os
import signal
import subprocess
import sys
import unicodedata
import uuid
from argparse import Namespace
from pathlib import Path

import demo
import pytest
from corpus import load_articles, load_questions
from scores import Ranking
from ways import Results, Way

from qwire import QwireError

SCRIPT = Path(demo.__file__)


class Started:
    """The demo as a process whose descendants can be recognised, however they are detached."""

    def __init__(self, *arguments):
        self._mark = f"EXAMPLES_TEST={uuid.uuid4().hex}"
        name, _, value = self._mark.partition("=")
        others = {key: each for key, each in os.environ.items() if not key.startswith("QWIRE_")}
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env={**others, name: value},
        )

    def left(self):
        """Processes that carry the mark."""
        return [
            folder.name
            for folder in Path("/proc").glob("[0-9]*")
            if self._mark.encode() in _environment(folder).split(b"\0")
        ]


def _environment(folder):
    try:
        return (folder / "environ").read_bytes()
    except OSError:  # gone, or another user's
        return b""


@pytest.fixture
def start():
    """Start the demo; killed if the test leaves it running."""
    started = []

    def start(*arguments):
        started.append(Started(*arguments))
        return started[-1]

    yield start
    for each in started:
        with each.process:
            each.process.kill()
        for pid in each.left():
            os.kill(int(pid), signal.SIGKILL)


def width(line):
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in line)


@pytest.mark.timeout(180)  # it starts a server, and embeds the corpus three times
def test_it_answers_agrees_and_leaves_nothing_behind(start):
    """What a stranger sees after `make demo`."""
    started = start()
    out, err = started.process.communicate()
    assert (started.process.returncode, err) == (0, "")
    assert "44 of 66. This model reads English only" in out
    assert "make demo MODEL=Qwen/Qwen3-Embedding-0.6B" in out
    assert "LangChain, LlamaIndex, direct:" in out
    assert out.count("LangChain  LlamaIndex      direct") == 5  # four questions and the quality
    for metric in ("Top-1", "Top-3", "MRR"):
        (line,) = [line for line in out.splitlines() if line.startswith(f"  {metric}")]
        assert len(set(line.split()[1:])) == 1  # one value, three times
    assert "agreement  the same order" in out
    assert out.endswith("stopped, exit status 0\n")
    assert "\033" not in out
    assert max(map(width, out.splitlines())) <= 100
    assert started.left() == []


@pytest.mark.timeout(60)
def test_a_server_that_cannot_start_is_one_clear_line(start):
    """The reason comes last, where a reader looks."""
    started = start("--model", "./no-such-folder")
    _, err = started.process.communicate()
    assert started.process.returncode == 1
    assert err.startswith("demo: the server ended with exit status 2\n")
    assert "--model ./no-such-folder: no such folder" in err.splitlines()[-1]
    assert started.left() == []


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("number", "status"),
    [(signal.SIGINT, 130), pytest.param(signal.SIGTERM, 143, marks=pytest.mark.slow)],
)
def test_an_interrupted_demo_stops_its_server(start, number, status):
    """Ctrl-C, or a supervisor's SIGTERM, while it works."""
    started = start()
    for line in started.process.stdout:
        if line.startswith("model "):  # the server is up, and indexing begins
            break
    started.process.send_signal(number)
    _, err = started.process.communicate()
    assert (started.process.returncode, err) == (status, "")
    assert started.left() == []


def test_nobody_at_the_target_is_told():
    """In the client's words, which name the target."""
    with pytest.raises(QwireError, match=r"nothing answers at 127\.0\.0\.1:1"):
        demo.run(Namespace(target="127.0.0.1:1", llm=None))


def test_an_unknown_llm_is_told_before_a_server_is_started():
    """It would be started for nothing."""
    with pytest.raises(SystemExit, match="demo: --llm no-such-provider:model: "):
        demo.run(Namespace(target=None, model="demo", llm="no-such-provider:model"))


@pytest.mark.parametrize(
    ("languages", "asked"), [(("en",), 44), (("mul",), 66), (("en", "zh-Hans"), 66), ((), 66)]
)
def test_a_model_is_asked_what_it_can_read(languages, asked):
    assert len(demo.choose_questions(languages)) == asked


def test_english_questions_have_english_answers():
    languages = {article.id: article.lang for article in load_articles()}
    for asked in demo.choose_questions(["en"]):
        assert {asked.lang, *(languages[name] for name in asked.answers)} == {"en"}


def test_the_shown_questions_exist():
    """Four for each kind of model."""
    for languages in (["en"], ["mul"]):
        ids = {asked.id for asked in demo.choose_questions(languages)}
        assert len(ids.intersection(demo.SHOWN)) >= 4
    assert set(demo.SHOWN) <= {asked.id for asked in load_questions()}


def results(ranking: Ranking):
    return Results(Way("way", lambda _: ranking, str), [ranking], 1.0)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"a": 0.9, "b": 0.5001}, "differ by 1.0e-04 at most"),
        ({"b": 0.9, "a": 0.5}, "1 rankings in another order"),
    ],
)
def test_ways_that_disagree_fail_the_demo(monkeypatch, capsys, other, told):
    """One score or one place is enough for exit status 1."""
    one = {"a": 0.9, "b": 0.5}
    assert demo.check([results(one), results(one)], 1e-5)
    assert not demo.check([results(one), results(one), results(other)], 1e-5)
    assert told in capsys.readouterr().out

    monkeypatch.setattr(demo, "run", lambda _: False)
    monkeypatch.setattr(demo, "parse_arguments", Namespace)
    with pytest.raises(SystemExit, match="1"):
        demo.main()
