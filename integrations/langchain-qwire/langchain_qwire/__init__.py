"""LangChain embeddings and rerankers from a Qwire server: Qwen3 in one constructor line."""

from importlib.metadata import version

from langchain_qwire.embeddings import QwireEmbeddings
from langchain_qwire.rerank import QwireCrossEncoder, QwireReranker
from qwire.advice import QwireWarning, TextsCutWarning, UnknownTokensWarning

__version__ = version("langchain-qwire")
__all__ = [
    "QwireCrossEncoder",
    "QwireEmbeddings",
    "QwireReranker",
    "QwireWarning",
    "TextsCutWarning",
    "UnknownTokensWarning",
    "__version__",
]
