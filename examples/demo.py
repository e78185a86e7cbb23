"""Real questions, answered from real documents through a running server, in three ways.

    python examples/demo.py                        the small English model that needs no hub
    python examples/demo.py --model Qwen/Qwen3-Embedding-0.6B
    python examples/demo.py --target localhost:50051

Exit status 1 if LangChain, LlamaIndex and the direct client disagree, or the server failed.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import sys
import threading
import warnings
from concurrent.futures import Future
from typing import TYPE_CHECKING

import report
from corpus import Question, load_articles, load_questions
from rag_chain import chat_model
from scores import largest_difference, same_order
from serving import Running, ServingError, serving
from ways import Results, ask_all, build_ways

from qwire import Client, Description, QwireError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from langchain_core.language_models import BaseChatModel

SHOWN = ("q57", "q50", "q06", "q15", "q40", "q02")  # the first four of those that are asked
# bfloat16 keeps 8 bits, and each way's batches put a text into other company.
TOLERANCE = {"float32": 1e-5}
COARSE_TOLERANCE = 5e-3


def main() -> None:
    """Run the demo; the exit status says whether all went well."""
    arguments = parse_arguments()
    warnings.simplefilter("ignore")  # the English model and Chinese text: we say it ourselves
    assert isinstance(sys.stdout, io.TextIOWrapper)
    sys.stdout.reconfigure(line_buffering=True, errors="replace")
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # an exception, so that the server is stopped
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), interrupt)
    try:
        agree = run(arguments)
    except (ServingError, QwireError) as error:
        sys.exit(f"demo: {error}")
    except InterruptedBySignal as error:
        sys.stdout.flush()
        os._exit(128 + error.args[0])  # the thread that asks may still wait for an answer
    sys.exit(0 if agree else 1)


class InterruptedBySignal(BaseException):
    """Its argument is the number."""


def interrupt(number: int, _: object) -> None:
    """Handle a signal."""
    raise InterruptedBySignal(number)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--model", default="demo", help="what `qwire serve --model` takes")
    where.add_argument("--target", help="a server that runs already, such as localhost:50051")
    parser.add_argument("--llm", help="a LangChain chat model that answers, such as openai:gpt-5")
    return parser.parse_args()


def run(arguments: argparse.Namespace) -> bool:
    """Start a server unless one is named, ask it, stop it; whether all ways agree."""
    try:
        llm = chat_model(arguments.llm)
    except (ImportError, ValueError) as error:
        sys.exit(f"demo: --llm {arguments.llm}: {error}")
    with running(arguments) as server:
        agree = in_thread(lambda: ask(server.target, llm))
    if not arguments.target:
        report.fact("server", "stopped, exit status 0")
    return agree


def in_thread(call: Callable[[], bool]) -> bool:
    """Let the main thread only wait, so that a signal's exception comes up here.

    Inside a gRPC call it can leave a channel that waits for ever when it is closed.
    """
    result: Future[bool] = Future()

    def work() -> None:
        try:
            result.set_result(call())
        except BaseException as error:  # noqa: BLE001  raised again below
            result.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return result.result()


def running(arguments: argparse.Namespace) -> AbstractContextManager[Running]:
    """The server to ask."""
    if arguments.target:
        return contextlib.nullcontext(Running(arguments.target))
    print(f"qwire serve --model {arguments.model}")
    return serving(arguments.model, report.log_printer())


def ask(target: str, llm: BaseChatModel | None) -> bool:
    """Index the corpus and ask, in each way; whether all ways agree."""
    with Client(target) as client:
        model = client.describe()
        questions = choose_questions(model.languages)
        introduce(model, target, questions)
        results = [
            ask_all(way, [asked.question for asked in questions])
            for way in build_ways(client, target, llm)
        ]
        show_some(results, questions)
    report.quality(results, questions)
    report.timings(results, len(load_articles()), f"this machine, {os.cpu_count()} CPU cores")
    return check(results, TOLERANCE.get(model.dtype, COARSE_TOLERANCE))


def choose_questions(languages: Sequence[str]) -> list[Question]:
    """All, or those that English alone can answer; a model that does not say may know Chinese."""
    if not languages or {tag.partition("-")[0] for tag in languages} & {"mul", "zh"}:
        return load_questions()
    english = {article.id for article in load_articles() if article.lang == "en"}
    return [q for q in load_questions() if q.lang == "en" and english.issuperset(q.answers)]


def introduce(model: Description, target: str, questions: Sequence[Question]) -> None:
    """Say what is asked of what, and what is left out."""
    articles = load_articles()
    num_english = sum(article.lang == "en" for article in articles)
    num_all = len(load_questions())
    print()
    report.fact("model", f"{model.model}, {model.dimensions.native} values a vector")
    report.fact("server", f"{target}, computes on {model.device} in {model.dtype}")
    num_others = len(articles) - num_english
    report.fact("corpus", f"{len(articles)} articles: {num_english} English, {num_others} Chinese")
    if len(questions) == num_all:
        report.fact("questions", f"all {num_all}: English, Chinese, and across the two")
        return
    report.fact(
        "questions",
        f"{len(questions)} of {num_all}. This model reads English only, so the "
        f"{num_all - len(questions)} asked in Chinese or answered in Chinese are left out.",
    )
    report.fact("", "Qwen3 reads both:  make demo MODEL=Qwen/Qwen3-Embedding-0.6B")
    report.fact("", "or from a folder:  make demo MODEL=/path/to/Qwen3-Embedding-0.6B")


def show_some(results: Sequence[Results], questions: Sequence[Question]) -> None:
    """A few questions, the passages found for them, and the answers."""
    articles = {article.id: article for article in load_articles()}
    at = {asked.id: i for i, asked in enumerate(questions)}
    for i in [at[name] for name in SHOWN if name in at][:4]:
        asked = questions[i]
        report.question(asked, {each.way.name: each.rankings[i] for each in results}, articles)
        report.answers({each.way.name: each.way.answer(asked.question) for each in results})


def check(results: Sequence[Results], tolerance: float) -> bool:
    """Whether every way gave the first one's scores and order, for every question."""
    first, *others = results
    pairs = [pair for other in others for pair in zip(first.rankings, other.rankings, strict=True)]
    difference = max(largest_difference(*pair) for pair in pairs)
    num_reordered = sum(not same_order(*pair, tolerance) for pair in pairs)
    agree = difference <= tolerance and num_reordered == 0
    print()
    order = f"{num_reordered} rankings in another order" if num_reordered else "the same order"
    report.fact(
        "agreement" if agree else "DISAGREE",
        f"{order}; scores differ by {difference:.1e} at most ({tolerance:g} is allowed)",
    )
    return agree


if __name__ == "__main__":
    main()
