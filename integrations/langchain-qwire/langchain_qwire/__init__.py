"""LangChain embeddings from a Qwire server: Qwen3 in one constructor line."""

from importlib.metadata import version

from langchain_qwire.embeddings import QwireEmbeddings
from qwire.advice import QwireWarning, TextsCutWarning, UnknownTokensWarning

__version__ = version("langchain-qwire")
__all__ = [
    "QwireEmbeddings",
    "QwireWarning",
    "TextsCutWarning",
    "UnknownTokensWarning",
    "__version__",
]
