"""What a model folder may and may not hold."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from qwire_server.checkpoint import layout, source
from qwire_server.checkpoint.fingerprint import content_revision
from qwire_server.checkpoint.weight_files import weight_files
from qwire_server.checkpoint.weight_hashes import WeightHashes
from qwire_server.errors import ModelError, StartError
from support import local
from support.fake_hub import MODEL, FakeHub, fake_hub
from support.models import tiny_qwen3


@pytest.fixture
def folder(qwen_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return shutil.copytree(qwen_folder, tmp_path / "model")


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def change_weights(folder: Path, change) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def content(folder: Path) -> str:
    """What the files of a folder come to."""
    with WeightHashes(folder, weight_files(folder)) as hashes:
        return content_revision(folder, hashes.result(), lower_case=False)


def test_the_layout_says_what_matters(folder: Path):
    read = layout.read(folder)
    assert (read.pooling, read.max_tokens, read.hidden_size) == ("last", 512, 64)
    assert read.prompts.template == "Instruct: {instruction}\nQuery:"
    assert read.min_dimensions == 32
    assert read.languages == ("mul",)


def test_the_demo_model_is_english_and_is_not_cut():
    read = layout.read(source.find("demo").folder)
    assert (read.languages, read.pooling, read.min_dimensions) == (("en",), "mean", 384)
    assert read.prompts == layout.Prompts()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("config.json", {"model_type": "llama"}, "served are qwen3"),
        ("config.json", {"use_sliding_window": True}, "sliding-window"),
        ("1_Pooling/config.json", {"pooling_mode_mean_tokens": True}, "not served"),
        ("1_Pooling/config.json", {"include_prompt": False}, "without the prompt"),
    ],
)
def test_what_cannot_be_served_faithfully_is_refused(
    folder: Path, name: str, content: dict[str, object], said: str
):
    edit(folder / name, **content)
    with pytest.raises(ModelError, match=said):
        local.load(folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [("config.json", '{"model_type": "qwen3"}'), ("config.json", "[]"), ("modules.json", "[{}]")],
)
def test_a_file_without_what_it_should_hold_is_told(folder: Path, name: str, content: str):
    (folder / name).write_text(content)
    with pytest.raises(ModelError, match="is not what it should be"):
        layout.read(folder)


@pytest.mark.parametrize("kind", ["sentence_transformers.models.Dense", "evil.Pooling"])
def test_steps_that_are_not_known_are_refused(folder: Path, kind: str):
    steps = json.loads((folder / "modules.json").read_text())
    steps[1]["type"] = kind
    (folder / "modules.json").write_text(json.dumps(steps))
    with pytest.raises(ModelError, match="is not served"):
        layout.read(folder)


def test_a_path_outside_the_folder_is_not_followed(folder: Path):
    steps = json.loads((folder / "modules.json").read_text())
    steps[1]["path"] = "../elsewhere"
    (folder / "modules.json").write_text(json.dumps(steps))
    with pytest.raises(ModelError, match="outside the model's folder"):
        layout.read(folder)


def test_without_modules_the_pooling_must_be_said(folder: Path):
    (folder / "modules.json").unlink()
    with pytest.raises(ModelError, match="--pooling last"):
        layout.read(folder)
    assert layout.read(folder, "last").pooling == "last"


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_missing_file_is_named(folder: Path, name: str):
    (folder / name).unlink()
    with pytest.raises(ModelError, match=name.rsplit(".", maxsplit=1)[-1]):
        local.load(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_broken_file_is_named(folder: Path, name: str):
    (folder / name).write_bytes(b"{ not what it should be")
    with pytest.raises(ModelError, match=str(folder)):
        local.load(folder)


def test_a_missing_weight_is_an_error(folder: Path):
    change_weights(folder, lambda t: t.pop("layers.1.mlp.down_proj.weight"))
    with pytest.raises(ModelError, match=r"1 missing, such as layers.1.mlp.down_proj.weight"):
        local.load(folder)


def test_a_weight_that_is_not_understood_is_an_error(folder: Path):
    change_weights(folder, lambda t: t.update({"adapter.lora_A": torch.zeros(2)}))
    with pytest.raises(ModelError, match=r"unknown, such as adapter.lora_A"):
        local.load(folder)


def test_a_weight_of_another_shape_is_an_error(folder: Path):
    change_weights(folder, lambda t: t.update({"norm.weight": torch.zeros(3)}))
    with pytest.raises(ModelError):
        local.load(folder)


def test_pickled_weights_are_not_loaded(folder: Path):
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="safetensors"):
        local.load(folder)


def test_code_in_the_folder_does_not_run(folder: Path):
    (folder / "modeling_evil.py").write_text("raise SystemExit('this ran')\n")
    local.load(folder)
    edit(folder / "config.json", auto_map={"AutoModel": "modeling_evil.Evil"})
    with pytest.raises(ModelError, match=r"auto_map is \{'AutoModel': 'modeling_evil.Evil'\}"):
        local.load(folder)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("/no/such/folder", "no such folder"),
        ("./nor-this", "no such folder"),
        ("a/b/c", "no such folder"),
    ],
)
def test_a_folder_that_is_not_there_is_told(model: str, said: str):
    with pytest.raises(ModelError, match=said):
        source.find(model)


@pytest.fixture
def hub(qwen_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    """A hub for this process, and an empty cache."""
    with fake_hub(qwen_folder) as hub:
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
        yield hub


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        ((403, "GatedRepo"), "asks for an accepted licence: accept it .* HF_TOKEN"),
        ((401, "GatedRepo"), "asks for an accepted licence"),
        ((403, ""), "asks for an accepted licence"),
        ((401, ""), f"has no model '{MODEL}', or a private one: check --model"),
        ((404, "RepoNotFound"), f"has no model '{MODEL}', or a private one: check --model"),
        ((404, ""), f"has no model '{MODEL}'"),
        ((404, "RevisionNotFound"), f"{MODEL} has no revision 'v9' .*: check --revision"),
        ((500, ""), r"\(status 500\): check the network, set HF_ENDPOINT to a mirror"),
        ((503, ""), r"\(status 503\): .*--model-source modelscope.*local folder.*--model demo"),
    ],
)
def test_what_a_hub_refuses_is_told_with_what_to_do(
    hub: FakeHub, refusal: tuple[int, str], said: str
):
    hub.refuses = refusal
    with pytest.raises(ModelError, match=said) as told:
        source.find(MODEL, "v9")
    assert "\n" not in str(told.value)


def test_a_hub_that_answers_nothing_is_not_waited_for_for_ever(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
):
    """The hub client's own request for a commit has no time limit."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DOWNLOAD_TIMEOUT", 0.3)
    hub.silent = True
    with pytest.raises(ModelError, match=r"\(ReadTimeout\): check the network"):
        source.find(MODEL)


