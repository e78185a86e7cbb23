"""Independent references for scores: the model card's recipe, and sentence-transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from sentence_transformers import CrossEncoder
from transformers import AutoModelForCausalLM, AutoTokenizer

from support.rerankers import INSTRUCTION, MAX_TOKENS, PREFIX, SUFFIX

if TYPE_CHECKING:
    from pathlib import Path


def recipe_scores(
    folder: Path,
    query: str,
    documents: list[str],
    instruction: str = INSTRUCTION,
    max_length: int = MAX_TOKENS,
) -> tuple[list[float], list[list[int]]]:
    """The model card's transformers recipe, one pair at a time: P(yes), and the token ids."""
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    yes, no = (tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no"))
    before = tokenizer.encode(PREFIX, add_special_tokens=False)
    after = tokenizer.encode(SUFFIX, add_special_tokens=False)
    scores, all_ids = [], []
    for document in documents:
        pair = f"<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}"
        kept = max_length - len(before) - len(after)
        middle = tokenizer(pair, truncation=True, max_length=kept)["input_ids"]
        ids = before + middle + after
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids])).logits[0, -1].float()
        both = torch.nn.functional.log_softmax(torch.stack([logits[no], logits[yes]]), dim=0)
        scores.append(both[1].exp().item())
        all_ids.append(ids)
    return scores, all_ids


def cross_encoder_scores(folder: Path, pairs: list[tuple[str, str]]) -> list[float]:
    """Raw scores of sentence-transformers."""
    model = CrossEncoder(str(folder), device="cpu", activation_fn=torch.nn.Identity())
    scores: list[float] = model.predict(pairs, show_progress_bar=False).tolist()
    return scores
