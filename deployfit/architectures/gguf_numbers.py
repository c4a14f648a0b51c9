"""The numbers of a GGUF file under the names of config.json, so that an architecture's file reads both.

Most are key-values under another name. Some are told by which tensors there are: biases, norms, a tied head. What
differs from layer to layer is a list. Source: llama.cpp's conversion scripts and model loaders (2026-10-01).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from deployfit.architectures.numbers import Numbers

Scalar = int | float | bool | str
Shapes = Mapping[str, Sequence[int]]  # of tensors by name, the row length first

LLAMA4_CHUNK = 8_192  # fixed in the engine
GATING = {1: "softmax", 2: "sigmoid"}
FLASH_VOCAB = 154_880  # of GLM-4.7-Flash, whose first files do not say how experts are scored

KEYS = {
    "hidden_size": "embedding_length",
    "max_position_embeddings": "context_length",
    "head_dim": "attention.key_length",
    "intermediate_size": "feed_forward_length",
    "num_experts": "expert_count",
    "num_local_experts": "expert_count",
    "n_routed_experts": "expert_count",
    "num_experts_per_tok": "expert_used_count",
    "num_experts_per_token": "expert_used_count",
    "top_k_experts": "expert_used_count",
    "moe_intermediate_size": "expert_feed_forward_length",
    "shared_expert_intermediate_size": "expert_shared_feed_forward_length",
    "moe_shared_expert_intermediate_size": "expert_shared_feed_forward_length",
    "shared_intermediate_size": "expert_shared_feed_forward_length",
    "n_shared_experts": "expert_shared_count",
    "num_shared_experts": "expert_shared_count",
    "first_k_dense_replace": "leading_dense_block_count",
    "num_dense_layers": "leading_dense_block_count",
    "routed_scaling_factor": "expert_weights_scale",
    "n_group": "expert_group_count",
    "num_expert_group": "expert_group_count",
    "topk_group": "expert_group_used_count",
    "moe_latent_size": "moe_latent_size",
    "num_nextn_predict_layers": "nextn_predict_layers",
    "mtp_num_hidden_layers": "nextn_predict_layers",
    "sliding_window": "attention.sliding_window",
    "full_attention_interval": "full_attention_interval",
    "interleave_moe_layer_step": "interleave_moe_layer_step",
    "q_lora_rank": "attention.q_lora_rank",
    "kv_lora_rank": "attention.kv_lora_rank",
    "qk_rope_head_dim": "rope.dimension_count",
    "v_head_dim": "attention.value_length_mla",
    "index_n_heads": "attention.indexer.head_count",
    "index_head_dim": "attention.indexer.key_length",
    "index_topk": "attention.indexer.top_k",
    "rotary_dim": "rope.dimension_count",
    "linear_num_key_heads": "ssm.group_count",
    "linear_num_value_heads": "ssm.time_step_rank",
    "linear_key_head_dim": "ssm.state_size",
    "linear_value_head_dim": "ssm.state_size",
    "linear_conv_kernel_dim": "ssm.conv_kernel",
    "linear_head_dim": "kda.head_dim",
    "mamba_num_heads": "ssm.time_step_rank",
    "mamba_n_heads": "ssm.time_step_rank",
    "n_groups": "ssm.group_count",
    "mamba_n_groups": "ssm.group_count",
    "ssm_state_size": "ssm.state_size",
    "mamba_d_state": "ssm.state_size",
    "conv_kernel": "ssm.conv_kernel",
    "mamba_d_conv": "ssm.conv_kernel",
    "conv_L_cache": "shortconv.l_cache",
    "embedding_multiplier": "embedding_scale",
    "residual_multiplier": "residual_scale",
    "logits_scaling": "logit_scale",
    "hidden_size_per_layer_input": "embedding_length_per_layer_input",
    "num_kv_shared_layers": "attention.shared_kv_layers",
    "n_deepstack_layers": "n_deepstack_layers",
}
OWN_KEYS = {  # where an architecture has another key for a name
    "gpt-oss": {"intermediate_size": "expert_feed_forward_length"},
    "llama4": {"intermediate_size": "expert_feed_forward_length", "intermediate_size_mlp": "feed_forward_length"},
    "gemma4": {"head_dim": "attention.key_length_swa", "global_head_dim": "attention.key_length"},
}
STATED_NORMALIZATION = ("deepseek2", "deepseek32", "glm4moe", "mistral4", "nemotron_h_moe")  # false unless stated


class GgufNumbers(Numbers):
    """The key-values of a GGUF file, its lists and the shapes of its tensors; `place` goes before messages."""

    def __init__(
        self,
        metadata: Mapping[str, Scalar],
        arrays: Mapping[str, Sequence[Scalar]],
        shapes: Shapes,
        place: str,
        faults: list[str],
    ) -> None:
        super().__init__({}, place, faults)
        self._metadata, self._arrays, self._shapes = metadata, arrays, shapes
        self.architecture = str(metadata.get("general.architecture"))
        self._keys = {**KEYS, **OWN_KEYS.get(self.architecture, {})}

    def with_defaults(self, defaults: Mapping[str, Any]) -> Numbers:
        """Return the same numbers: a file leaves nothing out that the engine needs."""
        return self

    def label(self, name: str) -> str:
        """Return the key that stands for a name."""
        lists = ("attention.sliding_window_pattern", "attention.recurrent_layers", "attention.head_count_kv")
        if name == "layer_types":
            key = next((key for key in lists if f"{self.architecture}.{key}" in self._arrays), None)
        else:
            key = self._keys.get(name) or LABELS.get(name)
        return f"{self.architecture}.{key}" if key else name

    def value(self, name: str) -> Any:
        """Return what the file says under a name of config.json, None if it says nothing."""
        derive = DERIVED.get(name)
        if derive is not None:
            return derive(self)
        key = self._keys.get(name)
        return self._key(key) if key else None

    def section(self, name: str) -> Numbers | None:
        """Return what the file says of rotary positions; there are no other sections."""
        if name != "rope_parameters":
            return None
        size = self._whole("attention.key_length") or self._share_of_hidden()
        rotated = self._whole("rope.dimension_count") or size
        tables = {"rope_freqs.weight": "llama3", "rope_factors_long.weight": "longrope"}
        values = {
            "rope_type": next((kind for tensor, kind in tables.items() if tensor in self._shapes), None),
            "llama_4_scaling_beta": self._key("attention.temperature_scale"),
            "partial_rotary_factor": min(1.0, rotated / size) if rotated and size else None,
        }
        return Numbers(values, self.place, self.faults)

    def _key(self, key: str) -> Any:
        """Return a key-value; of a list the first entry that is not 0, as other layers do not have what it counts."""
        name = f"{self.architecture}.{key}"
        if name in self._arrays:
            return next((each for each in self._arrays[name] if each), 0)
        return self._metadata.get(name)

    def _whole(self, key: str) -> int:
        """Return a key-value that is a whole number, else 0; whoever needs it as it is reports what is wrong."""
        value = self._key(key)
        return value if type(value) is int and value > 0 else 0

    def _list(self, key: str) -> list[Scalar] | None:
        """Return a list with an entry for each layer that is no drafting layer; None where there is no list."""
        entries = self._arrays.get(f"{self.architecture}.{key}")
        if entries is None:
            return None
        drafts = self._whole("nextn_predict_layers")
        return list(entries[: len(entries) - drafts] if len(entries) == self._whole("block_count") else entries)

    def _has(self, role: str) -> bool:
        """Return whether any layer has a tensor of this role."""
        return any(name.startswith("blk.") and name.endswith(f".{role}") for name in self._shapes)

    def _layers(self) -> Any:
        count, drafts = self._key("block_count"), self._key("nextn_predict_layers")
        return count - drafts if type(count) is int and type(drafts) is int else count

    def _vocab(self) -> int | None:
        shape = self._shapes.get("token_embd.weight", ())
        return shape[-1] if len(shape) == 2 else None

    def _share_of_hidden(self) -> int:
        hidden, heads = self._whole("embedding_length"), self._whole("attention.head_count")
        return hidden // heads if heads else 0

    def _head_dim(self) -> Any:
        value = self._key(self._keys["head_dim"])
        return (self._share_of_hidden() or None) if value is None else value

    def _kv_heads(self) -> Any:
        """Return the key heads of the first layer that has any: in Gemma 4 one with a window."""
        value = self._key("attention.head_count_kv")
        return self._key("attention.head_count") if value is None else value

    def _global_kv_heads(self) -> Any:
        """Return the key heads of full layers, where they are listed by layer."""
        heads, slides = self._list("attention.head_count_kv"), self._list("attention.sliding_window_pattern")
        pairs = zip(heads or (), slides or (), strict=False)
        return next((count for count, slide in pairs if not slide), None)

    def _layer_types(self) -> list[str] | None:
        """Return each layer's type, where a list tells it: of windows, of delta nets, of key heads or of widths."""
        slides = self._list("attention.sliding_window_pattern")
        if slides is not None:
            sliding = "chunked_attention" if self.architecture == "llama4" else "sliding_attention"
            return [sliding if slide else "full_attention" for slide in slides]
        recurrent = self._list("attention.recurrent_layers")
        if recurrent is not None:
            return ["linear_attention" if each else "full_attention" for each in recurrent]
        heads = self._list("attention.head_count_kv")
        if heads is None or self.architecture == "gemma4":
            return None
        without = {"lfm2": "conv", "lfm2moe": "conv", "granitehybrid": "mamba"}.get(
            self.architecture, "linear_attention"
        )
        widths = self._list("feed_forward_length") if self.architecture.startswith("nemotron_h") else None
        wide = "moe" if self._whole("expert_count") else "mlp"
        kinds = ["full_attention" if count else without for count in heads]
        return [wide if width else kind for kind, width in zip(kinds, widths or [0] * len(kinds), strict=False)]

    def _scoring(self) -> Any:
        gating = self._key("expert_gating_func")
        if gating is None and self.architecture == "deepseek2":
            gating = 2 if self._vocab() == FLASH_VOCAB else 1
        return GATING.get(gating, gating)

    def _normalized(self) -> bool | None:
        if self.architecture not in STATED_NORMALIZATION:
            return None
        return bool(self._key("expert_weights_norm"))

    def _nope_dim(self) -> Any:
        head, rotated = self._key("attention.key_length_mla"), self._key("rope.dimension_count")
        return head - rotated if type(head) is int and type(rotated) is int else head

    def _mamba_head_dim(self) -> Any:
        inner, heads = self._key("ssm.inner_size"), self._whole("ssm.time_step_rank")
        return inner // heads if type(inner) is int and heads else inner

    def _keys_are_values(self) -> bool:
        """Return whether a layer has no projection of values."""
        with_keys = {name.split(".")[1] for name in self._shapes if name.endswith(".attn_k.weight")}
        with_values = {name.split(".")[1] for name in self._shapes if name.endswith(".attn_v.weight")}
        return bool(with_keys - with_values)

    def _doubled(self) -> bool:
        """Return whether some layers are twice as wide as others."""
        return len(set(self._list("feed_forward_length") or ())) > 1


