"""What other programs have downloaded, in the layouts that they use; files are headers before holes."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from conftest import without_rights
from fake_hub import SparseFile
from hub_files import config_json, gguf_file, gguf_shards, mlx_files, mmproj_file
from test_local_files import put

from deployfit.sources.store import Places
from deployfit.sources.stored import StoredModel, all_stores, stored_models

SHA, OLDER = "a" * 40, "b" * 40


def found(home: Path, **environment: str) -> dict[str, StoredModel]:
    return {model.name: model for model in stored_models(Places(environment, str(home)))}


def faults(home: Path, **environment: str) -> dict[str, str]:
    return {name: model.fault for name, model in found(home, **environment).items()}


def cached(hub: Path, name: str, files: Mapping[str, SparseFile | bytes], commit: str = SHA, main: bool = True) -> Path:
    """A repository in the Hugging Face cache: blobs, a ref, a snapshot of relative links."""
    folder = hub / f"models--{name.replace('/', '--')}"
    (folder / "blobs").mkdir(parents=True, exist_ok=True)
    if main:
        put(folder, {"refs/main": commit.encode()})
    for file, content in files.items():
        blob = hashlib.sha1(f"{name} {file} {commit}".encode()).hexdigest()
        put(folder, {f"blobs/{blob}": content})
        link = folder / "snapshots" / commit / file
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(folder / "blobs" / blob, link.parent))
    return folder


def ollama_model(store: Path, name: str, blob: SparseFile | bytes, kind: str = "model") -> tuple[Path, Path]:
    """A tag of Ollama's: a manifest that names a blob."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    size = blob.size if isinstance(blob, SparseFile) else len(blob)
    layer = {"mediaType": f"application/vnd.ollama.image.{kind}", "digest": f"sha256:{digest}", "size": size}
    config = {"mediaType": "application/vnd.docker.container.image.v1+json", "digest": "sha256:" + "0" * 64, "size": 9}
    manifest = {"schemaVersion": 2, "config": config, "layers": [layer]}
    put(store, {f"manifests/{name}": json.dumps(manifest).encode(), f"blobs/sha256-{digest}": blob})
    return store / "manifests" / name, store / "blobs" / f"sha256-{digest}"


@pytest.fixture
def small(tmp_path: Path) -> SparseFile:
    return gguf_file(tmp_path, "Qwen3.5-0.8B", "Q4_0")


def test_every_store_is_looked_through(tmp_path: Path, small: SparseFile) -> None:
    hub = tmp_path / ".cache/huggingface/hub"
    mlx = {"config.json": config_json("Qwen3.5-0.8B"), **mlx_files("Qwen3.5-0.8B", "q4_g64", 2), "README.md": b"#"}
    cached(hub, "mlx-community/Qwen3.5-0.8B-4bit", mlx)
    quants = {"m-Q4_0.gguf": small, "m-Q8_0.gguf": gguf_file(tmp_path, "Qwen3.5-0.8B", "Q8_0"), "imatrix_x.gguf": small}
    cached(hub, "unsloth/m-GGUF", {**quants, "mmproj-F16.gguf": mmproj_file(tmp_path, 1024)})
    put(hub, {"version.txt": b"1", "datasets--a--b/refs/main": b"x"})
    put(tmp_path / ".lmstudio/models", {"lmstudio-community/m-GGUF/m-Q4_0.gguf": small})
    put(tmp_path / ".cache/lm-studio/models", {"old/m/m.gguf": small})
    ollama_model(tmp_path / ".ollama/models", "registry.ollama.ai/library/qwen3.5/0.8b", small)
    ollama_model(tmp_path / ".ollama/models", "hf.co/unsloth/m-GGUF/Q4_0", small)
    put(tmp_path / "Library/Caches/llama.cpp", gguf_shards(tmp_path, "Qwen3.5-0.8B", "Q4_0", 2, "ggml-org_m_m-Q4_0"))
    put(tmp_path / "Library/Caches/llama.cpp", {"ggml-org_m_m-Q4_0.gguf.etag": b"x", "manifest=a=b=latest.json": b"{}"})
    models = found(tmp_path)
    assert {name: model.fault for name, model in models.items()} == dict.fromkeys(models, "")
    assert {(model.store, model.name) for model in models.values()} == {
        ("Hugging Face", "mlx-community/Qwen3.5-0.8B-4bit"),
        ("Hugging Face", "unsloth/m-GGUF/m-Q4_0.gguf"),
        ("Hugging Face", "unsloth/m-GGUF/m-Q8_0.gguf"),
        ("LM Studio", "lmstudio-community/m-GGUF"),
        ("LM Studio", "old/m"),
        ("llama.cpp", "ggml-org_m_m-Q4_0"),
        ("Ollama", "qwen3.5:0.8b"),
        ("Ollama", "hf.co/unsloth/m-GGUF:Q4_0"),
    }
    for model in models.values():
        assert model.opened is not None
        assert model.opened.model is not None
        assert model.opened.model.name == model.name
        assert model.opened.quant is not None
    assert models["qwen3.5:0.8b"].nbytes == small.size
    assert [store.NAME for store in all_stores()] == ["Hugging Face", "llama.cpp", "LM Studio", "Ollama"]


