r"""The prompts of a model: those of its folder, and those that the settings give instead.

Which prompt belongs to which side is what sentence-transformers 6.2 decides: `encode_query` takes
`query`, `encode_document` takes `document` (never `passage` or `corpus`, because it gives each
model an empty `document`), and `encode` takes the one that `default_prompt_name` names.

A query prompt of the form `Instruct: {task}\nQuery:` takes other tasks. White space after it, its
line end and its colons are the model's own, and stay as they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from qwire_server.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Mapping

# \\n is for folders in which the line end was escaped twice.
_INSTRUCTED = re.compile(
    r"(?P<before>\s*Instruct(?:ion)?\s*[:\uff1a]\s*)(?P<task>.*?)"
    r"(?P<after>(?:\s|\\n)+Query\s*[:\uff1a]\s*)",
    re.DOTALL | re.IGNORECASE,
)
_PLACE = "{instruction}"
_FOR_DOCUMENTS = ("passage", "corpus")
INSTRUCTION_TEMPLATE = f"Instruct: {_PLACE}\nQuery:"
# The model card of Qwen/Qwen3-Embedding-0.6B.
QWEN_QUERY_PROMPT = (
    "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
)


@dataclass(frozen=True, slots=True)
class Prompts:
    """Prompts of a model; `template` is empty where it takes no instruction.

    Attributes:
        named: all prompts by their names, which a request's `prompt_name` may give.
        default_name: name of the prompt for texts whose side is not given; empty if there is none.
    """

    query: str = ""
    document: str = ""
    template: str = ""
    named: dict[str, str] = field(default_factory=dict)
    default_name: str = ""

    def parts(self) -> dict[str, str]:
        """All that decides vectors, for a fingerprint."""
        others = {f"prompt {name}": text for name, text in self.named.items()}
        others = {name: text for name, text in others.items() if text}
        for side in ("query", "document"):
            others.pop(f"prompt {side}", None)
        default = {"default_prompt": self.default_name} if self.default_name else {}
        return {"query": self.query, "document": self.document, **others, **default}


def read_prompts(
    config: Mapping[str, Any], query_prompt: str | None, document_prompt: str | None
) -> Prompts:
    """The prompts to serve.

    Args:
        config: content of config_sentence_transformers.json; empty if there is none.
        query_prompt: setting that replaces the folder's; None keeps it.
        document_prompt: the same for documents.

    Raises:
        ModelError: `default_prompt_name` names no prompt, or a setting names one instead of giving
            its text.
    """
    named = {str(name): str(text or "") for name, text in (config.get("prompts") or {}).items()}
    given = {"query": query_prompt, "document": document_prompt}
    for side, text in given.items():
        if text in named:
            raise ModelError(
                f"--{side}-prompt takes the text of a prompt, not its name: {text!r} is the name "
                f"of {named[text]!r}"
            )
    named |= {side: text for side, text in given.items() if text is not None}
    default = config.get("default_prompt_name") or ""
    if default and default not in {*named, *given}:
        raise ModelError(
            f"config_sentence_transformers.json: default_prompt_name is {default!r}, and the "
            f"prompts are {sorted(named)}: correct the name, or set it to null"
        )
    query = named.get("query", "")
    # A model without a prompt for all queries may have several, each with a task.
    templates = map(_template, [query] if query else named.values())
    return Prompts(
        query, named.get("document", ""), next(filter(None, templates), ""), named, default
    )


def prompt_warnings(prompts: Prompts, model_type: str, query_prompt: str | None) -> list[str]:
    """Warnings for the log about prompts that are likely to be missing."""
    found: list[str] = []
    if not prompts.query and query_prompt is None:
        found.append(_no_query_prompt(prompts, model_type))
    beside = [name for name in _FOR_DOCUMENTS if prompts.named.get(name)]
    if beside and "document" not in prompts.named:
        found.append(
            f"documents get no prompt, as in sentence-transformers: the model's prompts have "
            f"{beside[0]!r} and no 'document'; set --document-prompt "
            f"{shell_word(prompts.named[beside[0]])} if it was trained so, or '' to keep it"
        )
    return found


def shell_word(text: str) -> str:
    r"""A prompt as the settings take it on a command line; a newline is \n."""
    return "'" + text.replace("\n", "\\n").replace("'", "'\\''") + "'"


def _no_query_prompt(prompts: Prompts, model_type: str) -> str:
    refused = "" if prompts.template else " and instructions are refused"
    prompt = shell_word(QWEN_QUERY_PROMPT) if model_type == "qwen3" else "with the model card's"
    others = [name for name, text in prompts.named.items() if text]
    choose = f"; requests may choose another prompt by its name: {', '.join(others)}"
    return (
        f"the model has no query prompt, so queries get none{refused}: set --query-prompt {prompt} "
        f"if it was trained so, or --query-prompt '' if it needs none{choose if others else ''}"
    )


def _template(prompt: str) -> str:
    """The prompt with a place for other tasks; empty where it has no task."""
    match = _INSTRUCTED.fullmatch(prompt)
    return match["before"] + _PLACE + match["after"] if match else ""
