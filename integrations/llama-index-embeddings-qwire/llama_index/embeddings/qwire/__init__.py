"""LlamaIndex embeddings from a Qwire server: Qwen3 in one constructor line."""

from importlib.metadata import version

from llama_index.embeddings.qwire.base import QwireEmbedding

from qwire.advice import QwireWarning, TextsCutWarning, UnknownTokensWarning

__version__ = version("llama-index-embeddings-qwire")
__all__ = [
    "QwireEmbedding",
    "QwireWarning",
    "TextsCutWarning",
    "UnknownTokensWarning",
    "__version__",
]