def test_offline_without_the_model_says_which_variable_forbids_it(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match=r"cache \(.*HF_HUB_OFFLINE forbids.*local folder"):
        source.find(MODEL)
    assert not hub.requests


def test_modelscope_without_its_package_names_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setitem(sys.modules, "modelscope_hub", None)
    monkeypatch.setenv("TQDM_DISABLE", "1")
    with pytest.raises(ModelError, match=r'pip install "qwire\[modelscope\]"'):
        source.find(MODEL, model_source="modelscope")


def test_more_tokens_than_the_model_takes_are_refused(folder: Path):
    with pytest.raises(ModelError, match="at most 512"):
        local.load(folder, max_tokens=513)


def test_a_queue_that_could_not_hold_one_text_is_refused(folder: Path):
    with pytest.raises(StartError, match="--request-tokens 100"):
        local.load(folder, request_tokens=100)


class TestFingerprint:
    """It changes whenever the vectors may, and only then."""

    def test_a_copy_of_the_folder_under_another_name_has_the_same(
        self, folder: Path, tmp_path: Path
    ):
        copy = shutil.copytree(folder, tmp_path / "other-name")
        assert local.load(copy).served.fingerprint == local.load(folder).served.fingerprint

    def test_one_changed_weight_changes_it(self, folder: Path):
        before = content(folder)
        change_weights(folder, lambda t: t["norm.weight"].add_(0.001))
        assert content(folder) != before

    def test_another_tokenizer_changes_it(self, folder: Path):
        before = content(folder)
        with (folder / "tokenizer.json").open("a") as file:
            file.write(" ")
        assert content(folder) != before

    @pytest.mark.parametrize(
        "settings", [{"dtype": "bfloat16"}, {"pooling": "mean"}, {"max_tokens": 100}]
    )
    def test_settings_that_change_vectors_change_it(
        self, folder: Path, settings: dict[str, object]
    ):
        plain = local.load(folder).served
        assert local.load(folder, **settings).served.fingerprint != plain.fingerprint

    def test_another_default_prompt_changes_it(self, folder: Path):
        before = local.load(folder).served.fingerprint
        edit(folder / "config_sentence_transformers.json", prompts={"query": "q: "})
        assert local.load(folder).served.fingerprint != before


def test_shards_load(tmp_path: Path):
    """Checkpoints of 4B and 8B come in several files."""
    folder = tiny_qwen3(tmp_path / "model")
    whole = local.embed(local.load(folder), ["a text"])
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(tensors)
    index: dict[str, str] = {}
    for i, part in enumerate([names[::2], names[1::2]]):
        file = f"model-0000{i + 1}-of-00002.safetensors"
        save_file({n: tensors[n] for n in part}, folder / file, metadata={"format": "pt"})
        index |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": 1}, "weight_map": index})
    )
    assert (local.embed(local.load(folder), ["a text"]) == whole).all()


def test_a_model_from_the_hubs_cache_is_known_by_its_commit(
    qwen_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The cache as huggingface_hub lays it out; nothing is asked of the network."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    repository = tmp_path / "models--Acme--Tiny-Qwen3"
    shutil.copytree(qwen_folder, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    from_cache = local.load("Acme/Tiny-Qwen3").served
    assert (from_cache.model, from_cache.revision) == ("Acme/Tiny-Qwen3", commit)
    assert from_cache.fingerprint == local.load(qwen_folder).served.fingerprint
