"""Models on disk: files, shards, folders and configurations, by their paths. Files are headers before holes."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path

import pytest
from conftest import without_rights
from fake_hub import SparseFile
from hub_files import (
    config_json,
    gguf_entries,
    gguf_file,
    gguf_header,
    gguf_numbers,
    gguf_shards,
    mlx_files,
    mmproj_file,
    safetensors_file,
)

from deployfit import fit
from deployfit.catalogue import data_text, models, rows
from deployfit.errors import DataError, DeployfitError, InputError
from deployfit.formats.mlx import RECIPES
from deployfit.layers.tensor import Part
from deployfit.models import Model
from deployfit.quants.gguf import gguf_recipes, gguf_weights
from deployfit.quants.mlx import mlx_weights
from deployfit.quants.weights import Options, WeightClass, Weights
from deployfit.sources.local import first_bytes
from deployfit.sources.open import find_kind, open_source
from deployfit.sources.opened import Opened

NONE = Options()


def put(folder: Path, files: Mapping[str, SparseFile | bytes]) -> Path:
    """Write files, of which only headers take place on the disk."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as file:
            file.write(content.header if isinstance(content, SparseFile) else content)
            file.truncate(content.size if isinstance(content, SparseFile) else len(content))
    return folder


def model_of(opened: Opened) -> Model:
    assert opened.model is not None
    return opened.model


def weights_of(opened: Opened, options: Options = NONE) -> Weights:
    assert opened.quant is not None
    return opened.quant.weights(model_of(opened), options)


def by_tensor(weights: Weights) -> set[WeightClass]:
    """Classes one layer at a time: how equal ones are gathered does not matter."""
    return {each._replace(layers=(layer,)) for each in weights.classes for layer in each.layers}


@pytest.mark.parametrize(("name", "recipe"), [("Qwen3.5-27B", "Q4_K_M"), ("Qwen3.5-35B-A3B", "IQ2_M")])
def test_a_file_is_its_model_and_its_weights(name: str, recipe: str, tmp_path: Path) -> None:
    """Qwen3.5's layers out of key-values are the catalogue's; every tensor has its role, type and layer."""
    put(tmp_path, {"m.gguf": gguf_file(tmp_path, name, recipe)})
    opened = open_source(str(tmp_path / "m.gguf"))
    known = models()[name]
    assert model_of(opened).blueprint == known.blueprint._replace(drafts=(), vision=None)
    counted = gguf_weights(known, gguf_recipes()[recipe], imatrix=False, mtp=False)
    found = weights_of(opened)
    assert by_tensor(found) == by_tensor(counted)
    assert (found.params, found.format, found.file_bytes) == (
        counted.params,
        "GGUF",
        (tmp_path / "m.gguf").stat().st_size,
    )
    assert opened.quant is not None
    assert opened.quant.name == str(tmp_path / "m.gguf")


def test_one_of_several_shards_stands_for_all(tmp_path: Path) -> None:
    put(tmp_path, gguf_shards(tmp_path, "Qwen3.5-9B", "Q6_K", 3) | {"other-Q4.gguf": b"GGUF"})
    opened = open_source(str(tmp_path / "m-00002-of-00003.gguf"))
    counted = gguf_weights(models()["Qwen3.5-9B"], gguf_recipes()["Q6_K"], imatrix=False, mtp=False)
    assert by_tensor(weights_of(opened)) == by_tensor(counted)
    (tmp_path / "m-00003-of-00003.gguf").unlink()
    with pytest.raises(InputError, match="1 of 3 shards are missing"):
        open_source(str(tmp_path / "m-00001-of-00003.gguf"))


def test_a_shard_under_another_name_is_no_model(tmp_path: Path) -> None:
    put(tmp_path, {"m.gguf": gguf_shards(tmp_path, "Qwen3.5-0.8B", "Q6_K", 2)["m-00001-of-00002.gguf"]})
    with pytest.raises(InputError, match="it says that it is one of 2 shards, and 1 are there"):
        open_source(str(tmp_path / "m.gguf"))