DERIVED: dict[str, Callable[[GgufNumbers], Any]] = {
    "num_hidden_layers": GgufNumbers._layers,
    "num_attention_heads": lambda numbers: numbers._key("attention.head_count"),
    "num_heads": lambda numbers: numbers._key("attention.head_count"),
    "linear_num_heads": lambda numbers: numbers._key("attention.head_count"),
    "num_key_value_heads": GgufNumbers._kv_heads,
    "num_global_key_value_heads": GgufNumbers._global_kv_heads,
    "head_dim": GgufNumbers._head_dim,
    "vocab_size": GgufNumbers._vocab,
    "vocab_size_per_layer_input": lambda numbers: numbers._vocab(),
    "tie_word_embeddings": lambda numbers: "output.weight" not in numbers._shapes,
    "attention_bias": lambda numbers: numbers._has("attn_q.bias"),
    "attention_out_bias": lambda numbers: numbers._has("attn_output.bias"),
    "mlp_bias": lambda numbers: numbers._has("ffn_up.bias"),
    "use_qk_norm": lambda numbers: (
        numbers._whole("expert_count") != 128
        if numbers.architecture == "llama4"
        else numbers._has("attn_q_norm.weight")
    ),
    "use_conv_bias": lambda numbers: numbers._has("ssm_conv1d.bias"),
    "mamba_conv_bias": lambda numbers: numbers._has("ssm_conv1d.bias"),
    "use_expert_bias": lambda numbers: numbers._has("exp_probs_b.bias"),
    "use_routing_bias": lambda numbers: numbers._has("exp_probs_b.bias"),
    "topk_method": lambda numbers: "noaux_tc" if numbers._has("exp_probs_b.bias") else "greedy",
    "scoring_func": GgufNumbers._scoring,
    "moe_router_activation_func": GgufNumbers._scoring,
    "norm_topk_prob": GgufNumbers._normalized,
    "layer_types": GgufNumbers._layer_types,
    "sliding_window_pattern": lambda numbers: numbers._metadata.get(
        f"{numbers.architecture}.attention.sliding_window_pattern"
    ),
    "attention_chunk_size": lambda numbers: LLAMA4_CHUNK,
    "qk_nope_head_dim": GgufNumbers._nope_dim,
    "mamba_head_dim": GgufNumbers._mamba_head_dim,
    "mamba_d_head": GgufNumbers._mamba_head_dim,
    "mamba_expand": lambda numbers: numbers._whole("ssm.inner_size") // (numbers._whole("embedding_length") or 1),
    "block_auto_adjust_ff_dim": lambda numbers: False,  # the width in the file is the adjusted one
    "position_embedding_type": lambda numbers: "nope" if numbers._key("rope.scaling.finetuned") is False else "rope",
    "final_logit_softcapping": lambda numbers: numbers._key("final_logit_softcapping") or None,
    "attention_k_eq_v": GgufNumbers._keys_are_values,
    "use_double_wide_mlp": GgufNumbers._doubled,
    "enable_moe_block": lambda numbers: numbers._whole("expert_count") > 0,
}
LABELS = {  # of what is derived, for messages
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "scoring_func": "expert_gating_func",
    "qk_nope_head_dim": "attention.key_length_mla",
    "mamba_head_dim": "ssm.inner_size",
}
