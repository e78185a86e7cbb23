"""What is put around a query and a document, byte for byte as rerankers were trained.

Qwen3-Reranker, in the form of its transformers recipe: a system turn, a user turn of which only the
document may be cut, and an answer that begins with an empty thought. Source: the model card of
Qwen/Qwen3-Reranker-0.6B. A classic cross-encoder has no words of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

from qwire_server.errors import InvalidRequest

QWEN_PREFIX = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and "
    'the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n"
)
QWEN_SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
QWEN_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"


@dataclass(frozen=True, slots=True)
class PairPrompt:
    """How a query is put before its documents.

    Attributes:
        instruction: the model's own; empty for a model that takes none.
    """

    instruction: str = ""

    def before_document(self, query: str, instruction: str | None) -> str:
        """All of the user's part before the document; the query alone without instructions.

        Raises:
            InvalidRequest: the model takes no instruction.
        """
        if self.instruction:
            task = self.instruction if instruction is None else instruction
            return f"<Instruct>: {task}\n<Query>: {query}\n<Document>:"
        if instruction is not None:
            raise InvalidRequest("this reranker takes no instruction: leave `instruction` unset")
        return query
