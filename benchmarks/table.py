"""The figures of a result as Markdown: `python -m benchmarks.table [--readme] results.json`.

`--readme` prints the part that README.md shows, `--readme-zh` that of README.zh-CN.md.

Pure: from the JSON alone, so that a README's table and a run's table are the same.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.chinese import translated
from benchmarks.markdown import grid, number

if TYPE_CHECKING:
    from collections.abc import Iterator

# What each name stands for is said once, where it is measured; a result carries the words.


class Goal(NamedTuple):
    """A target, and what was reached."""

    what: str
    goal: str
    reached: str
    met: bool


def markdown(result: dict[str, Any]) -> str:
    """All that was measured, one table a part."""
    parts = [*_models(result), *_free(result), *_formats(result), *_goals(result), _about(result)]
    return "\n\n".join(parts) + "\n"


def summary(result: dict[str, Any]) -> str:
    """What the README shows of it."""
    return "\n\n".join([*_models(result), *_free(result), _about(result)]) + "\n"


def goals(result: dict[str, Any]) -> Iterator[Goal]:
    """The targets that this result can tell about."""
    for model in result.get("models", {}).values():
        yield from _model_goals(model)
    if free := result.get("free"):
        rate = free["texts_per_second"]["stream"]["median"]
        what = "free model, sixteen-token texts in 64-text chunks"
        yield Goal(what, ">= 10,000 texts/s", f"{number(rate)} texts/s", rate >= 10_000)
        for side, growth in free["long_stream"]["memory_mb_growth"].items():
            what = f"free model, long stream, memory growth of the {side}"
            yield Goal(what, "< 50 MB", f"{growth:.1f} MB", growth < 50)


def _model_goals(model: dict[str, Any]) -> Iterator[Goal]:
    def at_least(what: str, factor: float, reached: float) -> Goal:
        return Goal(f"{title}: {what}", f">= {factor}x", f"{reached:.2f}x", reached >= factor)

    title, over = model["title"], model["stream_over"]
    yield at_least("stream against the bare forward", 0.95, model["of_bare"]["stream"]["median"])
    yield at_least("stream against st, arrival order", 1.5, over["st_arrival"]["median"])
    yield at_least("stream against st, best batch, sorted", 1.2, over["st_best"]["median"])
    extra = model["idle"]["over_bare_ms"]
    what = f"{title}: idle query above its bare forward"
    yield Goal(what, "<= 3 ms", f"{extra:.1f} ms", extra <= 3)


def _models(result: dict[str, Any]) -> Iterator[str]:
    words = result["words"]
    for model in result.get("models", {}).values():
        texts = model["texts"]
        rows = [
            [words["models"][name], *_rate(rate), f"{model['of_bare'][name]['median']:.2f}"]
            for name, rate in model["texts_per_second"].items()
        ]
        yield (
            f"### {model['title']}\n\n{texts['count']} texts of {texts['tokens_median']:g} tokens "
            f"(median; {texts['tokens_mean']:g} on average, {texts['tokens_max']} at most).\n\n"
            + grid(["", "texts/s", "min to max", "of bare"], rows)
            + "\n\n"
            + _idle(model)
        )


def _idle(model: dict[str, Any]) -> str:
    ms, crowd = model["idle"]["ms"], model["clients_ms"]
    names = {
        "query": "one short query, idle server",
        "bare": "the same, bare forward in process",
        "nothing": "a gRPC call that does nothing",
    }
    rows = [[names[name], f"{ms[name]['p50']:.2f}", f"{ms[name]['p95']:.2f}"] for name in names]
    best = model["sentence_transformers"]["best_batch"]
    return (
        grid(["", "p50 ms", "p95 ms"], rows)
        + f"\n\nWith 64 clients at once a call takes {crowd['p50']:.0f} ms (p50), "
        f"{crowd['p99']:.0f} ms (p99). Best batch size of sentence-transformers: {best}."
    )


def _free(result: dict[str, Any]) -> Iterator[str]:
    if not (free := result.get("free")):
        return
    long = free["long_stream"]
    words = result["words"]["free"]
    rows = [[words[name], *_rate(rate)] for name, rate in free["texts_per_second"].items()]
    rows.append(
        [f"one stream of {long['texts']:,} texts", number(long["texts_per_second"]), "one run"]
    )
    growth, cpu = long["memory_mb_growth"], long["cpu_microseconds_per_text"]
    yield (
        f"### A model that costs nothing, {free['dim']} values, sixteen-token texts\n\n"
        + grid(["", "texts/s", "min to max"], rows)
        + f"\n\nDuring the long stream memory grew by {growth['server']:.1f} MB (server) and "
        f"{growth['client']:.1f} MB (client); a text took {cpu['server']:.0f} and "
        f"{cpu['client']:.0f} microseconds of their processors."
    )


def _formats(result: dict[str, Any]) -> Iterator[str]:
    if not (formats := result.get("formats")):
        return
    rows = [
        [
            result["words"]["formats"][name],
            f"{each['ms']['median']:.3g}",
            f"{each['ms']['min']:.3g} to {each['ms']['max']:.3g}",
            f"{each['bytes']:,}",
            f"{each['smallest_cosine']:.4f}",
        ]
        for name, each in formats["formats"].items()
    ]
    head = ["", "ms", "min to max", "bytes", "smallest cosine"]
    title = f"### Encode and decode {formats['rows']} vectors of {formats['dim']} values\n\n"
    yield title + grid(head, rows)


def _goals(result: dict[str, Any]) -> Iterator[str]:
    rows = [
        [goal.what, goal.goal, goal.reached, "yes" if goal.met else "**no**"]
        for goal in goals(result)
    ]
    if rows:
        yield "### Targets\n\n" + grid(["", "target", "reached", "met"], rows)


def _about(result: dict[str, Any]) -> str:
    about, machine = result["about"], result["about"]["machine"]
    kept = ["python", "torch", "sentence-transformers", "grpcio"]
    versions = ", ".join(f"{k} {about['versions'][k]}" for k in kept if k in about["versions"])
    others = machine["used_by_others"]
    busy = f" Other processes took {others:.0%} of the machine meanwhile." if others else ""
    spin = "without spinning" if about["openmp_wait"] == "PASSIVE" else "by OpenMP's default"
    quick = " **Quick sizes: these figures mean nothing.**" if about["quick"] else ""
    return (
        f"{about['date'][:10]}, {machine['processor']}, {machine['cores']} cores, "
        f"{about['torch_threads']} torch threads on every side, waiting {spin}; {versions}, "
        f"commit {about['commit'] or 'unknown'}. Medians of at most {about['rounds']} interleaved "
        f"rounds; lengths {about['lengths']['words']} words, seed {about['lengths']['seed']}."
        f"{busy}{quick}"
    )


def _rate(rate: dict[str, Any]) -> list[str]:
    return [number(rate["median"]), f"{number(rate['min'])} to {number(rate['max'])}"]


if __name__ == "__main__":
    measured = json.loads(Path(sys.argv[-1]).read_text("utf-8"))
    if "--readme-zh" in sys.argv:
        print(translated(summary(measured)), end="")
    else:
        print(summary(measured) if "--readme" in sys.argv else markdown(measured), end="")
