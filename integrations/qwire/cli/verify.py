"""`qwire verify`: whether a server gives the scores that its model is known for.

Exit status: 0 equal, 1 different, 2 not compared (no reference, nothing answers, wrong usage).
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

import numpy as np

from qwire.cli.references import (
    DOCUMENTS,
    QUERIES,
    REFERENCES,
    TOLERANCE,
    reference_name,
)
from qwire.cli.target import add_target, open_client
from qwire.errors import InvalidRequestError, QwireError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from qwire.client import Client
    from qwire.info import Description

_EPILOG = f"""The reference is found by the model's name, as the server tells it: the last part of
a hub id, or of a local folder. A folder of another name needs --reference.
Known: {", ".join(REFERENCES)}.

Exit status: 0 equal within {TOLERANCE}, 1 different, 2 not compared.

example: qwire verify --target localhost:50051"""


def add_to(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Declare the verb."""
    verb = verbs.add_parser(
        "verify",
        help="compare a server with the published scores of its model",
        description="Compare a server with the published scores of its model.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_target(verb)
    verb.add_argument("--reference", choices=REFERENCES, help="default: by the model's name")
    verb.add_argument("--timeout", type=float, default=60.0, help="seconds (default: 60)")
    verb.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Ask, compare, print both side by side, and return the verdict."""
    try:
        with open_client(options, timeout=options.timeout) as client:
            model = client.describe()
            name = options.reference or _find_reference(model)
            found = scores(client)
    except QwireError as error:
        print(f"qwire verify: {error}", file=sys.stderr)
        return 2
    return _compare(model, name, found)


def scores(client: Client) -> NDArray[np.float64]:
    """Cosines of `QUERIES` (rows) with `DOCUMENTS`, each with the model's own prompt."""
    queries = client.embed(QUERIES, input_type="query").vectors
    documents = client.embed(DOCUMENTS, input_type="document").vectors
    product: NDArray[np.float64] = queries.astype(np.float64) @ documents.astype(np.float64).T
    return product


def _find_reference(model: Description) -> str:
    name = reference_name(model.model)
    if name is None:
        raise InvalidRequestError(
            f"no scores are known of {model.model}: if it is one of {', '.join(REFERENCES)} "
            "under another name, say so with --reference"
        )
    return name


def _compare(model: Description, name: str, found: NDArray[np.float64]) -> int:
    reference = REFERENCES[name]
    print(f"{model.model} ({model.device}, {model.dtype}, pooling {model.pooling})")
    print(f"reference: {name} ({reference.source})\n")
    if model.dimensions.native != reference.dimensions:
        wanted = f"{name} has {reference.dimensions}"
        print(f"different: vectors of {model.dimensions.native} values, {wanted}")
        return 1
    print("expected    found  off by")
    expected = np.array(reference.scores)
    for (row, column), value in np.ndenumerate(expected):
        off = f"{abs(found[row, column] - value):.4f}"
        texts = f"{QUERIES[row]!r} with {_short(DOCUMENTS[column])!r}"
        print(f"  {value:.4f}   {found[row, column]:.4f}  {off}  {texts}")
    largest = float(np.abs(found - expected).max())
    verdict = "equal" if largest <= TOLERANCE else "different"
    print(f"\n{verdict}: the largest deviation is {largest:.4f}, the tolerance {TOLERANCE}")
    return 0 if verdict == "equal" else 1


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."