def test_the_tower_beside_it_is_looked_into_if_it_is_to_see(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "m.gguf": gguf_file(tmp_path, "Qwen3.5-0.8B", "Q8_0"),
            "mmproj-of-another.gguf": mmproj_file(tmp_path, 5120),
            "mmproj-F16.gguf": mmproj_file(tmp_path, 1024),
        },
    )
    plain, seeing = (open_source(str(tmp_path / "m.gguf"), vision=vision) for vision in (False, True))
    with pytest.raises(InputError, match="no mmproj beside it; leave out vision"):
        weights_of(plain, Options(vision=True))
    found = weights_of(seeing, Options(vision=True))
    assert found.vision_bytes == 2304 * 768 * 4 + 2 * 768 * (16 * 16 * 3 + 4 * 1024)
    tower = model_of(seeing).blueprint.vision
    assert tower is not None
    assert (tower.depth, tower.hidden_size, tower.out_hidden_size, tower.num_position_embeddings) == (
        12,
        768,
        1024,
        2304,
    )


def test_drafting_and_an_importance_matrix_are_refused_where_they_cannot_be(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "m.gguf": gguf_file(tmp_path, "Qwen3.5-9B", "Q6_K", mtp=True),
            "p.gguf": gguf_file(tmp_path, "Qwen3.5-9B", "Q6_K"),
        },
    )
    drafting = open_source(str(tmp_path / "m.gguf"))
    counted = gguf_weights(models()["Qwen3.5-9B"], gguf_recipes()["Q6_K"], imatrix=False, mtp=True)
    assert weights_of(drafting, Options(mtp=True)).mtp_bytes == counted.mtp_bytes > 0
    assert model_of(drafting).blueprint.drafts == models()["Qwen3.5-9B"].blueprint.drafts
    for options, said in (
        (Options(mtp=True), "the file has no MTP layer"),
        (Options(imatrix=True), "the file is made"),
    ):
        with pytest.raises(InputError, match=said):
            weights_of(open_source(str(tmp_path / "p.gguf")), options)


ROUTERS = {
    f"language_model.model.layers.{layer}.mlp.{gate}": {"group_size": 64, "bits": 8}
    for layer in range(40)
    for gate in ("gate", "shared_expert_gate")
}


def test_a_folder_of_mlx_and_its_config_alone_say_the_same(tmp_path: Path) -> None:
    config = config_json("Qwen3.5-35B-A3B", quantization={"group_size": 64, "bits": 4, **ROUTERS})
    put(tmp_path, {"config.json": config, **mlx_files("Qwen3.5-35B-A3B", "q4_g64", 3)})
    recipe = next(each for each in rows(RECIPES) if each.name == "q4_g64")
    counted = mlx_weights(models()["Qwen3.5-35B-A3B"], recipe, vision=True)
    whole, alone = open_source(str(tmp_path)), open_source(str(tmp_path / "config.json"))
    assert model_of(whole).blueprint == model_of(alone).blueprint == models()["Qwen3.5-35B-A3B"].blueprint
    assert by_tensor(weights_of(whole)) == by_tensor(counted)
    assert by_tensor(weights_of(alone, Options(vision=True))) == by_tensor(counted)
    assert weights_of(whole).params == weights_of(alone, Options(vision=True)).params == 34_660_610_688 + 446_571_248
    assert weights_of(alone).vision_bytes == 0


def test_the_bits_of_single_modules_are_honoured(tmp_path: Path) -> None:
    """Six bits of the output head, in a text-only fine-tune's config.json."""
    head = {"language_model.lm_head": {"group_size": 64, "bits": 6}}
    texts = {bits: {"group_size": 64, "bits": 4, **(head if bits == 6 else {})} for bits in (4, 6)}
    sizes = {}
    for bits, quantization in texts.items():
        put(tmp_path, {"config.json": config_json("Qwen3.5-9B", quantization=quantization)})
        opened = open_source(str(tmp_path / "config.json"))
        sizes[bits] = weights_of(opened).tensor_bytes
    assert sizes[6] - sizes[4] == 248_320 * 4096 * 2 // 8


