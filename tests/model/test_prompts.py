r"""Which prompt a text gets: sentence-transformers is the reference, and settings replace it."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
from sentence_transformers import SentenceTransformer

from qwire_server import settings
from qwire_server.checkpoint import layout
from qwire_server.checkpoint.model_prompts import QWEN_QUERY_PROMPT, Prompts, read_prompts
from qwire_server.errors import InvalidRequest, ModelError, StartError
from qwire_server.text.prompts import InputType, prompt_for, prompt_named
from support import local
from support.models import QUERY_PROMPT

CONFIG = "config_sentence_transformers.json"
TASK = "Find the {law} of {instruction}"


@pytest.fixture
def folder(qwen_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return shutil.copytree(qwen_folder, tmp_path / "model")


def write(folder: Path, prompts: object, default: object = None) -> None:
    config = json.loads((folder / CONFIG).read_text())
    config |= {"prompts": prompts, "default_prompt_name": default}
    (folder / CONFIG).write_text(json.dumps(config))


def read(prompts: object, default: object = None, **given: str) -> Prompts:
    config = {"prompts": prompts, "default_prompt_name": default}
    return read_prompts(config, given.get("query_prompt"), given.get("document_prompt"))


class Sent(Exception):
    """The prompt that reached the tokenizer."""


def sent_by(encode: Any, **words: str) -> str:
    """What sentence-transformers puts before a text."""
    with pytest.raises(Sent) as sent:
        encode(["text"], show_progress_bar=False, **words)
    return str(sent.value)


@pytest.mark.parametrize(
    ("prompts", "default"),
    [
        ({"query": QUERY_PROMPT, "document": ""}, None),
        ({"query": "q: ", "document": "", "passage": "p: "}, None),
        ({"query": "q: ", "document": "d: ", "passage": "p: ", "corpus": "c: "}, None),
        ({"query": "q: ", "document": None, "passage": "p: "}, None),
        ({"query": "q: ", "passage": "p: "}, None),
        ({"passage": "p: ", "corpus": "c: "}, None),
        ({"corpus": "c: "}, None),
        ({"query": None, "document": None}, None),
        ({}, None),
        ({"query": "q: ", "document": "d: "}, "query"),
        ({"query": "q: ", "document": "d: "}, "document"),
        ({"query": "q: ", "law": "l: "}, "law"),
        ({"law": "l: "}, "law"),
        ({"law": ""}, "law"),
        ({"Query": "Q: ", "search_query": "s: ", " query": "b: "}, " query"),
        ({}, "document"),
        ({}, "query"),
    ],
    ids=str,
)
def test_each_side_gets_the_prompt_of_sentence_transformers(
    folder: Path, monkeypatch: pytest.MonkeyPatch, prompts: dict, default: str | None
):
    """`encode_query`, `encode_document`, `encode`, and each name that the folder lists."""

    def preprocess(*_: object, prompt: str | None = None, **__: object) -> None:
        raise Sent(prompt or "")

    write(folder, prompts, default)
    ours = layout.read(folder).prompts
    theirs = SentenceTransformer(str(folder), device="cpu")
    monkeypatch.setattr(theirs, "preprocess", preprocess)
    assert prompt_for(ours, InputType.QUERY, None) == sent_by(theirs.encode_query)
    assert prompt_for(ours, InputType.DOCUMENT, None) == sent_by(theirs.encode_document)
    assert prompt_for(ours, InputType.NONE, None) == sent_by(theirs.encode)
    for name in prompts:
        assert prompt_named(ours, name) == sent_by(theirs.encode, prompt_name=name)


def test_a_text_of_no_side_is_a_document_unless_the_model_has_a_default_prompt():
    prompts = {"query": "q: ", "document": "d: ", "law": "l: "}
    assert prompt_for(read(prompts), None, None) == "d: "
    assert prompt_for(read(prompts, "law"), None, None) == "l: "
    assert prompt_for(read(prompts, "law"), InputType.NONE, "") == ""


@pytest.mark.parametrize("default", ["nope", "Query", " ", 7, {"law": 1}])
def test_a_default_prompt_that_is_not_there_is_refused(folder: Path, default: object):
    """As sentence-transformers does."""
    write(folder, {"query": "q: "}, default)
    with pytest.raises(ModelError):
        layout.read(folder)


@pytest.mark.parametrize("prompts", [["query"], "query", 7])
def test_prompts_that_are_no_object_are_refused(folder: Path, prompts: object):
    write(folder, prompts)
    with pytest.raises(ModelError, match="not what it should be"):
        layout.read(folder)


@pytest.mark.parametrize(
    "form",
    [
        "Instruct: {}\nQuery:",
        "Instruct: {}\nQuery: ",
        "Instruct: {}\nQuery:  ",
        "Instruct: {}\nQuery:\n",
        "Instruct: {}\nQuery:\t",
        "Instruct: {}\n\nQuery:",
        "Instruct: {}\r\nQuery: ",
        "Instruct: {} \n Query: ",
        "Instruct:{}\nQuery:",
        "Instruct:  {}\nQuery:",
        "Instruct: {} Query: ",
        "Instruct: {}\\nQuery: ",
        "\nInstruct: {}\nQuery: ",
        "Instruction: {}\nQuery: ",
        "instruct: {}\nquery: ",
        "Instruct：{}\nQuery：",
        "Instruct: {}\nQuery : ",
    ],
)
@pytest.mark.parametrize("own", ["Given a question.", "Two lines\nQuery: of a task", "", "a: b"])
@pytest.mark.parametrize("by_setting", [False, True])
def test_an_instruct_prompt_takes_another_task_and_keeps_every_other_byte(
    form: str, own: str, by_setting: bool
):
    own_prompt = form.replace("{}", own)
    if by_setting:
        prompts = read({"document": ""}, query_prompt=own_prompt)
    else:
        prompts = read({"query": own_prompt, "document": ""})
    assert prompt_for(prompts, InputType.QUERY, None) == own_prompt
    if own or form[0] == "\n":
        assert prompt_for(prompts, InputType.QUERY, TASK) == form.replace("{}", TASK)
    else:  # of white space before and after no task, either may stand before the next one
        assert TASK in prompt_for(prompts, InputType.QUERY, TASK)


def test_the_prompt_of_the_model_card_is_rendered_byte_for_byte():
    prompts = read({"query": QUERY_PROMPT, "document": ""})
    assert prompts.template == "Instruct: {instruction}\nQuery:"
    assert prompt_for(prompts, InputType.QUERY, "Find the law") == "Instruct: Find the law\nQuery:"


@pytest.mark.parametrize(
    "prompt", ["", "query: ", "Query:", "Instruct: a task", "Query: Instruct:"]
)
def test_a_prompt_without_a_task_takes_no_instruction(prompt: str):
    prompts = read({"query": prompt})
    with pytest.raises(InvalidRequest, match="--query-prompt"):
        prompt_for(prompts, InputType.QUERY, "Find the law")


def test_a_model_with_several_tasks_and_no_query_prompt_takes_instructions():
    named = {
        "web_search_query": "Instruct: Search\nQuery: ",
        "sts_query": "Instruct: Same\nQuery: ",
    }
    prompts = read(named)
    assert prompt_for(prompts, InputType.QUERY, "Find") == "Instruct: Find\nQuery: "
    assert prompt_named(prompts, "sts_query") == "Instruct: Same\nQuery: "


@pytest.mark.parametrize("has_config", [True, False])
def test_settings_replace_the_prompts_of_the_folder(folder: Path, has_config: bool):
    write(folder, {"query": "q: ", "document": "d: ", "law": "l: "})
    if not has_config:
        (folder / CONFIG).unlink()
    prompts = layout.read(folder, query_prompt="Q: ", document_prompt="").prompts
    assert (prompts.query, prompts.document) == ("Q: ", "")
    assert prompt_named(prompts, "query") == "Q: "
    assert ("law" in prompts.named) == has_config


def test_the_name_of_a_prompt_is_not_taken_for_its_text(folder: Path):
    write(folder, {"law": "l: "})
    with pytest.raises(ModelError, match="'law' is the name of 'l: '"):
        layout.read(folder, query_prompt="law")


def test_the_fingerprint_changes_with_every_prompt(folder: Path):
    """By folder or by setting, and the same prompts give the same fingerprint."""

    def of(prompts: dict, default: str | None = None, **given: str) -> str:
        write(folder, prompts, default)
        return local.load(folder, **given).served.fingerprint

    plain = {"query": "q: ", "document": ""}
    made = [
        of(plain),
        of(plain, query_prompt="q:"),
        of(plain, document_prompt="d: "),
        of(plain, "query"),
        of({**plain, "law": "l: "}),
        of({**plain, "law": "L: "}),
    ]
    assert len(set(made)) == len(made)
    assert of({}, query_prompt="q: ", document_prompt="") == made[0]


def warnings_of(folder: Path, caplog: pytest.LogCaptureFixture, **given: str) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.WARNING, "qwire_server"):
        local.load(folder, **given)
    return [record.getMessage() for record in caplog.records]


def test_a_start_without_a_query_prompt_is_a_warning_that_names_the_setting(
    folder: Path, caplog: pytest.LogCaptureFixture
):
    """It shows the prompt of Qwen3 as a command line takes it, and an empty setting ends it."""
    (folder / CONFIG).unlink()
    (folder / "modules.json").unlink()
    (told,) = warnings_of(folder, caplog, pooling="last")
    assert "--query-prompt 'Instruct: Given a web search query, " in told
    assert QWEN_QUERY_PROMPT.replace("\n", "\\n") in told
    assert "\n" not in told
    assert warnings_of(folder, caplog, pooling="last", query_prompt="") == []
    assert warnings_of(folder, caplog, pooling="last", query_prompt=QWEN_QUERY_PROMPT) == []


def test_the_warning_lists_the_other_prompts(folder: Path, caplog: pytest.LogCaptureFixture):
    write(folder, {"s2p_query": "Instruct: a\nQuery: ", "s2s_query": "Instruct: b\nQuery: "})
    (told,) = warnings_of(folder, caplog)
    assert "s2p_query, s2s_query" in told


def test_a_passage_prompt_that_documents_do_not_get_is_a_warning(
    folder: Path, caplog: pytest.LogCaptureFixture
):
    write(folder, {"query": "q: ", "passage": "p: "})
    (told,) = warnings_of(folder, caplog)
    assert "--document-prompt 'p: '" in told
    write(folder, {"query": "q: ", "passage": "p: ", "document": ""})
    assert warnings_of(folder, caplog) == []


def test_the_demo_model_needs_no_prompts_and_no_warning(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.WARNING, "qwire_server"):
        local.load("demo")
    assert caplog.records == []


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("Instruct: a task\\nQuery:", "Instruct: a task\nQuery:"),
        ("Instruct: a task\nQuery: ", "Instruct: a task\nQuery: "),
        ("Instruct: a\\r\\nQuery: ", "Instruct: a\r\nQuery: "),
        ("  query:  ", "  query:  "),
        ("", ""),
        ('"quoted": ', '"quoted": '),
        ("[a, b]: ", "[a, b]: "),
        ('{"a": 1}', '{"a": 1}'),
        ("为这个句子生成表示：", "为这个句子生成表示："),
    ],
)
@pytest.mark.parametrize("way", ["flag", "equals", "variable", "file"])
def test_a_prompt_is_taken_to_the_byte_however_it_is_set(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, way: str, given: str, taken: str
):
    argv: list[str] = []
    if way == "flag":
        argv = ["--query-prompt", given, "--document-prompt", given]
    elif way == "equals":
        argv = [f"--query-prompt={given}", f"--document-prompt={given}"]
    elif way == "variable":
        monkeypatch.setenv("QWIRE_QUERY_PROMPT", given)
        monkeypatch.setenv("QWIRE_DOCUMENT_PROMPT", given)
    else:
        file = tmp_path / "qwire.toml"
        file.write_text(
            f"query_prompt = {json.dumps(given)}\ndocument_prompt = {json.dumps(given)}"
        )
        argv = ["--config", str(file)]
    chosen = settings.load(argv)
    assert (chosen.query_prompt, chosen.document_prompt) == (taken, taken)


@pytest.mark.parametrize(
    "prompt",
    ["Instruct: {instruction}\\nQuery:", "Instruct: {task}\nQuery: {query}", "q: {}", "a\udcffb"],
)
def test_a_prompt_with_a_place_to_fill_in_or_no_text_is_refused(prompt: str):
    with pytest.raises(StartError, match="--query-prompt"):
        settings.load(["--query-prompt", prompt])
