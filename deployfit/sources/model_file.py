"""A model out of a place's files: its numbers out of key-values or config.json, its weights out of tensor tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from deployfit import catalogue
from deployfit.errors import DataError, InputError, quoted
from deployfit.formats.checkpoint_names import CHECKPOINT_NAMES
from deployfit.formats.file_roles import VISION, CheckpointRoles, GgufRoles, Roles
from deployfit.layers.blueprint import Blueprint
from deployfit.layers.tensor import OUTSIDE, Part
from deployfit.layers.vision import VisionTower
from deployfit.models import own_model
from deployfit.printable import printable
from deployfit.quants.quantization import quantized_by, read_quantization
from deployfit.quants.real_file import PACKED, RealFile, check_whole, params_note, weigh
from deployfit.quants.sized_file import SizedFile
from deployfit.quants.weights import MLX, WeightClass, Weights
from deployfit.repository import GGUF, MMPROJ, MODEL, SAFETENSORS, FileGroup, choose_group, group_files, of_one_model
from deployfit.sources.headers import Headers, read_config, read_headers
from deployfit.sources.listing import Listing
from deployfit.sources.opened import How, Opened
from deployfit.sources.plain_attention import plain_attention
from deployfit.sources.towers import tower_of

MOST_LAYERS = 100_000  # more than any file: of one that does not say how many are no draft layers
NO_MODELS: Mapping[object, str] = {  # by general.type, and by general.architecture of older files
    "mmproj": "a vision tower",
    "clip": "a vision tower",
    "adapter": "an adapter",
    "imatrix": "an importance matrix",
}
MLX_TYPES = ("BF16", "F16", "F32", "U32", "U8")  # which mlx-lm is known to load as they are


def open_listing(listing: Listing, how: How) -> Opened:
    """Return the model of a place: the only one, or the one that a pattern names."""
    groups = group_files(listing.files)
    models = [group for group in groups if group.role == MODEL and not group.missing]
    if how.each and how.pattern is None and len(models) > 1 and of_one_model(models):
        return _open_each(listing, groups, models, how)
    group = choose_group(as_one(groups) if how.pattern is None else groups, how.pattern, listing.place)
    return open_group(listing, groups, group, how)


def _open_each(listing: Listing, groups: Sequence[FileGroup], models: Sequence[FileGroup], how: How) -> Opened:
    """Return the smallest of several files of one model, looked into, with the others beside it by their sizes."""
    smallest, *others = sorted(models, key=lambda group: (group.nbytes, group.name))
    opened = open_group(listing, groups, smallest, how)
    assert isinstance(opened.quant, RealFile)
    header_bytes = smallest.nbytes - opened.quant.found.tensor_bytes
    sized = (SizedFile(name_of(listing, each), each.nbytes, opened.quant, header_bytes) for each in others)
    return opened._replace(others=tuple(sized))


def open_group(listing: Listing, groups: Sequence[FileGroup], group: FileGroup, how: How) -> Opened:
    """Return the model of one group of files; raise InputError or DataError for what is none."""
    headers = read_headers(listing, group, how.progress)
    opened = _of_gguf if group.format == GGUF else _of_safetensors
    found = opened(listing, group, headers)
    if how.vision and group.format == GGUF:
        return _with_tower(listing, groups, group, how, found)
    return found


def name_of(listing: Listing, group: FileGroup) -> str:
    """Return how a file is called in answers."""
    return printable(f"{listing.place.rstrip('/')}/{group.name}" if listing.place else group.name)


def weights_of(listing: Listing, group: FileGroup, headers: Headers) -> Weights:
    """Return the weights of a file, whatever its architecture."""
    if group.format == GGUF:
        return weigh(name_of(listing, group), GGUF, headers.tensors, group.nbytes, GgufRoles(_trunk(headers)))
    config = read_config(listing, _folder(group)) or {}
    return _safetensors_weights(listing, group, headers, config, None)


def _of_gguf(listing: Listing, group: FileGroup, headers: Headers) -> Opened:
    from deployfit.architectures.registry import blueprint_of_gguf

    place = f"{quoted(listing.place)}: {quoted(group.name)}"
    name = headers.metadata.get("general.architecture")
    no_model = NO_MODELS.get(headers.metadata.get("general.type")) or NO_MODELS.get(name)
    if no_model:
        raise InputError(f"{place}: {no_model}, no model of its own (deployfit hub shows what is in it)")
    architecture = printable(name) if isinstance(name, str) else ""
    shapes = {tensor.name: tensor.shape for tensor in headers.tensors}
    weights = weights_of(listing, group, headers)
    notes = (_source_note(listing, group),)
    try:
        blueprint = blueprint_of_gguf(headers.metadata, headers.arrays, shapes, place, catalogue.architectures())
    except DataError:
        raise
    except InputError:  # an architecture that nobody wrote
        assumed = plain_attention(headers.metadata, headers.arrays, shapes)
        return _opened(listing, group, architecture, None, weights, assumed, notes)
    return _opened(listing, group, architecture, blueprint, weights, None, notes)


def _of_safetensors(listing: Listing, group: FileGroup, headers: Headers) -> Opened:
    from deployfit.architectures.registry import read_blueprint

    place = f"{quoted(listing.place)}: config.json"
    notes = [_source_note(listing, group)]
    config = read_config(listing, _folder(group))
    if config is None:
        notes.append("no config.json beside it, so its architecture is not known")
        config = {}
    architecture = config.get("model_type")
    architecture = printable(architecture) if isinstance(architecture, str) else ""
    blueprint: Blueprint | None = None
    try:
        blueprint = read_blueprint(config, place, catalogue.architectures())
    except DataError:
        raise
    except InputError:
        pass
    weights = _safetensors_weights(listing, group, headers, config, blueprint)
    method = quantized_by(config)
    if method:
        notes.append(f"config.json says that it is quantized with {method}")
    return _opened(listing, group, architecture, blueprint, weights, None, tuple(notes))


def _opened(
    listing: Listing,
    group: FileGroup,
    architecture: str,
    blueprint: Blueprint | None,
    weights: Weights,
    assumed: Blueprint | None,
    notes: tuple[str, ...],
) -> Opened:
    weights = weights._replace(notes=(*notes, *weights.notes))
    if blueprint is not None:
        check_whole(weights, len(blueprint.layers), quoted(group.name))
        weights = weights._replace(notes=(*weights.notes, *params_note(weights, blueprint)))
    elif architecture:
        notes = (*notes, f"architecture {architecture}: deployfit does not know how it runs")
    model = None if blueprint is None else own_model(listing.title(group), blueprint, listing.place)
    return Opened(name_of(listing, group), architecture, model, RealFile(weights), assumed, notes)


def _safetensors_weights(
    listing: Listing, group: FileGroup, headers: Headers, config: dict[str, Any], blueprint: Blueprint | None
) -> Weights:
    """Return the weights; as MLX's if mlx-lm loads such files: its own, and plain checkpoints."""
    types = {tensor.type for tensor in headers.tensors}
    format_name = MLX if types <= set(MLX_TYPES) and not (quantized_by(config) and PACKED not in types) else SAFETENSORS
    roles: Roles = CheckpointRoles(
        catalogue.rows(CHECKPOINT_NAMES),
        blueprint.model_type if blueprint else "",
        {tensor.role for tensor in blueprint.tensors()} if blueprint else (),
        len(blueprint.layers) if blueprint else MOST_LAYERS,
    )
    name = name_of(listing, group)
    return weigh(name, format_name, headers.tensors, group.nbytes, roles, read_quantization(config))