def test_a_catalogue_of_ones_own_says_how_its_models_are_packed(tmp_path: Path) -> None:
    """One config.json, two by name in one object, and a CSV with a folder: each as its config.json alone."""
    block = {"quantization": {"group_size": 64, "bits": 4}}
    packed, plain = (json.loads(config_json("Qwen3.5-9B", **more)) for more in (block, {}))
    put(tmp_path, {"mine/config.json": json.dumps(packed).encode()})
    put(tmp_path, {"two.json": json.dumps({"Mine": packed, "Plain": plain}).encode()})
    (row,) = (line for line in data_text("models.csv").splitlines() if line.startswith("Qwen3.5-9B,"))
    header = data_text("models.csv").splitlines()[0]
    put(tmp_path, {"own.csv": f"{header}\n{row}\n".encode(), "configs/Qwen3.5-9B.json": json.dumps(packed).encode()})
    (alone,) = fit(str(tmp_path / "mine" / "config.json"), mac=32)
    for model, file in (("Mine", "mine/config.json"), ("Mine", "two.json"), ("Qwen3.5-9B", "own.csv")):
        (answer,) = fit(model, catalog=str(tmp_path / file), mac=32)
        assert answer.estimate.total_bytes == alone.estimate.total_bytes
        with pytest.raises(InputError, match=r"which llama\.cpp does not load"):
            fit(model, catalog=str(tmp_path / file), mac=32, runtime="llama.cpp")
        (named,) = fit(model, "Q4_K_M", catalog=str(tmp_path / file), mac=32)
        assert named.weights.recipe == "Q4_K_M"
    assert len(fit("Plain", catalog=str(tmp_path / "two.json"), mac=32)) > 20


def test_a_config_without_quantization_is_a_model_without_a_file(tmp_path: Path) -> None:
    put(tmp_path, {"my-model/config.json": config_json("Qwen3.5-4B")})
    opened = open_source(str(tmp_path / "my-model" / "config.json"))
    assert (model_of(opened).name, opened.quant) == ("my-model", None)
    put(tmp_path, {"config.json": config_json("Qwen3.5-4B", quantization_config={"quant_method": "gptq", "bits": 4})})
    gptq = open_source(str(tmp_path / "config.json"))
    assert gptq.quant is None
    assert gptq.notes == ("config.json says that it is quantized with gptq, which no runtime of a Mac loads",)


def test_an_architecture_that_nobody_wrote_has_its_weights_all_the_same(tmp_path: Path) -> None:
    numbers = {
        "block_count": 4,
        "embedding_length": 256,
        "context_length": 8192,
        "attention.head_count": 8,
        "attention.head_count_kv": [2, 2, 0, 2],
        "attention.key_length": 64,
        "attention.value_length": 64,
        "attention.sliding_window": 1024,
        "attention.sliding_window_pattern": [True, False, True, True],
    }
    entries = [("token_embd.weight", (256, 1000), "Q8_0"), ("blk.0.attn_q.weight", (256, 512), "Q4_K")]
    entries += [("blk.1.ffn_up_exps.weight", (256, 512, 8), "Q4_K"), ("blk.2.mystery.weight", (256, 64), "F32")]
    put(tmp_path, {"m.gguf": gguf_header(tmp_path, "newthing", numbers, entries)})
    opened = open_source(str(tmp_path / "m.gguf"))
    assert (opened.model, opened.architecture) == (None, "newthing")
    assert "architecture newthing: deployfit does not know how it runs" in opened.notes
    assert opened.quant is not None
    found = opened.quant.weights(None, NONE)  # type: ignore[arg-type]
    assert found.tensor_bytes == 1000 * 256 // 32 * 34 + 256 * 512 * (1 + 8) // 256 * 144 + 256 * 64 * 4
    assert found.expert_bytes == 256 * 512 * 8 // 256 * 144
    assert [each.role for each in found.classes if each.role == "unknown"] == ["unknown"]
    assert any("1 tensors of unknown purpose (blk.2.mystery.weight; 0.00 GB)" in note for note in found.notes)
    assert opened.assumed is not None
    mixers = [layer.mixer for layer in opened.assumed.layers]
    assert [mixer and (mixer.kv_heads, mixer.head_dim, mixer.window) for mixer in mixers] == [  # type: ignore[union-attr]
        *((2, 64, 1024), (2, 64, 0), None, (2, 64, 1024))
    ]


