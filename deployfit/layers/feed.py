"""Feed-forward blocks: one for all tokens, or a mixture of experts."""

from __future__ import annotations

from deployfit.layers.tensor import Roles
from deployfit.values import NamedTuple


class Mlp(NamedTuple):
    """A feed-forward block of `width`; `gated` ones have a second input projection.

    `activation`: "silu", "gelu" or "relu2". `fused`: both input projections are one tensor (Phi). `bias`: all have one.
    """

    width: int
    gated: bool = True
    activation: str = "silu"
    fused: bool = False
    bias: bool = False

    @property
    def kind(self) -> str:
        """As its tensors are marked."""
        return "mlp"

    def tensors(self, hidden: int, ending: str = "") -> Roles:
        """Yield role and shape of its tensors."""
        rows = {"gate": self.width, "up": self.width, "down": hidden}
        if self.fused:
            del rows["gate"]
            rows["up"] *= 2
        elif not self.gated:
            del rows["gate"]
        for word, count in rows.items():
            yield f"ffn_{word}{ending}", (count, self.width if word == "down" else hidden)
        if self.bias:
            for word, count in rows.items():
                yield f"ffn_{word}{ending}.bias", (count,)


class Experts(NamedTuple):
    """A mixture of experts: `count` of `width`, of which each token goes through `used`.

    `shared_width`: that of the experts that every token goes through, together; `shared_gate`: weighted by a gate.
    `scoring`: what makes weights of the router's answers, "softmax", "sigmoid", or "softmax_chosen" of the chosen
    ones only (gpt-oss). `selection_bias`: a bias that only chooses. `normalized`: the chosen weights add up to 1.
    `scaled`: they are multiplied by a factor. `groups` of experts, of which `groups_used` are looked at. `biases`: the
    router and the experts have biases (gpt-oss). `weight_first`: inputs are weighted, not outputs (Llama 4).
    `fused`: gate and up are one tensor in the engine's file too (Gemma 4). `beside`: a dense block that runs beside
    the experts, with norms of its own (Gemma 4). `latent`: the experts work in a smaller space of that size
    (Nemotron 3 Super). `activation`: "silu", "gelu", "relu2", "swiglu_oai".
    """

    count: int  # type: ignore[assignment]  # of a tuple's equal entries, which nobody asks for
    used: int
    width: int
    gated: bool = True
    activation: str = "silu"
    shared_width: int = 0
    shared_gate: bool = False
    scoring: str = "softmax"
    selection_bias: bool = False
    normalized: bool = True
    scaled: bool = False
    groups: int = 0
    groups_used: int = 0
    biases: bool = False
    weight_first: bool = False
    fused: bool = False
    beside: Mlp | None = None
    latent: int = 0

    @property
    def kind(self) -> str:
        """As its tensors are marked."""
        return "experts"

    def tensors(self, hidden: int) -> Roles:
        """Yield role and shape of its tensors; experts are stacks of matrices."""
        inner = self.latent or hidden
        if self.beside:
            yield from self.beside.tensors(hidden)
        yield "ffn_gate_inp", (self.count, hidden)
        if self.selection_bias:
            yield "exp_probs_b.bias", (self.count,)
        if self.beside:
            yield "ffn_gate_inp.scale", (hidden,)
            yield "ffn_down_exps.scale", (self.count,)
        if self.biases:
            yield "ffn_gate_inp.bias", (self.count,)
        if self.latent:
            yield "ffn_latent_down", (self.latent, hidden)
            yield "ffn_latent_up", (hidden, self.latent)
        if self.fused:
            yield "ffn_gate_up_exps", (self.count, 2 * self.width, inner)
        else:
            if self.gated:
                yield "ffn_gate_exps", (self.count, self.width, inner)
            yield "ffn_up_exps", (self.count, self.width, inner)
        yield "ffn_down_exps", (self.count, inner, self.width)
        if self.biases:
            for role, width in (("gate", self.width), ("up", self.width), ("down", inner)):
                yield f"ffn_{role}_exps.bias", (self.count, width)
        if self.shared_width:
            yield from Mlp(self.shared_width, self.gated).tensors(hidden, "_shexp")
            if self.shared_gate:
                yield "ffn_gate_inp_shexp", (1, hidden)
