"""Architectures: configurations and GGUF keys become layers; the engines' own parameter counts are the oracle."""

from __future__ import annotations

import copy
import csv
import json
from pathlib import Path

import pytest
from gguf_keys import gguf_keys
from hypothesis import given, settings
from hypothesis import strategies as st

import deployfit.architectures
from deployfit.architectures.registry import ArchitectureRow, blueprint_of_gguf, read_blueprint
from deployfit.catalogue import architectures, data_text, models
from deployfit.errors import DataError, InputError
from deployfit.layers.attention import Attention, LatentAttention
from deployfit.layers.feed import Experts
from deployfit.layers.recurrent import DeltaNet

DATA = Path(__file__).parent / "data"
CATALOGUE = list(models())
BY_SPELLING = {
    spelling.casefold(): name for name, row in models().rows.items() for spelling in (row.name, *row.aliases)
}


def config_of(name: str) -> dict:
    return json.loads(data_text(f"configs/{name}.json"))


def changed(name: str, **changes: object) -> dict:
    """Return a catalogue configuration with other numbers in its text part; None removes one."""
    config = copy.deepcopy(config_of(name))
    text = config.get("text_config", config)
    for key, value in changes.items():
        if value is None:
            text.pop(key, None)
        else:
            text[key] = value
    return config


def read(config: dict):
    return read_blueprint(config, "config.json", architectures())


def faults_of(config: dict) -> list[str]:
    with pytest.raises(DataError) as caught:
        read(config)
    assert all("\n" not in fault and fault.isascii() for fault in caught.value.faults)
    return [fault.removeprefix("config.json: ") for fault in caught.value.faults]


# What the configurations come to


def counted(blueprint, file: str) -> int:
    """Return how many numbers an engine's file of a model holds."""
    text = list(blueprint.text_tensors())
    if file == "MLX":  # it leaves out what nothing reads
        idle = {index: layer.mixer.idle for index, layer in enumerate(blueprint.layers) if is_attention(layer.mixer)}
        text = [tensor for tensor in text if tensor.role not in idle.get(tensor.layer, ())]
        return sum(tensor.params for tensor in text)
    drafts = blueprint.draft_tensors() if file == "GGUF with MTP" else ()
    return sum(tensor.params for tensor in (*text, *drafts)) + blueprint.rope_factors * blueprint.rope_tables


def is_attention(mixer: object) -> bool:
    return isinstance(mixer, Attention)


PARAMETERS = [tuple(row.values()) for row in csv.DictReader((DATA / "parameters.csv").read_text().splitlines())]


@pytest.mark.parametrize(("spelling", "file", "parameters"), PARAMETERS)
def test_layers_hold_as_many_parameters_as_the_engine_counts(spelling: str, file: str, parameters: str):
    blueprint = models()[BY_SPELLING[spelling.casefold()]].blueprint
    assert counted(blueprint, file) == int(parameters)


def test_published_totals_are_met_by_every_model_that_has_one():
    faults = {name: models()[name].faults() for name in CATALOGUE}
    assert {name: found for name, found in faults.items() if found} == {}
    assert sum(row.total_params > 0 for row in models().rows.values()) >= 55


def test_what_does_not_close_says_so():
    for row in models().rows.values():
        assert row.numbers
        assert row.source
        if not row.total_params:
            assert any(word in row.numbers for word in ("published", "counted", "copies", "catalogue")), row.name


def test_every_model_has_a_name_of_its_own_in_any_case():
    spellings = [spelling.casefold() for row in models().rows.values() for spelling in (row.name, *row.aliases)]
    assert len(set(spellings)) == len(spellings)