PLACES = {
    "HF_HUB_CACHE": "",
    "HUGGINGFACE_HUB_CACHE": "",
    "HF_HOME": "hub",
    "XDG_CACHE_HOME": "huggingface/hub",
}


@pytest.mark.parametrize("variable", PLACES)
def test_the_hugging_face_cache_is_where_its_variables_say(variable: str, tmp_path: Path, small: SparseFile) -> None:
    cached(tmp_path / "moved" / PLACES[variable], "a/m", {"m.gguf": small})
    assert faults(tmp_path / "home", **{variable: str(tmp_path / "moved")}) == {"a/m": ""}
    assert faults(tmp_path, **{variable: "~/moved"}) == {"a/m": ""}


def test_the_others_are_where_their_variables_and_settings_say(tmp_path: Path, small: SparseFile) -> None:
    ollama_model(tmp_path / "o", "registry.ollama.ai/library/m/latest", small)
    put(tmp_path / "l", {"own_m.gguf": small})
    cached(tmp_path / "l", "new/m", {"n.gguf": small})
    put(tmp_path / "studio", {"me/m/m.gguf": small})
    put(
        tmp_path / "home/.lmstudio",
        {"settings.json": json.dumps({"downloadsFolder": str(tmp_path / "studio")}).encode()},
    )
    assert faults(tmp_path / "home", OLLAMA_MODELS=str(tmp_path / "o"), LLAMA_CACHE=str(tmp_path / "l")) == {
        "m:latest": "",
        "own_m": "",
        "new/m": "",
        "me/m": "",
    }
    put(tmp_path / "elsewhere", {"models/you/m/m.gguf": small})
    put(tmp_path / "away", {".lmstudio-home-pointer": str(tmp_path / "elsewhere").encode() + b"\n"})
    assert faults(tmp_path / "away") == {"you/m": ""}


def test_a_file_that_two_programs_share_is_listed_once(tmp_path: Path, small: SparseFile) -> None:
    cached(tmp_path / "hub", "a/m", {"m.gguf": small})
    assert (
        len(
            list(
                stored_models(Places({"HF_HUB_CACHE": str(tmp_path / "hub"), "LLAMA_CACHE": str(tmp_path / "hub")}, ""))
            )
        )
        == 1
    )


def test_another_commit_is_listed_if_its_files_are_others(tmp_path: Path, small: SparseFile) -> None:
    hub = tmp_path / "hub"
    cached(hub, "a/m", {"m.gguf": small}, OLDER, main=False)
    folder = cached(hub, "a/m", {"m.gguf": small})
    again = folder / "snapshots" / ("c" * 40)
    again.mkdir()
    (again / "m.gguf").symlink_to(os.readlink(folder / "snapshots" / SHA / "m.gguf"))
    assert faults(tmp_path, HF_HUB_CACHE=str(hub)) == {"a/m": "", f"a/m@{OLDER[:8]}": ""}


