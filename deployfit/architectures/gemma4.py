"""Gemma 4: layers with a window, then a full one with larger heads; some models have experts beside a dense block.

In full layers of the larger models keys are values. The E models have per-layer embeddings, and their last layers read
an earlier layer's cache; the checkpoint has projections for them that nothing reads. Source: transformers' Gemma 4,
and configurations in public tests; the text's count agrees with the published files (2026).
"""

from __future__ import annotations

from deployfit.architectures.numbers import Numbers
from deployfit.architectures.shared import attention, model, windowed
from deployfit.layers.attention import Attention
from deployfit.layers.blueprint import Blueprint, Layer
from deployfit.layers.feed import Experts, Mlp

NORMS = ("attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm")
NORMS_OF_EXPERTS = (*NORMS[:3], "post_ffw_norm_1", "pre_ffw_norm_2", "post_ffw_norm_2", NORMS[3])
DEFAULTS = {
    "hidden_size": 2_304,
    "intermediate_size": 9_216,
    "num_hidden_layers": 30,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "max_position_embeddings": 131_072,
    "sliding_window": 512,
    "hidden_size_per_layer_input": 256,
}
FULL_HEAD_DIM = 512
FULL_ROTARY = 0.25  # of a head of a full layer


def blueprint(text: Numbers, top: Numbers) -> Blueprint:
    """Return the blueprint of a configuration."""
    text = text.with_defaults(DEFAULTS)
    count = text.count("num_hidden_layers")
    slides = windowed(text, count, every=6)
    slides[-1] = False  # the last layer is a full one, whatever is listed
    own_caches = count - text.count("num_kv_shared_layers", default=0, least=0)
    if own_caches < 1:
        text.contradiction(
            "num_kv_shared_layers", f"a whole number from 0 to {count - 1}", text.get("num_kv_shared_layers")
        )
    window, full = _mixers(text, slides.index(False))
    layers = [
        _layer(text, (window if each else full)._replace(shared_cache=index >= own_caches))
        for index, each in enumerate(slides)
    ]
    vocab = text.count("vocab_size", default=262_144)
    least = 1 if layers[0].per_layer_width else 0
    return model(text, top, layers, tied=True, vocab=vocab)._replace(
        rope_factors=full.head_dim // 2,
        embedding_scaled=True,
        outputs_chosen="after_norm",
        logits_capped=text.get("final_logit_softcapping") is not None,
        per_layer_vocab=text.count("vocab_size_per_layer_input", default=vocab, least=least),
    )


def _mixers(text: Numbers, first_full: int) -> tuple[Attention, Attention]:
    """Return the mixers of layers with a window and of full layers.

    What is different in full layers has names of its own, or stands under each layer's number (transformers 5.24).
    """
    mixer = attention(text)._replace(norm="head", value_norm=True)
    by_layer = text.section("per_layer_config")
    own = (by_layer.section(str(first_full)) if by_layer else None) or text.empty()
    head_dim = text.count("global_head_dim", default=own.count("head_dim", default=FULL_HEAD_DIM))
    heads = own.count("num_key_value_heads", default=mixer.kv_heads)
    full = mixer._replace(
        head_dim=head_dim,
        kv_heads=text.count("num_global_key_value_heads", default=heads),
        rotary=int(head_dim * FULL_ROTARY),
        keys_are_values=text.flag("attention_k_eq_v", False),
    )
    return mixer._replace(window=text.count("sliding_window")), full


def _layer(text: Numbers, mixer: Attention) -> Layer:
    wide = text.flag("use_double_wide_mlp", False) and mixer.shared_cache
    mlp = Mlp(text.count("intermediate_size") * (2 if wide else 1), activation="gelu")
    experts = text.count("num_experts", default=0, least=0) if text.flag("enable_moe_block", False) else 0
    feed = (
        Experts(
            count=experts,
            used=text.count("top_k_experts", "num_experts_per_tok"),
            width=text.count("moe_intermediate_size", "expert_intermediate_size"),
            activation="gelu",
            fused=True,
            beside=mlp,
        )
        if experts
        else mlp
    )
    width = text.count("hidden_size_per_layer_input", least=0)
    return Layer(mixer, feed, NORMS_OF_EXPERTS if experts else NORMS, per_layer_width=width, scaled=True)