KINDS = [  # model, layers with a cache, with a window or chunk, with a state; dense layers; caches that are shared
    ("gpt-oss-20b", 24, 12, 0, 0, 0),
    ("Qwen3-8B", 36, 0, 0, 36, 0),
    ("Qwen3-Next-80B-A3B", 12, 0, 36, 0, 0),
    ("Gemma-3-27B", 62, 52, 0, 62, 0),
    ("Gemma-4-31B", 60, 50, 0, 60, 0),
    ("Gemma-4-26B-A4B", 30, 25, 0, 0, 0),
    ("Gemma-4-E4B", 24, 20, 0, 42, 18),
    ("Gemma-4-E2B", 15, 12, 0, 35, 20),
    ("Llama-4-Scout", 48, 36, 0, 0, 0),
    ("GLM-4.7-Flash", 47, 0, 0, 1, 0),
    ("DeepSeek-V3.2", 61, 0, 0, 3, 0),
    ("Kimi-Linear-48B-A3B", 7, 0, 20, 1, 0),
    ("Nemotron-3-Nano-30B-A3B", 6, 0, 23, 0, 0),
    ("Nemotron-3-Super-120B-A12B", 8, 0, 40, 0, 0),
    ("Granite-4.0-H-Small", 4, 0, 36, 0, 0),
    ("LFM2-8B-A1B", 6, 0, 18, 2, 0),
]


@pytest.mark.parametrize(("name", "caches", "windows", "states", "dense", "shared"), KINDS)
def test_layers_are_of_the_kinds_that_the_maker_names(name, caches, windows, states, dense, shared):
    blueprint = models()[name].blueprint
    attentions = [mixer for mixer in blueprint.attentions if isinstance(mixer, Attention)]
    assert len(blueprint.attentions) == caches
    assert sum(bool(mixer.window or mixer.chunk) for mixer in attentions) == windows
    assert len(blueprint.recurrents) == states
    assert sum(layer.feed is not None and not isinstance(layer.feed, Experts) for layer in blueprint.layers) == dense
    assert sum(is_attention(layer.mixer) and layer.mixer.shared_cache for layer in blueprint.layers) == shared


# GGUF files say the same


@pytest.mark.parametrize("name", CATALOGUE)
def test_keys_that_llama_cpp_writes_describe_the_same_layers(name: str):
    blueprint = models()[name].blueprint
    config = config_of(name)
    keys, lists, shapes = gguf_keys(config, blueprint)
    from_keys = blueprint_of_gguf(keys, lists, shapes, "f.gguf", architectures())
    expected = blueprint._replace(
        model_type=from_keys.model_type,  # several may share llama.cpp's name
        vision=None,
        trained_context=keys[f"{blueprint.gguf_architecture}.context_length"],
    )
    assert from_keys == expected


def keys_of(name: str) -> tuple[dict, dict, dict]:
    return gguf_keys(config_of(name), models()[name].blueprint)


def gguf_faults(keys: dict, lists: dict, shapes: dict) -> list[str]:
    with pytest.raises(DataError) as caught:
        blueprint_of_gguf(keys, lists, shapes, "f.gguf", architectures())
    return [fault.removeprefix("f.gguf: ") for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("name", "changes", "start"),
    [
        ("Qwen3.5-27B", {"qwen35.embedding_length": -1}, "qwen35.embedding_length: expected a whole number from 1"),
        (
            "Qwen3.5-27B",
            {"qwen35.block_count": 1},
            "qwen35.block_count: expected a whole number from 1 to 1,000, got '0'",
        ),
        ("Qwen3.5-27B", {"qwen35.ssm.time_step_rank": "x"}, "qwen35.ssm.time_step_rank: expected a whole number"),
        ("Llama-3.1-8B", {"llama.attention.head_count": 33}, "num_attention_heads: 33 is not a multiple of"),
        ("Llama-3.1-8B", {"llama.block_count": 10**9}, "llama.block_count: expected a whole number from 1 to 1,000"),
        ("GLM-4.7-Flash", {"deepseek2.attention.key_length_mla": None}, "deepseek2.attention.key_length_mla: expected"),
        ("gpt-oss-20b", {"gpt-oss.expert_used_count": 99}, "num_experts_per_tok: 99 is more than num_experts, 32"),
    ],
)
def test_a_gguf_file_that_cannot_be_true_is_refused_by_its_key(name: str, changes: dict, start: str):
    keys, lists, shapes = keys_of(name)
    keys = {key: value for key, value in {**keys, **changes}.items() if value is not None}
    fault = gguf_faults(keys, lists, shapes)[0]
    assert fault.startswith(start)


