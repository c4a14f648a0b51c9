"""What llama.cpp refuses or aborts on is refused with its reason; what it accepts is not. Seen in the real engine."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from deployfit.catalogue import models
from deployfit.errors import InputError
from deployfit.layers.blueprint import Layer
from deployfit.quants.weights import Options
from deployfit.runtimes.llamacpp.engine import RUNTIME
from deployfit.runtimes.llamacpp.settings import LlamaCppSettings, settings_of

Q8 = LlamaCppSettings(4_096, "q8_0", "q8_0")
MIXED = LlamaCppSettings(4_096, "q8_0", "q4_0")


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("DeepSeek-V3", MIXED, "KV types q8_0 and q4_0: latent attention has one cache; choose equal types"),
        ("DeepSeek-V3.2", MIXED, "KV types q8_0 and q4_0: latent attention has one cache; choose equal types"),
        ("Kimi-Linear-48B-A3B", Q8, "KV type q8_0: heads of 72 do not divide into its blocks; choose f16"),
        (
            "Kimi-Linear-48B-A3B",
            LlamaCppSettings(4_096, parallel=3),
            "ubatch: llama.cpp aborts with this model if 512 tokens do not divide among 3 separate sequences;"
            " choose 510, or kv_unified",
        ),
        (
            "Phi-4",
            Q8._replace(parallel=2),
            "KV types q8_0 and q8_0 with 2 separate sequences: llama.cpp aborts, for the graph is larger than planned;"
            " choose f16, or kv_unified",
        ),
        ("Qwen3-8B", Q8._replace(flash_attn=False), "KV type q8_0: quantized values need flash_attn"),
        ("Qwen3-8B", LlamaCppSettings(50_000), "context: 50,000 tokens; choose from 1 to the trained 40,960"),
        ("Qwen3-8B", LlamaCppSettings(1, parallel=257), "parallel: 257 sequences; choose from 1 to 256"),
        ("Qwen3-8B", LlamaCppSettings(1, ubatch=0), "ubatch: 0 tokens; choose from 1 to 262,144"),
        ("Qwen3-8B", LlamaCppSettings(1, "q8_1"), "no KV type 'q8_1'; did you mean q8_0 or q5_1?"),
    ],
)
def test_refused_with_the_engines_reason(name: str, settings: LlamaCppSettings, message: str) -> None:
    with pytest.raises(InputError) as refusal:
        RUNTIME.check(models()[name].blueprint, settings)
    assert str(refusal.value) == message


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("Kimi-Linear-48B-A3B", LlamaCppSettings(4_096, parallel=3, kv_unified=True)),
        ("Kimi-Linear-48B-A3B", LlamaCppSettings(4_096, parallel=4)),
        ("Qwen3-Next-80B-A3B", LlamaCppSettings(4_096, parallel=3)),
        ("Phi-4", Q8),
        ("Phi-4", Q8._replace(parallel=4, kv_unified=True)),
        ("Phi-4", LlamaCppSettings(4_096, "q8_0", "f16", parallel=4)),
        ("Phi-4-mini", Q8._replace(parallel=4)),
        ("DeepSeek-V3", Q8._replace(parallel=2)),
        ("Qwen3-8B", LlamaCppSettings(4_096, "q8_0", "f16", flash_attn=False)),
    ],
)
def test_accepted_as_the_engine_accepts_it(name: str, settings: LlamaCppSettings) -> None:
    RUNTIME.check(models()[name].blueprint, settings)


def test_smaller_caches_are_advised_only_where_the_engine_takes_them() -> None:
    advised = {
        name: [typed for typed, _ in RUNTIME.thriftier(models()[name].blueprint, LlamaCppSettings(4_096, parallel=2))]
        for name in ("Qwen3-8B", "Phi-4", "Kimi-Linear-48B-A3B")
    }
    smaller = [{"kv_type": "q8_0"}, {"kv_type": "q4_0"}]
    assert advised == {"Qwen3-8B": smaller, "Phi-4": [], "Kimi-Linear-48B-A3B": []}


class Retention(NamedTuple):
    """A kind of layer that no engine knows."""

    kind: str = "retention"


def test_a_kind_of_layer_that_is_not_known_is_named() -> None:
    blueprint = models()["Qwen3-8B"].blueprint
    unknown = blueprint._replace(layers=(Layer(Retention(), None),))  # type: ignore[arg-type]
    with pytest.raises(InputError, match="what it allocates for layers of kind 'retention' is not known"):
        RUNTIME.check(unknown, LlamaCppSettings(4_096))


def test_settings_are_read_as_they_are_typed() -> None:
    typed = {"kv_type": "Q8_0", "kv_type_v": "f16", "parallel": "4", "ubatch": "256", "kv_unified": "true"}
    expected = LlamaCppSettings(8_192, "q8_0", "f16", 4, 256, kv_unified=True)
    assert settings_of(8_192, typed) == expected
    assert RUNTIME.headline(expected) == (
        "context 8,192 tokens for 4 sequences in one cache, KV q8_0/f16, micro-batch 256"
    )
    for wrong in ({"parallel": "four"}, {"ubatch": "-1"}, {"kv_unified": "maybe"}, {"kv_type": "q9"}):
        with pytest.raises(InputError):
            settings_of(8_192, wrong)


def test_a_window_is_cached_with_a_micro_batch_unless_all_is() -> None:
    """Half of gpt-oss-20b's 24 layers see 128 tokens; 8 heads of 64, keys and values, F16."""
    blueprint, cell = models()["gpt-oss-20b"].blueprint, 2 * 8 * 64 * 2

    def cache(**changes: int | bool) -> tuple[int, str]:
        settings = LlamaCppSettings(32_768)._replace(**changes)  # type: ignore[arg-type]
        part = RUNTIME.running(blueprint, settings, Options())[0]
        return part.nbytes, part.detail

    everywhere = "24 of 24 layers"
    assert cache() == (12 * (32_768 + 768) * cell, f"{everywhere}, 12 for 768 tokens")
    assert cache(ubatch=2_048) == (12 * (32_768 + 2_304) * cell, f"{everywhere}, 12 for 2,304 tokens")
    assert cache(parallel=4) == (12 * (32_768 + 4 * 768) * cell, f"{everywhere}, 12 for 768 tokens")
    assert cache(parallel=4, kv_unified=True) == (
        12 * (32_768 + 1_024) * cell,
        f"{everywhere}, 12 for 1,024 tokens",
    )
    assert cache(swa_full=True) == (24 * 32_768 * cell, f"{everywhere} have one")
    assert cache(context_tokens=512) == (24 * 512 * cell, f"{everywhere} have one")
