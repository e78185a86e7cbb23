"""The HTTP routes by their own OpenAPI document, as schemathesis reads it, on a real socket."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.web_front import Front

FEW = {"deadline": None, "suppress_health_check": list(HealthCheck), "database": None}
# What is right by the document, and what is wrong in one way or another.
MODES = list(schemathesis.GenerationMode)


@pytest.fixture(scope="module", autouse=True)
def collector_at_rest() -> Iterator[None]:
    """Have the garbage collector run between examples only.

    On Python 3.11 before 3.11.8 `ast.parse` raises SystemError ("AST constructor recursion depth
    mismatch") if the collector runs within it, and with it Python code that parses too: in a
    finalizer, in another thread (python/cpython#106905). Here a server runs beside hypothesis,
    which parses hundreds of sources, and pytest, which parses schemathesis' modules on import.
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    yield
    gc.enable()
    gc.unfreeze()


@pytest.fixture(scope="module")
def cases(web: Front) -> st.SearchStrategy[Any]:
    schema = schemathesis.openapi.from_url(f"{web.url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) >= 10
    made = [one.as_strategy(generation_mode=mode) for one in operations for mode in MODES]
    return st.one_of(made)


def check(web: Front, case: Any) -> None:
    """It is answered, and by no accident; what the document allows is as the document says."""
    gc.collect(1)
    response = case.call()
    assert response.status_code < 500 or response.status_code == 503, case.as_curl_command()
    assert not [record for record in web.observer.requests if record.reason == "INTERNAL"]
    web.observer.requests.clear()


@pytest.mark.timeout(90)  # most of it is the making of what is drawn from
def test_every_route(web: Front, cases: st.SearchStrategy[Any]):
    @settings(max_examples=60, derandomize=True, **FEW)
    @given(case=cases)
    def run(case: Any) -> None:
        check(web, case)

    run()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_route_far_more_often(web: Front, cases: st.SearchStrategy[Any]):
    @settings(max_examples=4000, **FEW)
    @given(case=cases)
    def run(case: Any) -> None:
        check(web, case)

    run()