def test_a_list_of_the_wrong_length_is_refused_by_its_key():
    keys, lists, shapes = keys_of("Gemma-4-31B")
    lists["gemma4.attention.sliding_window_pattern"] = [True] * 59
    assert gguf_faults(keys, lists, shapes)[0].startswith(
        "gemma4.attention.sliding_window_pattern: expected a list with an entry for each of 60 layers"
    )


def test_a_gguf_file_without_an_embedding_is_refused():
    keys, lists, shapes = keys_of("Qwen3-4B")
    del shapes["token_embd.weight"]
    assert gguf_faults(keys, lists, shapes)[0] == "no token_embd.weight of two dimensions in it"


@pytest.mark.parametrize("name", ["mamba", "qwen3_5", "", None, 7, "\x1b[31m"])
def test_an_unknown_gguf_architecture_is_one_line(name: object):
    with pytest.raises(InputError) as caught:
        blueprint_of_gguf({"general.architecture": name}, {}, {}, "f.gguf", architectures())
    assert str(caught.value).startswith("f.gguf: general.architecture ")
    assert str(caught.value).isprintable()


def test_dense_relatives_are_read_from_gguf_too():
    scalars = {
        "general.architecture": "lfm2",
        "lfm2.block_count": 2,
        "lfm2.context_length": 128000,
        "lfm2.embedding_length": 2048,
        "lfm2.feed_forward_length": 8192,
        "lfm2.attention.head_count": 32,
        "lfm2.shortconv.l_cache": 3,
    }
    shapes = {"token_embd.weight": (2048, 65536)}
    blueprint = blueprint_of_gguf(scalars, {"lfm2.attention.head_count_kv": [0, 8]}, shapes, "f", architectures())
    assert [layer.mixer.kind for layer in blueprint.layers] == ["short_convolution", "attention"]
    assert blueprint.layers[0].feed.width == 8192  # the file's width is the adjusted one
    assert blueprint.layers[1].mixer.head_dim == 64
    nemotron = {
        "general.architecture": "nemotron_h",
        "nemotron_h.block_count": 3,
        "nemotron_h.context_length": 131072,
        "nemotron_h.embedding_length": 4480,
        "nemotron_h.attention.head_count": 40,
        "nemotron_h.attention.key_length": 128,
        "nemotron_h.ssm.conv_kernel": 4,
        "nemotron_h.ssm.state_size": 128,
        "nemotron_h.ssm.group_count": 8,
        "nemotron_h.ssm.time_step_rank": 128,
        "nemotron_h.ssm.inner_size": 10240,
    }
    lists = {
        "nemotron_h.attention.head_count_kv": [0, 0, 8],
        "nemotron_h.feed_forward_length": [0, 15680, 0],
    }
    blueprint = blueprint_of_gguf(nemotron, lists, {"token_embd.weight": (4480, 131072)}, "f", architectures())
    assert blueprint.gguf_architecture == "nemotron_h"
    assert [layer.mixer and layer.mixer.kind for layer in blueprint.layers] == ["mamba2", None, "attention"]
    assert blueprint.layers[1].feed.width == 15680


# What libraries accept


def test_a_text_only_fine_tune_stands_at_the_top():
    flat = {**config_of("Qwen3.5-9B")["text_config"], "architectures": ["Qwen3_5ForCausalLM"]}
    assert flat["model_type"] == "qwen3_5_text"
    assert read(flat) == models()["Qwen3.5-9B"].blueprint._replace(vision=None)


def test_a_vision_tower_may_be_missing():
    config = config_of("Qwen3.5-9B")
    del config["vision_config"]
    assert read(config).vision is None


