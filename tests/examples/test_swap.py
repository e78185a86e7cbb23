"""The proof of "no code changes": the same files with other classes and with ours."""

import pytest
import query_engine
import rag_chain
from corpus import load_articles, load_questions
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings
from langchain_core.language_models import FakeListChatModel
from langchain_qwire import QwireEmbeddings
from llama_index.core import MockEmbedding, Settings
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.llms import MockLLM
from llama_index.embeddings.qwire import QwireEmbedding

from support.models import tiny_qwen3

PASSAGES = [article.passage for article in load_articles()]
QUESTIONS = [asked.question for asked in load_questions()]
QUESTION = QUESTIONS[0]


class LocalEmbeddings(Embeddings):
    """The model of `qwen_server` in this process, through sentence-transformers."""

    def __init__(self, folder):
        from sentence_transformers import SentenceTransformer  # noqa: PLC0415  slow

        self._model = SentenceTransformer(str(tiny_qwen3(folder)), device="cpu")

    def embed_documents(self, texts):
        return self._model.encode(texts).tolist()

    def embed_query(self, text):
        return self._model.encode(text, prompt_name="query").tolist()


class LocalEmbedding(BaseEmbedding):
    """The same as a LlamaIndex class."""

    def __init__(self, embeddings):
        super().__init__()
        self._embeddings = embeddings

    def _get_text_embedding(self, text):
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts):
        return self._embeddings.embed_documents(texts)

    def _get_query_embedding(self, query):
        return self._embeddings.embed_query(query)

    async def _aget_query_embedding(self, query):
        return self._get_query_embedding(query)


class Recorder(MockEmbedding):
    """Keeps the texts that LlamaIndex asks it to embed."""

    seen: list[str] = []  # noqa: RUF012  pydantic copies it

    def _get_text_embedding(self, text):
        self.seen.append(text)
        return super()._get_text_embedding(text)


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    return LocalEmbeddings(tmp_path_factory.mktemp("local") / "tiny-qwen3")


def test_a_chain_answers_alike_with_another_class_and_with_ours(local, qwen_server):
    """One constructor line is all that changes, and with the same model not one answer does."""
    theirs = rag_chain.build_chain(local)
    ours = rag_chain.build_chain(QwireEmbeddings(target=qwen_server))
    for question in QUESTIONS:
        assert ours.invoke(question) == theirs.invoke(question)


def test_an_engine_answers_alike_with_another_class_and_with_ours(local, qwen_server):
    """The same for LlamaIndex."""
    theirs = query_engine.build_engine(LocalEmbedding(local))
    ours = query_engine.build_engine(QwireEmbedding(target=qwen_server))
    for question in QUESTIONS:
        assert str(ours.query(question)) == str(theirs.query(question))


@pytest.mark.parametrize("script", ["rag_chain.py", "query_engine.py"])
def test_a_script_asks_our_server_unless_told_otherwise(run_example, qwen_server, script):
    """`--target` is all it needs; nothing but the answer, a passage, is printed."""
    done = run_example(script, "--target", qwen_server, QUESTION)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() in PASSAGES


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("script", "other", "setting"),
    [
        ("rag_chain.py", "langchain_core.embeddings:DeterministicFakeEmbedding", "size=64"),
        ("query_engine.py", "llama_index.core:MockEmbedding", "embed_dim=64"),
    ],
)
def test_a_script_takes_another_class_by_name(run_example, script, other, setting):
    """No server, no key, no LLM: an answer is one of the passages."""
    done = run_example(script, "--embeddings", other, "--set", setting, PASSAGES[0])
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in PASSAGES


def test_llama_index_embeds_the_bytes_that_langchain_embeds():
    """Metadata does not alter the text."""
    model = Recorder(embed_dim=4)
    query_engine.index_corpus(model)
    assert model.seen == PASSAGES
    store = rag_chain.index_corpus(DeterministicFakeEmbedding(size=4))
    assert [document["text"] for document in store.store.values()] == PASSAGES


def test_no_default_llm_is_looked_for(monkeypatch):
    """LlamaIndex's own default wants an OpenAI key."""
    monkeypatch.setattr(Settings, "_llm", None)
    engine = query_engine.build_engine(MockEmbedding(embed_dim=4))
    assert str(engine.query("?")) in PASSAGES
    assert Settings._llm is None


async def test_an_engine_answers_in_an_event_loop():
    engine = query_engine.build_engine(MockEmbedding(embed_dim=4))
    assert str(await engine.aquery("?")) in PASSAGES


def test_an_llm_answers_if_there_is_one():
    """LangChain's model has the last word, LlamaIndex's sees the passage and the question."""
    chain = rag_chain.build_chain(
        DeterministicFakeEmbedding(size=4), FakeListChatModel(responses=["42"])
    )
    assert chain.invoke(QUESTION) == "42"
    echo = str(query_engine.build_engine(MockEmbedding(embed_dim=4), MockLLM()).query(QUESTION))
    assert QUESTION in echo
    assert any(passage in echo for passage in PASSAGES)
