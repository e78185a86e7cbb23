r"""What is put before a text, byte for byte as the model was trained.

Qwen3-Embedding: `Instruct: {task}\nQuery:{text}`, one newline, no space after "Query:".
Source: the model card of Qwen/Qwen3-Embedding-0.6B.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING

from qwire_server.errors import InvalidRequest

if TYPE_CHECKING:
    from qwire_server.checkpoint.model_prompts import Prompts


class InputType(IntEnum):
    """What a text is for; the values are those of `qwire.v1.InputType`."""

    DOCUMENT = 1
    QUERY = 2
    NONE = 3


def prompt_named(prompts: Prompts, name: str) -> str:
    """The prompt that the model's own configuration calls so.

    Raises:
        InvalidRequest: it names no such prompt.
    """
    if name not in prompts.named:
        listed = ", ".join(f'"{known}"' for known in prompts.named)
        names = (
            f"Available prompts: [{listed}]"
            if listed
            else "It has no prompts: leave `prompt_name` out"
        )
        raise InvalidRequest(f"the model has no prompt {name[:100]!a}. {names}")
    return prompts.named[name]


def prompt_for(prompts: Prompts, input_type: InputType | None, instruction: str | None) -> str:
    """The prompt of one request.

    Args:
        prompts: the model's own.
        input_type: chooses among them. None and NONE choose the one that the model's
            `default_prompt_name` names, as `encode` of sentence-transformers does; where it names
            none, None is a document and NONE has no prompt.
        instruction: None for the model's own prompt; empty for no prompt; else the task that goes
            into the model's template, whichever type was sent.

    Raises:
        InvalidRequest: the model takes no instruction.
    """
    if instruction is None:
        return _own_prompt(prompts, input_type)
    if not instruction:
        return ""
    if not prompts.template:
        raise InvalidRequest(
            "this model takes no instruction, because its query prompt has no task: leave "
            "`instruction` unset, or set --query-prompt of the server"
        )
    # Not str.format: an instruction may hold braces.
    return prompts.template.replace("{instruction}", instruction, 1)


def _own_prompt(prompts: Prompts, input_type: InputType | None) -> str:
    if input_type is InputType.QUERY:
        return prompts.query
    if input_type is not InputType.DOCUMENT and prompts.default_name:
        return prompts.named.get(prompts.default_name, "")
    return "" if input_type is InputType.NONE else prompts.document