def test_a_configuration_need_not_say_whether_the_head_is_tied():
    config = changed("Qwen3.5-9B", tie_word_embeddings=None)
    config.pop("tie_word_embeddings")
    assert read(config) == models()["Qwen3.5-9B"].blueprint


def test_listed_layers_count_and_need_no_interval():
    pruned = ["linear_attention", "full_attention", "linear_attention", "full_attention", "linear_attention"]
    config = changed("Qwen3.5-9B", layer_types=pruned, num_hidden_layers=5, full_attention_interval=None)
    blueprint = read(config)
    assert [isinstance(layer.mixer, DeltaNet) for layer in blueprint.layers] == [True, False, True, False, True]


def test_an_interval_counts_where_no_layers_are_listed():
    assert read(changed("Qwen3.5-9B", layer_types=None)) == models()["Qwen3.5-9B"].blueprint


def test_experts_may_be_pruned():
    assert read(changed("Qwen3.5-35B-A3B", num_experts=205)).experts.count == 205
    assert read(changed("gpt-oss-20b", num_local_experts=29)).experts.count == 29


def test_what_equals_the_defaults_of_transformers_may_be_left_out():
    """google/gemma-3-4b-it has a text_config of six entries."""
    short = {"model_type": "gemma3_text", "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34}
    config = {"model_type": "gemma3", "text_config": {**short, "sliding_window": 1024}}
    assert read(config) == models()["Gemma-3-4B"].blueprint


def test_the_newer_form_of_gemma_4_says_the_same():
    """Since transformers 5.24 what is different in full layers stands under each layer's number."""
    config = changed("Gemma-4-31B", global_head_dim=None, num_global_key_value_heads=None)
    text = config["text_config"]
    full = [index for index, kind in enumerate(text["layer_types"]) if kind == "full_attention"]
    text["per_layer_config"] = {str(index): {"head_dim": 512, "num_key_value_heads": 4} for index in full}
    assert read(config) == models()["Gemma-4-31B"].blueprint


def test_newer_names_of_layer_types_say_the_same():
    newer = {"mamba": "linear_attention", "attention": "full_attention"}
    types = [newer[kind] for kind in config_of("Granite-4.0-H-Small")["layer_types"]]
    assert read(changed("Granite-4.0-H-Small", layer_types=types)) == models()["Granite-4.0-H-Small"].blueprint
    letters = {"M": "linear_attention", "*": "full_attention", "E": "moe"}
    pattern = config_of("Nemotron-3-Nano-30B-A3B")["hybrid_override_pattern"]
    config = changed("Nemotron-3-Nano-30B-A3B", hybrid_override_pattern=None, num_hidden_layers=None)
    config["layers_block_type"] = [letters[letter] for letter in pattern]
    assert read(config) == models()["Nemotron-3-Nano-30B-A3B"].blueprint


def test_a_text_section_of_an_architecture_of_its_own_is_read_by_that_one():
    assert isinstance(models()["Mistral-Small-4-119B"].blueprint.layers[0].mixer, LatentAttention)
    assert models()["Devstral-Small-2-24B"].blueprint.gguf_architecture == "mistral3"
    assert models()["Mistral-Small-3.2-24B"].blueprint.gguf_architecture == "llama"


def test_all_attention_granite_goes_by_another_name_in_llama_cpp():
    assert models()["Granite-4.0-Micro"].blueprint.gguf_architecture == "granite"
    assert models()["Granite-4.0-H-Small"].blueprint.gguf_architecture == "granitehybrid"


# What cannot be true


@pytest.mark.parametrize("name", ["Qwen3-8B", "gpt-oss-20b", "Gemma-4-31B", "DeepSeek-V3", "Granite-4.0-H-Small"])
@pytest.mark.parametrize("number", [0, -1, 10**12, "8", True, 1.5, float("nan"), [8]])
def test_a_number_out_of_range_is_named(name: str, number: object):
    (fault,) = faults_of(changed(name, hidden_size=number))
    assert "hidden_size: expected a whole number from 1 to 20,000,000, got " in fault


@pytest.mark.parametrize(
    ("name", "changes", "fault"),
    [
        ("Qwen3-8B", {"num_key_value_heads": 5}, "num_attention_heads: 32 is not a multiple of num_key_value_heads, 5"),
        ("Qwen3-30B-A3B", {"num_experts_per_tok": 129}, "num_experts_per_tok: 129 is more than num_experts, 128"),
        (
            "Llama-3.1-8B",
            {"num_attention_heads": 30},
            "num_attention_heads: expected a divisor of hidden_size, 4096, got '30'",
        ),
        (
            "gpt-oss-20b",
            {"layer_types": ["full_attention"] * 23},
            "layer_types: expected a list with an entry for each of 24 layers",
        ),
        (
            "gpt-oss-20b",
            {"layer_types": ["full_attention"] * 23 + ["hash"]},
            "layer_types: expected layers of types sliding_attention, full_attention, got 'hash'",
        ),
        (
            "gpt-oss-20b",
            {"layer_types": ["full_attention"] * 23 + [["\x1b"]]},
            "layer_types: expected layers of types sliding_attention, full_attention",
        ),
        (
            "Nemotron-3-Nano-30B-A3B",
            {"hybrid_override_pattern": "MEM*"},
            "hybrid_override_pattern: expected 52 letters of M*E-",
        ),
        (
            "Nemotron-3-Nano-30B-A3B",
            {"hybrid_override_pattern": "X" * 52},
            "hybrid_override_pattern: expected 52 letters",
        ),
        (
            "Kimi-Linear-48B-A3B",
            {"num_hidden_layers": 20},
            "linear_attn_config.full_attn_layers: expected a list of layers",
        ),
        ("Gemma-4-E4B", {"num_kv_shared_layers": 42}, "num_kv_shared_layers: expected a whole number from 0 to 41"),
        ("Granite-4.0-H-Small", {"mamba_n_heads": 100}, "mamba_n_heads: expected heads that share 8192"),
        ("DeepSeek-V3", {"scoring_func": "argmax"}, "scoring_func: expected sigmoid or softmax, got 'argmax'"),
        (
            "DeepSeek-V3",
            {"num_nextn_predict_layers": 10**6},
            "num_nextn_predict_layers: expected a whole number from 0 to 1,000",
        ),
        ("Phi-4-mini", {"partial_rotary_factor": -3}, "partial_rotary_factor: expected a number above 0 and at most 1"),
        ("Phi-4-mini", {"rope_scaling": "longrope"}, "rope_scaling: expected an object, got 'longrope'"),
        ("Llama-4-Scout", {"no_rope_layers": [1] * 5}, "no_rope_layers: expected 1 or 0 for each of 48 layers"),
        ("Qwen3-8B", {"tie_word_embeddings": "no"}, "tie_word_embeddings: expected true or false, got 'no'"),
        (
            "Qwen3.5-9B",
            {"linear_value_head_dim": 64},
            "linear_value_head_dim: expected 128, as linear_key_head_dim, got '64'",
        ),
    ],
)
def test_a_contradiction_is_one_line_that_names_it(name: str, changes: dict, fault: str):
    (found,) = faults_of(changed(name, **changes))
    assert found.removeprefix("text_config.").startswith(fault)


def test_every_fault_is_said():
    faults = faults_of(changed("Qwen3-8B", hidden_size=-1, vocab_size=None, num_hidden_layers="36"))
    assert [fault.split(":")[0] for fault in faults] == ["num_hidden_layers", "hidden_size", "vocab_size"]


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({}, "no model_type in it, so its architecture is not known"),
        ({"model_type": "numbers"}, "model_type 'numbers' is an architecture that deployfit does not know"),
        ({"model_type": "shared"}, "model_type 'shared' is an architecture that deployfit does not know"),
        ({"model_type": "os.path"}, "model_type 'os.path' is an architecture that deployfit does not know"),
        ({"model_type": "\x1b[2J"}, "model_type '\\x1b[2J' is an architecture that deployfit does not know"),
        ({"model_type": "rwkv7"}, "model_type 'rwkv7' is an architecture that deployfit does not know"),
    ],
)
def test_an_architecture_that_nobody_wrote_is_one_line(config: dict, sentence: str):
    with pytest.raises(InputError) as caught:
        read(config)
    assert str(caught.value) == f"config.json: {sentence}"


