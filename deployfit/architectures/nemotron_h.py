"""Nemotron-H and Nemotron 3: each layer is a Mamba-2 mixer, attention without rotation, experts, or a dense block.

Source: transformers' Nemotron-H; public copies of Nemotron 3 Nano's configuration, whose count adds up (2026).
"""

from __future__ import annotations

from deployfit.architectures.numbers import Numbers
from deployfit.architectures.shared import attention, model
from deployfit.layers.blueprint import Blueprint, Draft, Layer
from deployfit.layers.feed import Experts, Mlp
from deployfit.layers.recurrent import Mamba2

NORMS = ("attn_norm",)
LETTERS = {"M": "mamba", "*": "attention", "E": "moe", "-": "mlp"}
NEWER = {"linear_attention": "mamba", "full_attention": "attention"}
KNOWN = (*LETTERS.values(), *NEWER)


def blueprint(text: Numbers, top: Numbers) -> Blueprint:
    """Return the blueprint of a configuration."""
    kinds = [NEWER.get(kind, kind) for kind in _kinds(text)]
    makers = {"mamba": _mamba, "attention": _attention, "moe": _experts, "mlp": _mlp}
    layers = {kind: makers[kind](text) for kind in dict.fromkeys(kinds)}
    blueprint = model(text, top, (layers[kind] for kind in kinds))._replace(outputs_chosen="after_norm")
    if "moe" not in layers:
        blueprint = blueprint._replace(gguf_architecture="nemotron_h")
    count = text.count("num_nextn_predict_layers", default=0, least=0)
    if not count or "moe" not in layers or "attention" not in layers:
        return blueprint
    draft = Layer(layers["attention"].mixer, layers["moe"].feed, ("attn_norm", "post_attention_norm"))
    return blueprint._replace(drafts=(Draft(draft),) * count)


def _kinds(text: Numbers) -> list[str]:
    """Return each layer's kind, from a text of one letter a layer or a list."""
    pattern = text.text("hybrid_override_pattern")
    listed = text.get("layers_block_type", "layer_types")
    count = text.count("num_hidden_layers", default=len(pattern) or len(listed or ()) or None)
    if not pattern:
        name = "layers_block_type" if text.get("layers_block_type") is not None else "layer_types"
        kinds = text.layer_types(count, KNOWN, name)
        if listed is None:
            text.fault("hybrid_override_pattern", "a letter for each layer", None)
        return kinds or []
    if len(pattern) != count or not set(pattern) <= set(LETTERS):
        text.fault("hybrid_override_pattern", f"{count} letters of {''.join(LETTERS)}", pattern)
        return []
    return [LETTERS[letter] for letter in pattern]


def _attention(text: Numbers) -> Layer:
    return Layer(attention(text)._replace(rotary=0), None, NORMS)


def _mamba(text: Numbers) -> Layer:
    mixer = Mamba2(
        heads=text.count("mamba_num_heads"),
        head_dim=text.count("mamba_head_dim"),
        groups=text.count("n_groups", "mamba_n_groups"),
        state=text.count("ssm_state_size"),
        kernel=text.count("conv_kernel", "mamba_d_conv"),
        conv_bias=text.flag("use_conv_bias", True),
    )
    return Layer(mixer, None, NORMS)


def _mlp(text: Numbers) -> Layer:
    return Layer(None, Mlp(text.count("intermediate_size"), gated=False, activation="relu2"), NORMS)


def _experts(text: Numbers) -> Layer:
    groups = text.count("n_group", default=1, least=0)
    feed = Experts(
        count=text.count("n_routed_experts", "num_local_experts"),
        used=text.count("num_experts_per_tok"),
        width=text.count("moe_intermediate_size"),
        gated=False,
        activation="relu2",
        shared_width=text.count("moe_shared_expert_intermediate_size", default=0, least=0),
        scoring="sigmoid",
        selection_bias=True,
        normalized=text.flag("norm_topk_prob", True),
        scaled=text.get("routed_scaling_factor") not in (None, 0, 1),
        groups=groups if groups > 1 else 0,
        groups_used=text.count("topk_group", default=1) if groups > 1 else 0,
        latent=text.count("moe_latent_size", default=0, least=0),
    )
    return Layer(None, feed, NORMS)