@pytest.mark.parametrize("key", ["ssm.state_size", "attention.kv_lora_rank"])
def test_what_is_no_plain_attention_is_not_taken_for_it(key: str, tmp_path: Path) -> None:
    numbers = {"block_count": 4, "embedding_length": 256, "attention.head_count": 8, key: 64}
    put(tmp_path, {"m.gguf": gguf_header(tmp_path, "newthing", numbers, [("token_embd.weight", (256, 1000), "Q8_0")])})
    assert open_source(str(tmp_path / "m.gguf")).assumed is None


def test_a_checkpoint_of_an_unknown_architecture_and_one_without_config(tmp_path: Path) -> None:
    entries = [("model.embed_tokens.weight", "BF16", (1000, 64), 128_000)]
    entries += [(f"model.layers.0.block_sparse_moe.experts.{i}.w1.weight", "BF16", (64, 64), 8192) for i in range(4)]
    put(tmp_path, {"model.safetensors": safetensors_file(entries), "config.json": b'{"model_type": "newthing"}'})
    unknown = open_source(str(tmp_path))
    assert (unknown.model, unknown.architecture, unknown.assumed) == (None, "newthing", None)
    assert unknown.quant is not None
    assert unknown.quant.weights(None, NONE).tensor_bytes == 128_000 + 4 * 8192  # type: ignore[arg-type]
    (tmp_path / "config.json").unlink()
    bare = open_source(str(tmp_path))
    assert bare.model is None
    assert "no config.json beside it, so its architecture is not known" in bare.notes


def named(folder: Path) -> dict[str, tuple[str, str]]:
    """Paths that are no model, and what is said of each."""
    header = gguf_file(folder, "Qwen3.5-0.8B", "Q4_0")
    many = gguf_header(
        folder, "qwen35", gguf_numbers(models()["Qwen3.5-0.8B"], mtp=False), gguf_entries("Qwen3.5-0.8B", "Q4_0")[:40]
    )
    lora = safetensors_file([("base_model.model.layers.0.self_attn.q_proj.lora_A.weight", "F32", (8, 64), 2048)])
    put(
        folder,
        {
            "cut.gguf": header.header[:100],
            "empty.gguf": b"",
            "text.gguf": b"<html>" + b" " * 1000,
            "notes.txt": b"hello",
            "bad.json": b"{" * 100_000,
            "wrong.json": json.dumps({"model_type": "qwen3_5", "hidden_size": -1}).encode(),
            "huge.json": b'{"a":"' + b" " * 5_000_000 + b'"}',
            "other.json": b'{"model_type": "some\\u001b[31mthing"}',
            "long.safetensors": struct.pack("<Q", 10**9) + b"{" + b" " * 100,
            "two/a.gguf": header,
            "two/b.gguf": header,
            "none/README.md": b"#",
            "lora/adapter_model.safetensors": lora,
            "lora/config.json": config_json("Qwen3.5-0.8B"),
            "part.gguf": many,
        },
    )
    os.mkfifo(folder / "pipe.gguf")
    (folder / "gone.gguf").symlink_to("nowhere.gguf")
    return {
        "cut.gguf": ("DataError", "runs past the end of the file, which has 100 bytes"),
        "empty.gguf": ("DataError", "runs past the end of the file, which has 0 bytes"),
        "text.gguf": ("DataError", "not a GGUF file: it begins with '<htm'"),
        "notes.txt": ("InputError", "no model; give a .gguf file, a folder of safetensors, or a config.json"),
        "bad.json": ("DataError", "is not JSON"),
        "wrong.json": ("DataError", "hidden_size: expected a whole number"),
        "huge.json": ("InputError", "no model; give a .gguf file"),
        "other.json": ("InputError", r"'some\x1b[31mthing' is an architecture that deployfit does not know"),
        "long.safetensors": ("DataError", "the header runs past the end of the file"),
        "two": ("InputError", "2 models; choose one with file '*PATTERN*': a.gguf, b.gguf"),
        "none": ("InputError", "no model file in it"),
        "lora": ("InputError", "missing, so it is no whole model"),
        "part.gguf": ("InputError", "missing, so it is no whole model"),
        "pipe.gguf": ("InputError", "not a file"),
        "gone.gguf": ("InputError", "no such file or folder"),
        "nowhere/m.gguf": ("InputError", "no such file or folder"),
    }