def test_a_model_type_must_be_a_text():
    assert faults_of({"model_type": ["qwen3"]}) == ["model_type: expected a text, got \"['qwen3']\""]


JUNK = [
    *(None, -1, 0, 1, 3, "x", "", [], {}, {"a": 1}, [1], [0] * 10, ["full_attention"], 10**9, 10**30, True, False, 1.5),
    *(float("nan"), float("inf"), 1000, [None] * 48, [{}] * 3, "\x1b", [[1]], {"rope_type": ["x"]}, {"rope_type": 5}),
]
NAMED_SELDOM = ["layer_types", "rope_parameters", "num_local_experts", "mlp_layer_types", "per_layer_config"]


@settings(max_examples=300)
@given(data=st.data(), name=st.sampled_from(CATALOGUE))
def test_whatever_stands_in_a_configuration_is_layers_or_a_line_a_fault(data: st.DataObject, name: str):
    config = changed(name)
    text = config.get("text_config", config)
    keys = st.sampled_from([*text, *NAMED_SELDOM])
    text.update(data.draw(st.dictionaries(keys, st.sampled_from(JUNK), max_size=3)))
    try:
        blueprint = read(config)
    except DataError as error:
        assert all(fault.isprintable() and fault.startswith("config.json: ") for fault in error.faults)
        assert len(set(error.faults)) == len(error.faults)
    except InputError as error:
        assert str(error).isprintable()
    else:
        assert all(size > 0 for tensor in blueprint.tensors() for size in tensor.shape)


