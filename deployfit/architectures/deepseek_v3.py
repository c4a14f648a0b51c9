"""DeepSeek-V3 and its relatives: latent attention; experts with shared ones after the first, dense layers.

Kimi K2, GLM-4.7-Flash and Mistral Small 4 have its layers with other numbers. The drafting layer has an embedding and
a head of its own. Source: transformers' DeepSeek-V3; the parameters of DeepSeek-V3.2 and GLM-4.7-Flash add up.
"""

from __future__ import annotations

from deployfit.architectures.numbers import Numbers
from deployfit.architectures.shared import model
from deployfit.layers.attention import LatentAttention
from deployfit.layers.blueprint import Blueprint, Draft, Layer
from deployfit.layers.feed import Experts, Mlp

DENSE, SPARSE = "dense", "sparse"


def blueprint(text: Numbers, top: Numbers, scoring: str = "sigmoid") -> Blueprint:
    """Return the blueprint of a configuration; `scoring` counts where it does not say how experts are chosen."""
    return decoder(text, top, latent_attention(text), scoring)


def decoder(text: Numbers, top: Numbers, mixer: LatentAttention, scoring: str) -> Blueprint:
    """Return the blueprint of layers that all have this mixer."""
    dense = dense_layers(text, text.count("num_hidden_layers"))
    mlp = Layer(mixer, Mlp(text.count("intermediate_size")))
    if all(dense):
        return model(text, top, (mlp,) * len(dense))
    sparse = Layer(mixer, experts(text, scoring))
    return model(text, top, (mlp if each else sparse for each in dense))._replace(drafts=drafts(text, sparse))


def latent_attention(text: Numbers) -> LatentAttention:
    """Return latent attention; queries are not compressed where `q_lora_rank` is null."""
    if text.flag("attention_bias", False):
        text.fault("attention_bias", "false, as in every known model with latent attention", True)
    return LatentAttention(
        heads=text.count("num_attention_heads"),
        query_rank=text.count("q_lora_rank", default=0, least=0),
        kv_rank=text.count("kv_lora_rank"),
        nope_dim=text.count("qk_nope_head_dim"),
        rope_dim=text.count("qk_rope_head_dim"),
        value_dim=text.count("v_head_dim"),
    )


def dense_layers(text: Numbers, layers: int) -> list[bool]:
    """Return which layers have a dense block: as listed, else the first ones, or all where there are no experts."""
    if not text.count("n_routed_experts", "num_local_experts", "num_experts", default=0, least=0):
        return [True] * layers
    listed = text.layer_types(layers, (DENSE, SPARSE), "mlp_layer_types")
    if listed:
        return [kind == DENSE for kind in listed]
    first = text.count("first_k_dense_replace", default=0, least=0)
    step = text.count("moe_layer_freq", default=1)
    return [layer < first or layer % step != 0 for layer in range(layers)]


def experts(text: Numbers, scoring: str) -> Experts:
    """Return the mixture of experts; the router has a bias that only chooses if it scores with a sigmoid."""
    scoring = text.choice("scoring_func", ("sigmoid", "softmax"), scoring)
    groups = text.count("n_group", default=1, least=0)
    width = text.count("moe_intermediate_size")
    return Experts(
        count=text.count("n_routed_experts", "num_local_experts", "num_experts"),
        used=text.count("num_experts_per_tok"),
        width=width,
        shared_width=width * text.count("n_shared_experts", default=0, least=0),
        scoring=scoring,
        selection_bias=text.text("topk_method", "noaux_tc" if scoring == "sigmoid" else "greedy") == "noaux_tc",
        normalized=text.flag("norm_topk_prob", scoring == "sigmoid"),
        scaled=text.get("routed_scaling_factor") not in (None, 0, 1),
        groups=groups if groups > 1 else 0,
        groups_used=text.count("topk_group", default=1) if groups > 1 else 0,
    )


def drafts(text: Numbers, layer: Layer) -> tuple[Draft, ...]:
    """Return the drafting layers, each with an embedding and a head of its own."""
    count = text.count("num_nextn_predict_layers", "num_mtp_layers", default=0, least=0)
    return (Draft(layer, own_embedding=True),) * count