def test_what_is_no_model_is_said_in_one_line(tmp_path: Path) -> None:
    for name, (kind, said) in named(tmp_path).items():
        with pytest.raises(DeployfitError) as caught:
            open_source(str(tmp_path / name))
        assert type(caught.value).__name__ == kind, name
        line = str(caught.value)
        assert said in line, name
        if name != "wrong.json":
            assert line.isprintable(), name
    assert open_source(str(tmp_path / "two"), pattern="a.gguf").model is not None


def test_an_unreadable_file_is_said_in_one_line(public: Path) -> None:
    put(public, {"m.gguf": b"GGUF"})
    (public / "m.gguf").chmod(0)
    with without_rights(), pytest.raises(InputError, match="Permission denied"):
        open_source(str(public / "m.gguf"))


def test_only_headers_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, {"m.gguf": gguf_file(tmp_path, "Qwen3.5-27B", "BF16")})
    wanted = []

    def counting(path: str, nbytes: int) -> bytes:
        wanted.append(nbytes)
        return first_bytes(path, nbytes)

    monkeypatch.setattr("deployfit.sources.local.first_bytes", counting)
    open_source(str(tmp_path / "m.gguf"))
    assert 0 < max(wanted) < 16 * 2**20


def test_names_with_escapes_stay_names(tmp_path: Path) -> None:
    evil = "a\x1b[31m\n::error::b.gguf"
    put(tmp_path, {evil: gguf_file(tmp_path, "Qwen3.5-0.8B", "Q4_0")})
    opened = open_source(str(tmp_path / evil))
    assert opened.quant is not None
    for shown in (opened.place, opened.quant.name, model_of(opened).name, *opened.notes, *weights_of(opened).notes):
        assert shown.isprintable()
        assert "::" not in shown or shown.startswith("weights")


KINDS = {
    "hub:a/b": "hub",
    "hub:a/b:Q4_K_M": "hub",
    "https://huggingface.co/a/b": "hub",
    "HF.co/a/b:Q8_0": "hub",
    "./a": "path",
    "~/models": "path",
    "/": "path",
    "Qwen3.5-27B": None,
    "Qwen/Qwen3.5-27B": None,
    "qwen3.5:27b": None,
    "model.gguf": None,
}