def test_what_is_wrong_is_said_and_the_rest_goes_on(tmp_path: Path, small: SparseFile) -> None:
    hub, studio, ollama = (
        tmp_path / ".cache/huggingface/hub",
        tmp_path / ".lmstudio/models",
        tmp_path / ".ollama/models",
    )
    put(tmp_path, {"outside.gguf": small, "config.json": config_json("Qwen3.5-0.8B")})
    cached(hub, "good/m", {"m.gguf": small})
    put(hub, {"models--half/blobs/0123.incomplete": b"GG", "models--half/refs/main": SHA.encode()})
    dangling = cached(hub, "dangling/m", {"model.safetensors": small, "config.json": config_json("Qwen3.5-0.8B")})
    next((dangling / "blobs").glob(hashlib.sha1(f"dangling/m model.safetensors {SHA}".encode()).hexdigest())).unlink()
    cached(hub, "tokenizer/only", {"tokenizer.json": b"{}", "config.json": b"{}"})
    shards = mlx_files("Qwen3.5-0.8B", "q4_g64", 3)
    shards.popitem()
    cached(hub, "shards/missing", {"config.json": config_json("Qwen3.5-0.8B"), **shards})
    escaped = cached(hub, "escaped/m", {"README.md": b"#"})
    (escaped / "snapshots" / SHA / "m.gguf").symlink_to(tmp_path / "outside.gguf")
    sneaky = cached(hub, "sneaky/m", mlx_files("Qwen3.5-0.8B", "q4_g64", 1))
    (sneaky / "snapshots" / SHA / "config.json").symlink_to(tmp_path / "config.json")
    put(
        studio,
        {
            "a/good/m.gguf": small,
            "a/broken/m.gguf": b"GGUF" + b"\xff" * 100,
            "a/loading/downloading_m.gguf.part": b"GG",
            "a/mixed/m-Q4_0.gguf": small,
            "a/empty/notes.txt": b"",
            "b/evil\x1b[2J/m.gguf": small,
        },
    )
    (studio / "a/mixed/m-Q8_0.gguf").symlink_to(tmp_path / "outside.gguf")
    ollama_model(ollama, "registry.ollama.ai/library/good/latest", small)
    _, missing = ollama_model(ollama, "registry.ollama.ai/library/missing/latest", small)
    missing.unlink()
    _, pulling = ollama_model(ollama, "registry.ollama.ai/library/pulling/latest", small)
    pulling.rename(f"{pulling}-partial")
    _, short = ollama_model(ollama, "registry.ollama.ai/library/short/latest", small)
    os.truncate(short, 1000)
    _, linked = ollama_model(ollama, "registry.ollama.ai/me/linked/7b", small)
    linked.unlink()
    linked.symlink_to(tmp_path / "outside.gguf")
    ollama_model(ollama, "registry.ollama.ai/library/mlx/latest", b"x" * 1000, "tensor; name=a; dtype=U32; shape=2")
    ollama_model(ollama, "registry.ollama.ai/library/cloud/latest", b"{}", "license")
    put(ollama, {"manifests/registry.ollama.ai/library/bad/latest": b"<html>", "manifests/stray": b"{}"})
    traversal = {"layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:../../outside.gguf"}]}
    put(ollama, {"manifests/registry.ollama.ai/library/evil/latest": json.dumps(traversal).encode()})
    put(tmp_path / "Library/Caches/llama.cpp", {"own_m.gguf.downloadInProgress": b"GG"})
    assert faults(tmp_path) == {
        "good/m": "",
        "half": "half downloaded",
        "dangling/m": "model.safetensors: half downloaded: its content is not there",
        "tokenizer/only": "no model file in it",
        "shards/missing": "half downloaded: 1 of 3 shards are missing",
        "escaped/m/m.gguf": "a link out of the store; it is not followed",
        "sneaky/m": "config.json: a link out of the store; it is not followed",
        "a/good": "",
        "a/broken": "'m.gguf': GGUF version 4294967295; only versions 2 and 3 are read",
        "a/loading": "half downloaded: downloading_m.gguf.part",
        "a/mixed": "",
        "a/mixed/m-Q8_0.gguf": "a link out of the store; it is not followed",
        "a/empty": "no model file in it",
        "b/evil\\x1b[2J": "",
        "good:latest": "",
        "missing:latest": "its blob is missing",
        "pulling:latest": "half downloaded",
        "short:latest": f"half downloaded: 1,000 of {small.size:,} bytes",
        "me/linked:7b": "a link out of the store; it is not followed",
        "mlx:latest": "1 single tensors for Ollama's MLX engine; they are not read",
        "cloud:latest": "no model in its manifest",
        "bad:latest": "its manifest cannot be read: its manifest is not JSON",
        "evil:latest": "its manifest names no blob",
        "own_m": "half downloaded",
    }