def _trunk(headers: Headers) -> int:
    """Return how many layers of a GGUF file are no draft layers."""
    architecture = headers.metadata.get("general.architecture")
    blocks = headers.metadata.get(f"{architecture}.block_count")
    drafts = headers.metadata.get(f"{architecture}.nextn_predict_layers", 0)
    return blocks - drafts if type(blocks) is int and type(drafts) is int else MOST_LAYERS


def _source_note(listing: Listing, group: FileGroup) -> str:
    return printable(f"weights: the tensor table of {quoted(group.name)}{listing.origin}")


def _folder(group: FileGroup) -> str:
    return group.files[0].name.rpartition("/")[0]


def _with_tower(listing: Listing, groups: Sequence[FileGroup], group: FileGroup, how: How, opened: Opened) -> Opened:
    """Return the model with the vision tower of the mmproj file beside it, if there is one that fits."""
    hidden = opened.model.blueprint.hidden if opened.model else 0
    assert isinstance(opened.quant, RealFile)
    for beside in sorted((each for each in groups if each.role == MMPROJ), key=lambda each: each.nbytes):
        if _folder(beside) not in (_folder(group), ""):
            continue
        note = f"vision tower: {printable(beside.name)} beside it"
        try:
            headers = read_headers(listing, beside, how.progress)
        except DataError:
            unread = (WeightClass(VISION, "", Part.VISION, (OUTSIDE,), beside.nbytes),)
            note += ", whose header cannot be read: its size stands for it"
            return opened._replace(quant=opened.quant._replace(tower=unread, tower_note=note))
        if hidden and headers.metadata.get("clip.vision.projection_dim", hidden) != hidden:
            continue
        quant = opened.quant._replace(tower=tower_classes(headers), tower_note=note)
        return opened._replace(quant=quant, model=_seeing(opened, tower_of(headers)))
    return opened


def tower_classes(headers: Headers) -> tuple[WeightClass, ...]:
    """Return the tensors of an mmproj file by type."""
    sizes: dict[str, int] = {}
    for tensor in headers.tensors:
        sizes[tensor.type] = sizes.get(tensor.type, 0) + tensor.nbytes
    return tuple(WeightClass(VISION, kind, Part.VISION, (OUTSIDE,), nbytes) for kind, nbytes in sizes.items())


def _seeing(opened: Opened, tower: VisionTower | None) -> Any:
    if opened.model is None or tower is None:
        return opened.model
    return opened.model._replace(blueprint=opened.model.blueprint._replace(vision=tower))


def as_one(groups: Sequence[FileGroup]) -> list[FileGroup]:
    """Return the groups with all safetensors that mlx-lm loads as one model: model*.safetensors, no folders."""
    tops = [group for group in groups if group.format == SAFETENSORS and "/" not in group.name]
    models = [group for group in tops if group.name.startswith("model")]
    if not models:
        return list(groups)
    others = [group for group in groups if group not in tops]
    files = tuple(file for group in models for file in group.files)
    missing = sum(group.missing for group in models)
    return [*others, FileGroup("model.safetensors", SAFETENSORS, MODEL, files, missing)]