@settings(max_examples=200)
@given(data=st.data(), name=st.sampled_from(CATALOGUE))
def test_whatever_stands_in_a_gguf_header_is_layers_or_a_line_a_fault(data: st.DataObject, name: str):
    keys, lists, shapes = keys_of(name)
    scalars = st.sampled_from([value for value in JUNK if isinstance(value, int | float | str)])
    keys.update(data.draw(st.dictionaries(st.sampled_from(list(keys)), scalars, max_size=3)))
    if lists:
        entries = st.lists(scalars, max_size=70)
        lists.update(data.draw(st.dictionaries(st.sampled_from(list(lists)), entries, max_size=1)))
    try:
        blueprint = blueprint_of_gguf(keys, lists, shapes, "f.gguf", architectures())
    except DataError as error:
        assert all(fault.isprintable() and fault.startswith("f.gguf: ") for fault in error.faults)
    except InputError as error:
        assert str(error).isprintable()
    else:
        assert all(size > 0 for tensor in blueprint.tensors() for size in tensor.shape)


# Adding one


def test_an_architecture_is_a_file_that_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "dummy_net.py").write_text(
        "from deployfit.architectures.shared import attention, model\n"
        "from deployfit.layers.blueprint import Layer\n"
        "from deployfit.layers.feed import Mlp\n"
        "def blueprint(text, top):\n"
        "    layer = Layer(attention(text), Mlp(text.count('intermediate_size')))\n"
        "    return model(text, top, [layer] * text.count('num_hidden_layers'))\n"
    )
    monkeypatch.setattr(deployfit.architectures, "__path__", [*deployfit.architectures.__path__, str(tmp_path)])
    config = {**config_of("Qwen3-8B"), "model_type": "dummy_net"}
    blueprint = read(config)
    assert (blueprint.model_type, len(blueprint.layers)) == ("dummy_net", 36)
    row = ArchitectureRow("dummy_relative", "dummy_net", "dummy", (), (), (), ())
    relative = read_blueprint({**config, "model_type": "dummy_relative"}, "c", {"dummy_relative": row})
    assert (relative.model_type, relative.gguf_architecture) == ("dummy_relative", "dummy")