def test_no_home_and_no_stores_is_nothing(tmp_path: Path) -> None:
    assert found(tmp_path) == {}
    assert list(stored_models(Places({}, ""))) == []


def test_what_nobody_may_read_is_said(public: Path, small: SparseFile) -> None:
    put(public / ".lmstudio/models", {"a/m/m.gguf": small, "b/m/m.gguf": small, "c/m/m.gguf": small})
    assert set(faults(public).values()) == {""}
    (public / ".lmstudio/models/a/m/m.gguf").chmod(0)
    (public / ".lmstudio/models/b/m").chmod(0)
    with without_rights():
        shown = faults(public)
    (public / ".lmstudio/models/b/m").chmod(0o755)
    assert "Permission denied" in shown["a/m"]
    assert shown["b/m"] == "cannot be read: Permission denied"
    assert shown["c/m"] == ""


def test_a_pipe_in_a_store_is_not_waited_for(tmp_path: Path, small: SparseFile) -> None:
    hub = tmp_path / ".cache/huggingface/hub"
    cached(hub, "a/m", {"m.gguf": small}, main=False)
    put(tmp_path / ".lmstudio/models", {"c/m/m.gguf": small})
    ollama_model(tmp_path / ".ollama/models", "registry.ollama.ai/library/new/1b", small)
    for pipe in (
        hub / "models--a--m/refs/main",
        tmp_path / ".lmstudio-home-pointer",
        tmp_path / ".lmstudio/settings.json",
        tmp_path / ".lmstudio/models/c/m/config.json",
        tmp_path / ".ollama/models/manifests/registry.ollama.ai/library/pipe/1b",
    ):
        pipe.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(pipe)
    shown = faults(tmp_path)
    assert shown == {"a/m": "", "c/m": "", "new:1b": "", "pipe:1b": "its manifest cannot be read: not a file"}


def test_the_library_and_the_engine_of_other_names(tmp_path: Path, small: SparseFile) -> None:
    """Blobs of old versions have a colon in their names; newer manifests are links to blobs."""
    _, blob = ollama_model(tmp_path / "o", "registry.ollama.ai/library/old/1b", small)
    blob.rename(str(blob).replace("sha256-", "sha256:"))
    manifest, _ = ollama_model(tmp_path / "o", "registry.ollama.ai/library/new/1b", small)
    target = tmp_path / "o/manifests-v2/ollama.com/library/new/1b"
    target.parent.mkdir(parents=True)
    manifest.rename(tmp_path / "o/blobs/sha256-manifest")
    target.symlink_to(tmp_path / "o/blobs/sha256-manifest")
    assert faults(tmp_path, OLLAMA_MODELS=str(tmp_path / "o")) == {"old:1b": "", "new:1b": ""}
