"""Every byte of every weight file counts in the fingerprint, and is hashed once."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from qwire.fingerprint import parse_fingerprint
from qwire_server.checkpoint import hash_memory, weight_hashes
from qwire_server.checkpoint.weight_files import weight_files
from qwire_server.checkpoint.weight_hashes import WeightHashes
from qwire_server.errors import ModelError
from support import local


@pytest.fixture
def folder(qwen_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return shutil.copytree(qwen_folder, tmp_path / "model")


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of its own, for files that are new too."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(hash_memory, "_SETTLED_SECONDS", 0.0)
    return tmp_path / "cache" / "qwire" / "sha256.json"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that were read to be hashed."""
    read, seen = WeightHashes._read, []

    def note(self: WeightHashes, path: Path) -> str:
        seen.append(path)
        return read(self, path)

    monkeypatch.setattr(WeightHashes, "_read", note)
    return seen


def hashes(folder: Path) -> dict[str, str]:
    with WeightHashes(folder, weight_files(folder)) as running:
        return running.result()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_hash_is_that_of_the_whole_file(folder: Path, memory: Path):
    assert hashes(folder) == {"model.safetensors": sha256(folder / "model.safetensors")}


@pytest.mark.parametrize("at", [1, 1000, 5000, -1])
def test_one_bit_anywhere_changes_the_content_part_alone(folder: Path, memory: Path, at: int):
    before = parse_fingerprint(local.load(folder).served.fingerprint)
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    begin = 8 + struct.unpack("<Q", content[:8])[0]
    place = (begin + 4 * at if at > 0 else len(content) + 4 * at) // 4 * 4
    content[place] ^= 1  # the last bit of a float
    path.write_bytes(content)
    after = parse_fingerprint(local.load(folder).served.fingerprint)
    assert before
    assert after
    assert before.content != after.content
    assert before._replace(content=after.content) == after


def test_a_hash_is_remembered_until_the_file_changes(folder: Path, memory: Path, reads: list[Path]):
    first = hashes(folder)
    assert hashes(folder) == first
    assert len(reads) == 1
    tensors = load_file(folder / "model.safetensors")
    tensors["norm.weight"] *= 3
    old = (folder / "model.safetensors").stat()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    os.utime(folder / "model.safetensors", ns=(old.st_atime_ns, old.st_mtime_ns))
    assert hashes(folder) != first
    assert hashes(folder) == {"model.safetensors": sha256(folder / "model.safetensors")}


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "3", '{"a": 1}', "[" * 100_000, '{"PATH": [STAMP, "short"]}']
)
def test_a_memory_that_is_broken_is_made_anew(
    folder: Path, memory: Path, reads: list[Path], content: str
):
    path = folder / "model.safetensors"
    memory.parent.mkdir(parents=True)
    stamp = json.dumps(hash_memory.stamp(path))
    memory.write_text(content.replace("PATH", str(path.resolve())).replace("STAMP", stamp))
    assert hashes(folder)["model.safetensors"] == sha256(path)
    assert hashes(folder)["model.safetensors"] == sha256(path)
    assert len(reads) == 1


def test_where_nothing_can_be_written_each_start_hashes_anew(
    folder: Path, memory: Path, reads: list[Path]
):
    memory.parent.parent.write_text("a file, where the folder should be")
    assert hashes(folder) == hashes(folder)
    assert len(reads) == 2


def test_a_file_that_changed_just_now_is_not_remembered(
    folder: Path, memory: Path, monkeypatch: pytest.MonkeyPatch
):
    """A write within the same tick of the file system's clock would not be seen."""
    monkeypatch.setattr(hash_memory, "_SETTLED_SECONDS", 3600.0)
    hashes(folder)
    assert not memory.exists()


def test_the_hubs_cache_names_its_files_by_their_hash(
    folder: Path, tmp_path: Path, memory: Path, reads: list[Path]
):
    cache = tmp_path / "models--Acme--Tiny"
    snapshot, blobs = cache / "snapshots" / "c0ffee", cache / "blobs"
    shutil.copytree(folder, snapshot)
    blobs.mkdir()
    digest = sha256(folder / "model.safetensors")
    (snapshot / "model.safetensors").rename(blobs / digest)
    (snapshot / "model.safetensors").symlink_to(f"../../blobs/{digest}")
    assert hashes(snapshot) == {"model.safetensors": digest}
    assert not reads
    assert local.load(snapshot).served.fingerprint == local.load(folder).served.fingerprint


