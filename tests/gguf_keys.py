"""The key-values that llama.cpp's conversion writes for a config.json, with the names of the file's tensors.

Written after its scripts (`conversion/*.py`, 2026-10-01), and after nothing of deployfit but the names of roles.
"""

from __future__ import annotations

from deployfit.layers.blueprint import Blueprint


def gguf_keys(config: dict, blueprint: Blueprint) -> tuple[dict, dict, dict]:
    """Return scalars, lists and shapes of a converted file."""
    text = {**config, **config.get("text_config", {})}
    name = blueprint.gguf_architecture
    keys = {
        "block_count": text["num_hidden_layers"],
        "context_length": text.get("max_position_embeddings") or text.get("model_max_length") or 131072,
        "embedding_length": text["hidden_size"],
        "feed_forward_length": text.get("intermediate_size"),
        "attention.head_count": text["num_attention_heads"],
        "attention.head_count_kv": text.get("num_key_value_heads"),
        "attention.key_length": text.get("head_dim"),
        "expert_count": next(
            (text[n] for n in ("num_local_experts", "num_experts", "n_routed_experts") if n in text), None
        ),
        "expert_used_count": next(
            (text[n] for n in ("num_experts_per_tok", "num_experts_per_token", "top_k_experts") if n in text), None
        ),
        "expert_group_count": text.get("n_group"),
        "expert_group_used_count": text.get("topk_group"),
        "expert_gating_func": {"sigmoid": 2, "softmax": 1}.get(
            text.get("scoring_func") or text.get("moe_router_activation_func")
        ),
    }
    rope = text.get("rope_parameters") or text.get("rope_scaling") or {}
    family = next(family for names, family in FAMILIES.items() if name in names.split())
    family(keys, text, rope)
    drafts = len(blueprint.drafts)
    if drafts:
        keys["nextn_predict_layers"] = drafts
        keys["block_count"] += drafts
    scalars = {f"{name}.{key}": value for key, value in keys.items() if value is not None and type(value) is not list}
    arrays = {f"{name}.{key}": value for key, value in keys.items() if type(value) is list}
    shapes = {_tensor_name(tensor.role, tensor.layer): tensor.shape[::-1] for tensor in blueprint.text_tensors()}
    if rope.get("rope_type", rope.get("type")) == "llama3":
        shapes["rope_freqs.weight"] = (keys["rope.dimension_count"] // 2,)
    if rope.get("rope_type", rope.get("type")) == "longrope":
        shapes["rope_factors_long.weight"] = shapes["rope_factors_short.weight"] = (keys["rope.dimension_count"] // 2,)
    return {"general.architecture": name, **scalars}, arrays, shapes


def _tensor_name(role: str, layer: int) -> str:
    ending = "" if role in ("ssm_a", "ssm_d") or role.endswith((".bias", ".scale")) else ".weight"
    return (f"blk.{layer}." if layer >= 0 else "") + role + ending


def _llama(keys: dict, text: dict, rope: dict) -> None:
    keys["rope.dimension_count"] = text.get("head_dim") or text["hidden_size"] // text["num_attention_heads"]
    if "llama_4_scaling_beta" in rope:
        keys["attention.temperature_scale"] = rope["llama_4_scaling_beta"]


def _plain(keys: dict, text: dict, rope: dict) -> None:
    keys["expert_feed_forward_length"] = text.get("moe_intermediate_size")
    keys["expert_shared_feed_forward_length"] = text.get("shared_expert_intermediate_size")


def _qwen3_vl(keys: dict, text: dict, rope: dict) -> None:
    _plain(keys, text, rope)
    keys["n_deepstack_layers"] = len(text["vision_config"]["deepstack_visual_indexes"])


def _delta_net(keys: dict, text: dict, rope: dict) -> None:
    _plain(keys, text, rope)
    keys["ssm.conv_kernel"] = text["linear_conv_kernel_dim"]
    keys["ssm.state_size"] = text["linear_key_head_dim"]
    keys["ssm.group_count"] = text["linear_num_key_heads"]
    keys["ssm.time_step_rank"] = text["linear_num_value_heads"]
    keys["ssm.inner_size"] = text["linear_value_head_dim"] * text["linear_num_value_heads"]
    keys["full_attention_interval"] = text.get("full_attention_interval", 4)
    drafts = text.get("num_nextn_predict_layers", text.get("mtp_num_hidden_layers", 0))
    if "layer_types" in text:
        keys["attention.recurrent_layers"] = [t == "linear_attention" for t in text["layer_types"]] + [False] * drafts


def _gpt_oss(keys: dict, text: dict, rope: dict) -> None:
    keys["attention.sliding_window"] = text["sliding_window"]
    keys["expert_feed_forward_length"] = text["intermediate_size"]


def _gemma3(keys: dict, text: dict, rope: dict) -> None:
    keys["attention.sliding_window"] = text["sliding_window"]


def _muse_glimmer(keys: dict, text: dict, rope: dict) -> None:
    _gemma3(keys, text, rope)
    keys["attention.sliding_window_pattern"] = [kind == "sliding_attention" for kind in text["layer_types"]]


def _gemma4(keys: dict, text: dict, rope: dict) -> None:
    count = text["num_hidden_layers"]
    shared = text["num_kv_shared_layers"]
    slides = [kind == "sliding_attention" for kind in text["layer_types"]]
    keys["attention.sliding_window"] = text["sliding_window"]
    keys["attention.shared_kv_layers"] = shared
    keys["embedding_length_per_layer_input"] = text.get("hidden_size_per_layer_input") or 0
    keys["attention.sliding_window_pattern"] = slides
    keys["attention.key_length"] = text["global_head_dim"]
    keys["attention.key_length_swa"] = text["head_dim"]
    keys["expert_feed_forward_length"] = text.get("moe_intermediate_size")
    keys["final_logit_softcapping"] = text["final_logit_softcapping"]
    if text["use_double_wide_mlp"]:
        width = text["intermediate_size"]
        keys["feed_forward_length"] = [width if i < count - shared else 2 * width for i in range(count)]
    if text.get("num_global_key_value_heads") is not None:
        heads = text["num_key_value_heads"], text["num_global_key_value_heads"]
        keys["attention.head_count_kv"] = [heads[0] if slide else heads[1] for slide in slides]


def _glm4_moe(keys: dict, text: dict, rope: dict) -> None:
    keys["rope.dimension_count"] = int(text["head_dim"] * text.get("partial_rotary_factor", 0.5))
    _routed(keys, text, rope)
    keys["expert_gating_func"] = 2


def _routed(keys: dict, text: dict, rope: dict) -> None:
    keys["expert_feed_forward_length"] = text["moe_intermediate_size"]
    keys["expert_shared_count"] = text["n_shared_experts"]
    keys["leading_dense_block_count"] = text["first_k_dense_replace"]
    keys["expert_weights_scale"] = float(text["routed_scaling_factor"])
    keys["expert_weights_norm"] = text["norm_topk_prob"] or None


def _latent(keys: dict, text: dict, rope: dict) -> None:
    keys["attention.head_count_kv"] = 1
    keys["attention.kv_lora_rank"] = text["kv_lora_rank"]
    keys["attention.q_lora_rank"] = text["q_lora_rank"]
    keys["attention.key_length"] = text["kv_lora_rank"] + text["qk_rope_head_dim"]
    keys["attention.value_length"] = text["kv_lora_rank"]
    keys["attention.key_length_mla"] = text["qk_nope_head_dim"] + text["qk_rope_head_dim"]
    keys["attention.value_length_mla"] = text["v_head_dim"]
    keys["rope.dimension_count"] = text["qk_rope_head_dim"]


def _deepseek(keys: dict, text: dict, rope: dict) -> None:
    _latent(keys, text, rope)
    _routed(keys, text, rope)
    if "index_topk" in text:
        keys["attention.indexer.head_count"] = text["index_n_heads"]
        keys["attention.indexer.key_length"] = text["index_head_dim"]
        keys["attention.indexer.top_k"] = text["index_topk"]


def _mistral4(keys: dict, text: dict, rope: dict) -> None:
    _deepseek(keys, text, rope)
    keys["expert_gating_func"] = 1
    keys["attention.temperature_scale"] = rope["llama_4_scaling_beta"]


def _kimi_linear(keys: dict, text: dict, rope: dict) -> None:
    _latent(keys, text, rope)
    linear = text["linear_attn_config"]
    full = linear["full_attn_layers"]
    keys["attention.head_count_kv"] = [int(i + 1 in full) for i in range(text["num_hidden_layers"])]
    keys["ssm.conv_kernel"] = linear["short_conv_kernel_size"]
    keys["kda.head_dim"] = linear["head_dim"]
    keys["expert_feed_forward_length"] = text["moe_intermediate_size"]
    keys["expert_shared_count"] = text["num_shared_experts"]
    keys["leading_dense_block_count"] = text["first_k_dense_replace"]
    keys["expert_weights_scale"] = text["routed_scaling_factor"]


def _nemotron_h(keys: dict, text: dict, rope: dict) -> None:
    pattern = text["hybrid_override_pattern"] + "A" * text.get("num_nextn_predict_layers", 0)  # attention and experts
    keys["attention.head_count_kv"] = [text["num_key_value_heads"] if kind in "*A" else 0 for kind in pattern]
    keys["feed_forward_length"] = [text["moe_intermediate_size"] if kind in "EA" else 0 for kind in pattern]
    keys["ssm.conv_kernel"] = text["conv_kernel"]
    keys["ssm.state_size"] = text["ssm_state_size"]
    keys["ssm.group_count"] = text["n_groups"]
    keys["ssm.inner_size"] = text["mamba_num_heads"] * text["mamba_head_dim"]
    keys["ssm.time_step_rank"] = text["mamba_num_heads"]
    keys["rope.scaling.finetuned"] = False
    keys["expert_feed_forward_length"] = text["moe_intermediate_size"]
    keys["expert_shared_feed_forward_length"] = text["moe_shared_expert_intermediate_size"]
    keys["expert_shared_count"] = text["n_shared_experts"]
    keys["expert_weights_norm"] = text["norm_topk_prob"]
    keys["expert_weights_scale"] = text["routed_scaling_factor"]
    keys["moe_latent_size"] = text.get("moe_latent_size")


def _granite(keys: dict, text: dict, rope: dict) -> None:
    _llama(keys, text, rope)
    keys["attention.scale"] = text["attention_multiplier"]
    keys["embedding_scale"] = text["embedding_multiplier"]
    keys["residual_scale"] = text["residual_multiplier"]
    keys["logit_scale"] = text["logits_scaling"]
    keys["expert_shared_feed_forward_length"] = text.get("shared_intermediate_size")


def _granite_hybrid(keys: dict, text: dict, rope: dict) -> None:
    _granite(keys, text, rope)
    keys["attention.head_count_kv"] = [
        text["num_key_value_heads"] if kind == "attention" else 0 for kind in text["layer_types"]
    ]
    keys["ssm.conv_kernel"] = text["mamba_d_conv"]
    keys["ssm.state_size"] = text["mamba_d_state"]
    keys["ssm.group_count"] = text["mamba_n_groups"]
    keys["ssm.inner_size"] = 2 * text["hidden_size"]
    keys["ssm.time_step_rank"] = text["mamba_n_heads"]
    keys["rope.scaling.finetuned"] = False
    keys["context_length"] = 2**20


def _lfm2(keys: dict, text: dict, rope: dict) -> None:
    heads = text["num_key_value_heads"]
    keys["attention.head_count_kv"] = [heads if kind == "full_attention" else 0 for kind in text["layer_types"]]
    keys["shortconv.l_cache"] = text["conv_L_cache"]


def _lfm2_moe(keys: dict, text: dict, rope: dict) -> None:
    _lfm2(keys, text, rope)
    keys["expert_feed_forward_length"] = text["moe_intermediate_size"]
    keys["leading_dense_block_count"] = text["num_dense_layers"]
    keys["expert_gating_func"] = 2


def _phi3(keys: dict, text: dict, rope: dict) -> None:
    share = text.get("partial_rotary_factor", 1.0)
    keys["rope.dimension_count"] = int(share * text["hidden_size"]) // text["num_attention_heads"]
    keys["attention.sliding_window"] = text.get("sliding_window") or 0


def _minimax(keys: dict, text: dict, rope: dict) -> None:
    keys["expert_feed_forward_length"] = text["intermediate_size"]
    keys["rope.dimension_count"] = text["rotary_dim"]


def _llama4(keys: dict, text: dict, rope: dict) -> None:
    _llama(keys, text, rope)
    keys["feed_forward_length"] = text["intermediate_size_mlp"]
    keys["expert_feed_forward_length"] = text["intermediate_size"]
    keys["interleave_moe_layer_step"] = text["interleave_moe_layer_step"]


FAMILIES = {
    "llama mistral3 smollm3": _llama,
    "llama4": _llama4,
    "qwen2 qwen3 qwen3moe seed_oss": _plain,
    "qwen3vl qwen3vlmoe": _qwen3_vl,
    "qwen35 qwen35moe qwen3next": _delta_net,
    "gpt-oss": _gpt_oss,
    "gemma3": _gemma3,
    "muse-glimmer": _muse_glimmer,
    "gemma4": _gemma4,
    "glm4moe": _glm4_moe,
    "deepseek2 deepseek32": _deepseek,
    "mistral4": _mistral4,
    "kimi-linear": _kimi_linear,
    "nemotron_h_moe": _nemotron_h,
    "granite": _granite,
    "granitehybrid": _granite_hybrid,
    "lfm2": _lfm2,
    "lfm2moe": _lfm2_moe,
    "phi3": _phi3,
    "minimax-m2": _minimax,
}
