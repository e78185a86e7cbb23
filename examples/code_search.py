"""Ask for code in plain words: functions of Python's own library, their source as documents.

    python examples/code_search.py [localhost:50051] ["Is it a leap year?"]

Qwen3 is trained on code, and takes an instruction that says what to look for. The demo model is
trained on English prose and takes none: it goes by docstrings and names.
"""

from __future__ import annotations

import calendar
import colorsys
import difflib
import fnmatch
import functools
import heapq
import inspect
import shutil
import statistics
import string
import sys
import tempfile
import textwrap

from qwire import Client

FUNCTIONS = [
    *(calendar.isleap, calendar.weekday, colorsys.rgb_to_hsv, difflib.get_close_matches),
    *(difflib.unified_diff, fnmatch.filter, functools.lru_cache, heapq.merge, heapq.nlargest),
    *(shutil.copytree, shutil.disk_usage, shutil.rmtree, shutil.which, statistics.median),
    *(statistics.stdev, string.capwords, tempfile.mkdtemp, textwrap.dedent, textwrap.wrap),
]
QUESTIONS = [
    "How much room is left on the drive?",
    "find words that are spelled almost alike",
    "keep the results of earlier calls in memory",
    "get rid of the common indentation of a block of text",
    "delete a folder and everything in it",
    "Where is the program that a shell would run?",
]
INSTRUCTION = "Given a question about programming, retrieve code that answers it"


def main(target: str | None = None, *questions: str) -> None:
    """The two best functions for each question."""
    names = [f"{function.__module__}.{function.__name__}" for function in FUNCTIONS]
    with Client(target) as client:
        takes_instructions = bool(client.describe().prompts.template)
        documents = client.embed_documents([inspect.getsource(each) for each in FUNCTIONS])
        for question in questions or QUESTIONS:
            vector = client.embed_query(
                question, instruction=INSTRUCTION if takes_instructions else None
            )
            scores = documents @ vector
            best, second = scores.argsort()[::-1][:2]
            print(question)
            print(f"  {scores[best]:.4f} {names[best]:28} {scores[second]:.4f} {names[second]}")


if __name__ == "__main__":
    main(*sys.argv[1:])