def test_a_name_like_a_hash_elsewhere_is_not_believed(
    folder: Path, tmp_path: Path, memory: Path, reads: list[Path]
):
    (folder / "blobs").mkdir()
    (folder / "model.safetensors").rename(folder / "blobs" / ("0" * 64))
    (folder / "model.safetensors").symlink_to(f"blobs/{'0' * 64}")
    assert hashes(folder)["model.safetensors"] == sha256(folder / "model.safetensors")
    assert len(reads) == 1


def test_a_file_that_changes_while_it_is_read_is_refused(
    folder: Path, memory: Path, monkeypatch: pytest.MonkeyPatch
):
    looks = iter([[1, 1, 1, 1, 1], [2, 2, 2, 2, 2]])
    monkeypatch.setattr(weight_hashes, "stamp", lambda _: next(looks))
    with pytest.raises(ModelError, match="changed while it was read"):
        hashes(folder)


class TestFiles:
    """What is loaded is what is hashed: safetensors by content, whatever the name."""

    def pickled(self, path: Path) -> None:
        torch.save({"a": torch.zeros(2)}, path)

    @pytest.mark.parametrize("name", ["weights.json", "pytorch_model.bin", "a.safetensors"])
    def test_an_index_that_names_a_pickle_is_refused(self, folder: Path, name: str):
        tensors = load_file(folder / "model.safetensors")
        (folder / "model.safetensors").rename(folder / "x.safetensors")
        self.pickled(folder / name)
        index = {"weight_map": dict.fromkeys(tensors, name)}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        with pytest.raises(ModelError, match=r"pickle|only \*.safetensors"):
            local.load(folder)

    @pytest.mark.parametrize("old", [False, True])
    def test_a_pickle_by_the_name_of_safetensors_is_refused(self, folder: Path, old: bool):
        torch.save(
            {"a": torch.zeros(2)},
            folder / "model.safetensors",
            _use_new_zipfile_serialization=not old,
        )
        with pytest.raises(ModelError, match="it is a pickle"):
            local.load(folder)

    @pytest.mark.parametrize("name", ["adapter_model.bin", "model.bin", "weights.json", "nowhere"])
    def test_transformers_weights_names_safetensors_only(self, folder: Path, name: str):
        self.pickled(folder / name)
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "transformers_weights": name}))
        with pytest.raises(ModelError, match="transformers_weights"):
            local.load(folder)

    def test_files_that_transformers_weights_names_are_loaded_and_hashed(self, folder: Path):
        (folder / "model.safetensors").rename(folder / "other.safetensors")
        config = json.loads((folder / "config.json").read_text())
        config["transformers_weights"] = "other.safetensors"
        (folder / "config.json").write_text(json.dumps(config))
        assert [path.name for path in weight_files(folder)] == ["other.safetensors"]
        before = local.load(folder)
        tensors = load_file(folder / "other.safetensors")
        tensors["embed_tokens.weight"] = tensors["embed_tokens.weight"].flip(0)
        save_file(tensors, folder / "other.safetensors", metadata={"format": "pt"})
        after = local.load(folder)
        assert (local.embed(before, ["a"]) != local.embed(after, ["a"])).any()
        assert before.served.fingerprint != after.served.fingerprint

    def test_safetensors_that_are_not_loaded_do_not_count(self, folder: Path):
        before = local.load(folder).served.fingerprint
        save_file({"a": torch.zeros(3)}, folder / "consolidated.safetensors")
        assert local.load(folder).served.fingerprint == before

    @pytest.mark.parametrize(
        "header",
        [
            b"[]",
            b"3",
            b"{",
            b"[" * 100_000,
            b'{"a": 3}',
            b'{"a": {"dtype": "F32"}}',
            b'{"a": {"dtype": "F32", "shape": "x", "data_offsets": [0, 0]}}',
            b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 0]}}',
            b'{"a": {"dtype": [], "shape": [1], "data_offsets": [0, 0]}}',
        ],
    )
    def test_a_broken_header_is_a_sentence(self, folder: Path, header: bytes):
        path = folder / "model.safetensors"
        path.write_bytes(struct.pack("<Q", len(header)) + header)
        with pytest.raises(ModelError, match="safetensors") as error:
            local.load(folder)
        assert "\n" not in str(error.value)