@pytest.mark.parametrize("text", KINDS)
def test_kinds_of_sources_by_what_is_typed(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    kind = find_kind(text)
    assert (kind and kind.__name__.rpartition(".")[2]) == KINDS[text]  # type: ignore[attr-defined]
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    if text == "model.gguf":
        assert find_kind(text) is not None


def test_another_kind_of_source_is_another_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from deployfit.sources import kinds
    from deployfit.sources.open import all_kinds

    (tmp_path / "punchcard.py").write_text(
        "def takes(text):\n    return text.startswith('card:')\n"
        "def open_model(text, how):\n    from deployfit.sources.opened import Opened\n"
        "    return Opened(text, 'abacus', None, None)\n"
    )
    monkeypatch.setattr(kinds, "__path__", [*kinds.__path__, str(tmp_path)])
    all_kinds.cache_clear()
    try:
        assert open_source("card:17").architecture == "abacus"
    finally:
        all_kinds.cache_clear()


def test_parts_are_what_they_are_called(tmp_path: Path) -> None:
    """An Ollama blob: one file with a tower and a draft layer in it, without an ending."""
    model = models()["Qwen3.5-0.8B"]
    entries = [
        *gguf_entries("Qwen3.5-0.8B", "Q8_0"),
        ("v.blk.0.attn_q.weight", (64, 64), "F16"),
        ("mtp.fc.weight", (64, 64), "F16"),
    ]
    blob = gguf_header(tmp_path, "qwen35", gguf_numbers(model, mtp=False), entries)
    put(tmp_path, {"sha256-0123": blob})
    found = weights_of(open_source(str(tmp_path / "sha256-0123")))
    assert (found.bytes_of(Part.VISION), found.bytes_of(Part.MTP)) == (8192, 8192)


def test_a_data_error_of_numbers_names_the_file(tmp_path: Path) -> None:
    numbers = gguf_numbers(models()["Qwen3.5-0.8B"], mtp=False) | {"attention.head_count": 7}
    put(tmp_path, {"m.gguf": gguf_header(tmp_path, "qwen35", numbers, gguf_entries("Qwen3.5-0.8B", "Q8_0"))})
    with pytest.raises(DataError, match=r"m\.gguf"):
        open_source(str(tmp_path / "m.gguf"))


def test_numbers_that_do_not_describe_the_tensors_are_said(tmp_path: Path) -> None:
    """A config.json of another model beside the weights."""
    put(tmp_path, {"config.json": config_json("Qwen3.5-2B"), **mlx_files("Qwen3.5-0.8B", "bf16", 1)})
    notes = weights_of(open_source(str(tmp_path))).notes
    assert any("its numbers describe" in note and "one of them is wrong" in note for note in notes)
    put(tmp_path, {"config.json": config_json("Qwen3.5-0.8B")})
    assert not any("one of them is wrong" in note for note in weights_of(open_source(str(tmp_path))).notes)


def test_options_of_the_hub_are_refused_for_files(tmp_path: Path) -> None:
    put(tmp_path, {"m.gguf": gguf_file(tmp_path, "Qwen3.5-0.8B", "Q4_0")})
    with pytest.raises(InputError, match="is on this machine; leave out revision"):
        open_source(str(tmp_path / "m.gguf"), revision="main")
    with pytest.raises(InputError, match="is no folder; leave out file"):
        open_source(str(tmp_path / "m.gguf"), pattern="*")


def test_each_of_several_files_of_one_model(tmp_path: Path) -> None:
    """One header is read, the others go by their sizes: within the padding of the tensors."""
    recipes = ("Q4_K_M", "Q8_0", "BF16")
    put(tmp_path, {f"m-{recipe}.gguf": gguf_file(tmp_path, "Qwen3.5-9B", recipe) for recipe in recipes})
    with pytest.raises(InputError, match="3 models; choose one with file"):
        open_source(str(tmp_path))
    opened = open_source(str(tmp_path), each=True)
    model = model_of(opened)
    found = {quant.name: quant.weights(model, NONE) for quant in (opened.quant, *opened.others) if quant}
    assert list(found) == [f"{tmp_path}/m-{recipe}.gguf" for recipe in recipes]
    for recipe in recipes:
        counted = gguf_weights(models()["Qwen3.5-9B"], gguf_recipes()[recipe], imatrix=False, mtp=False)
        weights = found[f"{tmp_path}/m-{recipe}.gguf"]
        assert abs(weights.tensor_bytes - counted.tensor_bytes) < 32 * 500
        assert weights.file_bytes == (tmp_path / f"m-{recipe}.gguf").stat().st_size
    put(tmp_path, {"other-Q4_0.gguf": b"GGUF"})
    with pytest.raises(InputError, match="4 models; choose one with file"):
        open_source(str(tmp_path), each=True)


def test_a_bare_name_of_what_is_here_is_opened_unless_it_is_a_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path, {"mine/m.gguf": gguf_file(tmp_path, "Qwen3.5-0.8B", "Q8_0"), "configs/config.json": b"{}"})
    put(tmp_path, {"llama3.1:8b/m.gguf": b"GGUF", "27B/m.gguf": gguf_file(tmp_path, "Qwen3.5-0.8B", "Q8_0")})
    assert [fit(name, mac=32)[0].quant.name for name in ("mine", "27B")] == ["./mine/m.gguf", "./27B/m.gguf"]
    assert fit("llama3.1:8b", mac=32)[0].quant.name == "ollama:Q4_K_M"
    with pytest.raises(InputError, match=r"no model file in it; for recipes of such a model give './configs/config"):
        fit("configs", mac=32)
