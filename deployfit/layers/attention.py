"""Softmax attention: grouped-query attention with a KV cache, and latent attention with a compressed one."""

from __future__ import annotations

from deployfit.layers.tensor import Roles
from deployfit.values import NamedTuple


class Attention(NamedTuple):
    """Grouped-query attention. All lengths are numbers of elements; 0 or "" means that there is none of it.

    `window`: a token sees that many before it, and the cache need hold no more. `chunk`: it sees its own chunk only
    (Llama 4). `gate`: what comes out goes through a gate, which the query projection gives too ("joint"), or one of its
    "own". `norm`: RMS norms of queries and keys, a vector "head" by head, one over "all" heads, or "plain" without a
    weight; "made" are plain ones for which llama.cpp's files have weights all the same. `biases`: which of q, k, v and
    o have one. `rotary`: how many dimensions of a head are rotated, `head_dim` unless said; 0 for none.
    `keys_are_values`: no value projection of its own. `value_norm`: values go through an RMS norm without a weight.
    `shared_cache`: reads an earlier layer's cache; its projections of keys and values are in the checkpoint, but
    nothing reads them (`idle`). `fused`: queries, keys and values are one tensor. `scaled`: queries are scaled by a
    temperature that grows with the position (Llama 4's layers without rotation, Mistral).
    """

    heads: int
    kv_heads: int
    head_dim: int
    rotary: int
    window: int = 0
    chunk: int = 0
    gate: str = ""
    norm: str = ""
    biases: str = ""
    sinks: bool = False
    keys_are_values: bool = False
    value_norm: bool = False
    shared_cache: bool = False
    fused: bool = False
    scaled: bool = False

    @property
    def kind(self) -> str:
        """As its tensors are marked."""
        return "attention"

    @property
    def headline(self) -> str:
        """As lists of layers call it.

        >>> Attention(32, 8, 128, 128, window=1024).headline
        'attention in a window of 1,024'
        """
        if self.window or self.chunk:
            what = f"attention in {'a window' if self.window else 'chunks'} of {self.window or self.chunk:,}"
        else:
            what = "full attention"
        return what + (" (an earlier layer's cache)" if self.shared_cache else "")

    @property
    def query_dim(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_dim

    @property
    def kv_dim(self) -> int:
        """Width of all key heads together, and of all value heads."""
        return self.kv_heads * self.head_dim

    @property
    def idle(self) -> tuple[str, ...]:
        """The roles of tensors that the checkpoint has and nothing reads."""
        return ("attn_k", "attn_v", "attn_k_norm") if self.shared_cache else ()

    def tensors(self, hidden: int) -> Roles:
        """Yield role and shape of its tensors."""
        query_rows = self.query_dim * (2 if self.gate == "joint" else 1)
        rows = {"q": query_rows, "k": self.kv_dim, "v": self.kv_dim}
        if self.keys_are_values:
            del rows["v"]
        if self.fused:
            yield "attn_qkv", (sum(rows.values()), hidden)
        else:
            for letter, count in rows.items():
                yield f"attn_{letter}", (count, hidden)
        if self.gate == "own":
            yield "attn_gate", (self.query_dim, hidden)
        yield "attn_output", (hidden, self.query_dim)
        for letter, count in rows.items():
            if letter in self.biases:
                yield f"attn_{letter}.bias", (count,)
        if "o" in self.biases:
            yield "attn_output.bias", (hidden,)
        if self.norm in ("head", "all"):
            queries, keys = (self.head_dim,) * 2 if self.norm == "head" else (self.query_dim, self.kv_dim)
            yield "attn_q_norm", (queries,)
            yield "attn_k_norm", (keys,)
        if self.sinks:
            yield "attn_sinks", (self.heads,)


class Indexer(NamedTuple):
    """Picks the `top` tokens that latent attention looks at; its keys are a cache of their own (DeepSeek-V3.2)."""

    heads: int
    head_dim: int
    top: int


class LatentAttention(NamedTuple):
    """Multi-head latent attention: the cache has one compressed row per token for all heads, and no values.

    `query_rank` is 0 where queries are not compressed. `nope_dim` and `rope_dim` are the parts of a head without and
    with rotation; `rotary` says whether the latter is rotated at all (not in Kimi-Linear). `scaled`: queries are scaled
    by a temperature that grows with the position (Mistral Small 4).
    """

    heads: int
    query_rank: int
    kv_rank: int
    nope_dim: int
    rope_dim: int
    value_dim: int
    rotary: bool = True
    indexer: Indexer | None = None
    scaled: bool = False

    @property
    def kind(self) -> str:
        """As its tensors are marked."""
        return "latent_attention"

    @property
    def headline(self) -> str:
        """As lists of layers call it."""
        return "latent attention with an indexer" if self.indexer else "latent attention"

    @property
    def cache_row(self) -> int:
        """Elements that the cache keeps of a token."""
        return self.kv_rank + self.rope_dim

    def tensors(self, hidden: int) -> Roles:
        """Yield role and shape of its tensors; `attn_kv_b` is one matrix, as in the checkpoint."""
        head = self.nope_dim + self.rope_dim
        if self.query_rank:
            yield "attn_q_a", (self.query_rank, hidden)
            yield "attn_q_a_norm", (self.query_rank,)
            yield "attn_q_b", (self.heads * head, self.query_rank)
        else:
            yield "attn_q", (self.heads * head, hidden)
        yield "attn_kv_a_mqa", (self.cache_row, hidden)
        yield "attn_kv_a_norm", (self.kv_rank,)
        yield "attn_kv_b", (self.heads * (self.nope_dim + self.value_dim), self.kv_rank)
        yield "attn_output", (hidden, self.heads * self.value_dim)
        if self.indexer:
            heads, size, _ = self.indexer
            yield "indexer.attn_q_b", (heads * size, self.query_rank or hidden)
            yield "indexer.attn_k", (size, hidden)
            yield "indexer.k_norm", (size,)
            yield "indexer.k_norm.bias", (size,)
            yield "indexer.proj", (heads, hidden)
