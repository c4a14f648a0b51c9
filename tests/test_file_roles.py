"""Roles of tensors by their names: what every model of the catalogue is called in every format is found again."""

from __future__ import annotations

import pytest

from deployfit.catalogue import models, rows
from deployfit.formats.checkpoint_names import CHECKPOINT_NAMES
from deployfit.formats.file_roles import CheckpointRoles, GgufRoles, Standing
from deployfit.formats.gguf import GgufSource
from deployfit.formats.mlx import MLX_LM, RECIPES, mlx_runs
from deployfit.layers.tensor import OUTSIDE, Part
from deployfit.models import Model
from deployfit.quants.conventions import conventions
from deployfit.quants.mlx import mlx_source

NAMES = list(models())


def roles_of(model: Model) -> CheckpointRoles:
    blueprint = model.blueprint
    roles = {tensor.role for tensor in blueprint.tensors()}
    return CheckpointRoles(rows(CHECKPOINT_NAMES), blueprint.model_type, roles, len(blueprint.layers))


@pytest.mark.parametrize("name", NAMES)
def test_every_tensor_of_mlx_is_found(name: str) -> None:
    model = models()[name]
    roles = roles_of(model)
    plain = next(recipe for recipe in rows(RECIPES) if recipe.name == "bf16")
    for layer, block in mlx_runs(mlx_source(model), plain, MLX_LM):
        for stored in block.tensors:
            called = stored.name if layer == OUTSIDE else stored.name.replace("*", str(layer), 1)
            assert roles.standing(called) == Standing(stored.role, stored.part, layer), called


@pytest.mark.parametrize("name", NAMES)
def test_every_tensor_of_a_checkpoint_is_found(name: str) -> None:
    """Roles that share a name are stacked in it."""
    model = models()[name]
    roles, names = roles_of(model), conventions(model.blueprint.model_type).checkpoint_names
    for tensor in model.blueprint.tensors():
        if tensor.part is not Part.VISION:
            layer = (
                tensor.layer - len(model.blueprint.layers)
                if names.drafts_apart and tensor.part is Part.MTP
                else tensor.layer
            )
            called = names.name(tensor).replace("*", str(layer), 1).replace("#", "17")
            found = roles.standing(called)
            assert tensor.role in found.role.split("+"), called
            assert found.part is tensor.part, called
            if tensor.of != "draft":
                assert found.layer == tensor.layer, called


@pytest.mark.parametrize("name", NAMES)
def test_every_tensor_of_gguf_is_found(name: str) -> None:
    blueprint = models()[name].blueprint
    roles = GgufRoles(len(blueprint.layers))
    for tensors in GgufSource(blueprint, drafts=True).classes:
        for layer in tensors.layers:
            found = roles.standing(tensors.full_name(layer))
            assert found == Standing(tensors.role, tensors.part, layer), tensors.full_name(layer)


UNKNOWN = [
    "blk.0.mystery.weight",
    "mystery",
    "blk.x.attn_q.weight",
    "blk.0",
    "",
    "blk.0..weight",
    "blk.123456.attn_q.weight",
]


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_nobody_knows_is_unknown_and_never_silently_text(name: str) -> None:
    assert GgufRoles(4).standing(name).role == "unknown"
    assert CheckpointRoles(rows(CHECKPOINT_NAMES), "", (), 4).standing(name).role == "unknown"


EXPERTS = {
    "model.layers.3.block_sparse_moe.experts.7.w1.weight": True,
    "model.layers.3.mlp.switch_mlp.up_proj.scales": True,
    "model.layers.3.mlp.experts.gate_up_proj_blocks": True,
    "language_model.model.layers.3.feed_forward.experts.down_proj": True,
    "backbone.layers.3.mixer.experts.9.up_proj.weight": True,
    "model.layers.3.mlp.shared_expert.up_proj.weight": False,
    "model.layers.3.mlp.gate.weight": False,
}


@pytest.mark.parametrize("name", EXPERTS)
def test_experts_are_experts_whatever_the_architecture(name: str) -> None:
    """A missed expert would count as read for every token."""
    found = CheckpointRoles(rows(CHECKPOINT_NAMES), "", (), 100).standing(name)
    assert ("_exps" in found.role, found.layer, found.part) == (EXPERTS[name], 3, Part.TEXT)


EMBEDDINGS = {
    "model.embed_tokens.weight": "token_embd",
    "language_model.model.embed_tokens.scales": "token_embd",
    "backbone.embeddings.weight": "token_embd",
    "lm_head.weight": "output",
}


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_embeddings_and_heads(name: str) -> None:
    found = CheckpointRoles(rows(CHECKPOINT_NAMES), "", (), 100).standing(name)
    assert (found.role, found.layer) == (EMBEDDINGS[name], OUTSIDE)
