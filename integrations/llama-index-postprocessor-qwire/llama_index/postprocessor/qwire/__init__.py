"""LlamaIndex reranking by a Qwire server: Qwen3-Reranker in one constructor line."""

from importlib.metadata import version

from llama_index.postprocessor.qwire.base import QwireRerank

from qwire.advice import QwireWarning, TextsCutWarning

__version__ = version("llama-index-postprocessor-qwire")
__all__ = ["QwireRerank", "QwireWarning", "TextsCutWarning", "__version__"]
