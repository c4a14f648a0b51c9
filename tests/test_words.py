"""What people type: models, recipes, Macs and numbers, against a list of names and against the data themselves."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from conftest import engine_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from deployfit.catalogue import data_text, rows
from deployfit.errors import InputError
from deployfit.hardware.gpu_limit import parse_macos
from deployfit.hardware.mac import MACS, Mac
from deployfit.models import MODELS, ModelRow
from deployfit.parameters import command_line
from deployfit.questions.resolve import model_and_file
from deployfit.tables import Table
from deployfit.units import GIB, MIB
from deployfit.words.aliases import ALIASES, AliasRow
from deployfit.words.macs import MAC_MODELS, mac_named, machines_named, macs_meant
from deployfit.words.models import model_named
from deployfit.words.named import Named, PublishedName
from deployfit.words.near import is_typo
from deployfit.words.numbers import TRAINED, byte_size, context, contexts, speed, whole_number, wired_limit
from deployfit.words.quants import quant_words
from deployfit.words.references import reference
from deployfit.words.text import key, undotted, words


class Publisher:
    """A row of the publishers, read without the code that reads them."""

    def __init__(self, name: str, format_name: str, repo: str) -> None:
        self.name, self.format, self.repo = name, format_name, repo


PUBLISHERS = Table(
    "publishers.csv",
    ["publisher", "format", "repo"],
    lambda row: Publisher(row.text("publisher"), row.text("format"), row.text("repo")),
)
RECIPES = Table(
    "publisher_recipes.csv",
    ["publisher", "format", "recipe", "models"],
    lambda row: (
        PublishedName(row.text("publisher"), row.text("format"), row.text("recipe")),
        row.text("models").split(),
    ),
)


def publishers() -> list[Publisher]:
    return rows(PUBLISHERS)


def named(text: str) -> Named:
    return model_named(
        text, rows(MODELS), publishers, lambda: rows(ALIASES), lambda: [name for name, _ in rows(RECIPES)]
    )  # type: ignore[arg-type,return-value]


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(InputError) as refused:
        call()
    return command_line(refused.value.marked)


def mac(text: str) -> Mac:
    return mac_named(text, rows(MACS), lambda: rows(MAC_MODELS))


# The list of names


TYPED = engine_rows("names.csv")


def typed(kind: str) -> list[tuple[str, str, str]]:
    return [(row["typed"], row["meaning"], row["file"]) for row in TYPED if row["kind"] == kind]


@pytest.mark.parametrize(("text", "model", "file"), typed("model"))
def test_a_model_is_named(text: str, model: str, file: str) -> None:
    found = named(text)
    assert found.model == model
    if file.endswith("(its files)"):
        assert (found.publisher, found.quant) == (file.split()[0], None)
    elif file == "ollama's file":
        assert found.publisher == "ollama"
    elif ":" in file:
        assert found.quant_text == file
    else:
        assert found.quant == (file or None)


@pytest.mark.parametrize(("text", "meaning", "_file"), typed("quant"))
def test_a_recipe_is_named(text: str, meaning: str, _file: str) -> None:
    found = quant_words(text)
    name, _, format_name = meaning.partition(" (")
    assert found.text == name
    assert not format_name or found.format == format_name.rstrip(")")


@pytest.mark.parametrize(("text", "meaning", "_file"), typed("mac"))
def test_a_mac_is_named(text: str, meaning: str, _file: str) -> None:
    assert mac(text).name == f"{meaning} GB"


@pytest.mark.parametrize(("text", "meaning", "_file"), typed("context"))
def test_a_context_is_named(text: str, meaning: str, _file: str) -> None:
    assert contexts(text) == ((TRAINED if meaning == "the trained length" else int(meaning)),)


@pytest.mark.parametrize(("text", "meaning", "_file"), typed("wired-limit"))
def test_a_limit_is_named(text: str, meaning: str, _file: str) -> None:
    number, unit = meaning.split()
    assert wired_limit(text) == int(number) * {"MiB": MIB, "GiB": GIB}[unit]


def test_what_is_ambiguous_or_unknown_in_the_list() -> None:
    assert [row["typed"] for row in TYPED if row["kind"].startswith(("ambiguous", "unknown"))] == [
        *("27B", "Mac Studio", "M4 Max 24", "Q9_K", "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B")
    ]
    sized = [row.name for row in rows(MODELS) if "27B" in row.name.upper().split("-")]
    assert refusal(lambda: named("27B")) == f"'27B' may be {', '.join(sized[:-1])} or {sized[-1]}; say which"
    said = refusal(lambda: mac("Mac Studio"))
    assert said.startswith("--mac 'Mac Studio' may be M1 Max 32, 64; M1 Ultra 64, 128; M2 Max 32, 64, 96; ")
    assert refusal(lambda: mac("M4 Max 24")) == "no M4 Max with 24 GB; it was sold with 36, 48, 64, 128 GB"
    assert not quant_words("Q9_K").known
    assert named("deepseek-ai/DeepSeek-R1-Distill-Qwen-32B").model == "DeepSeek-R1-Distill-Qwen-32B"


def test_names_as_they_are_copied() -> None:
    """Every fault of a longer list together: with a file where the name says one, refused where it has no model."""
    wrong = []
    for row in engine_rows("copied_names.csv"):
        try:
            found = model_and_file(row["typed"])[1]
        except InputError as error:
            said = command_line(error.marked)
            if row["model"] or not all(word in said for word in row["said"].split()):
                wrong.append((row, said))
            continue
        is_file = row["said"] in ("", found.quant, found.quant_text)
        if (found.model, is_file) != (row["model"], True):
            wrong.append((row, str(found)))
    assert wrong == []


# Every name of the catalogue


def own_names(row: ModelRow) -> list[str]:
    return [row.name, *(name for name in (row.hub_repo, *row.aliases) if name)]


def spelled(name: str) -> Iterator[str]:
    last = name.rpartition("/")[2]
    yield name
    yield from (last, last.lower(), last.upper(), last.replace("-", "_"), last.replace("-", " "), f" {last} ")
    yield from (f"https://huggingface.co/{name}", f"hf.co/{name}/tree/main", name + "@main") if "/" in name else ()
    yield from (
        f"{last}-GGUF",
        f"{last}-Q4_K_M.gguf",
        f"./models/{last}.Q8_0.gguf",
        f"{last}-MLX-4bit",
        f"{last} 4-bit",
    )
    yield from (f"someone/{last}-GGUF:Q5_K_M", f"{last}-UD-Q4_K_XL-00001-of-00003.gguf", f"lmstudio/{last.lower()}")


@pytest.mark.parametrize("row", rows(MODELS), ids=lambda row: row.name)
def test_every_name_of_a_model_is_its(row: ModelRow) -> None:
    wrong = [
        (text, found) for name in own_names(row) for text in spelled(name) if (found := named(text).model) != row.name
    ]
    assert wrong == []


def test_no_spelling_is_two_models() -> None:
    owners: dict[str, set[str]] = {}
    for row in rows(MODELS):
        for name in own_names(row):
            owners.setdefault(undotted(key(words(name.rpartition("/")[2]))), set()).add(row.name)
    assert {spelling: sorted(models) for spelling, models in owners.items() if len(models) > 1} == {}


def repositories(row: ModelRow, publisher: Publisher, recipe: str) -> Iterator[str]:
    """Yield the names of a publisher's repository of a model, and of a file in it, as it would call them."""
    maker = row.hub_repo.partition("/")[0]
    repo = publisher.repo.replace("/Qwen_", f"/{maker}_").format(model=row.name, recipe=recipe)
    if "{recipe}" in publisher.repo or "gguf" not in repo.casefold():
        yield from (repo, repo.lower(), f"https://huggingface.co/{repo}") if "{recipe}" in publisher.repo else ()
        return
    if not repo.endswith(f"-{recipe}-gguf".lower()):
        yield from (f"{repo}:{recipe}", f"hf.co/{repo}:{recipe.lower()}")
    file = f"{row.name}-{recipe}-00001-of-00002.gguf"
    yield from (f"{repo}/{file}", f"https://huggingface.co/{repo}/resolve/main/{recipe}/{file}?download=true")


@pytest.mark.parametrize("row", rows(MODELS), ids=lambda row: row.name)
def test_every_file_of_a_publisher_is_its_own(row: ModelRow) -> None:
    for publisher in publishers():
        recipes = {
            name.recipe
            for name, models in rows(RECIPES)
            if name[:2] == (publisher.name, publisher.format) and any(fnmatchcase(row.name, each) for each in models)
        }
        for recipe in recipes if publisher.name != "ollama" else ():
            for text in repositories(row, publisher, recipe):
                found = named(text)
                assert (found.model, found.publisher, found.format) == (row.name, publisher.name, publisher.format), (
                    text
                )
                assert found.quant == recipe, text


def test_a_beginning_with_the_size_is_enough() -> None:
    for text, model in (
        *(("Qwen3.5-35B", "Qwen3.5-35B-A3B"), ("qwen3.5 122b", "Qwen3.5-122B-A10B"), ("Qwen3-30B", "Qwen3-30B-A3B")),
        *(("unsloth/Qwen3.5-397B-GGUF", "Qwen3.5-397B-A17B"), ("qwen3-coder:30b", "Qwen3-Coder-30B-A3B")),
        *(("gemma4:26b", "Gemma-4-26B-A4B"), ("nemotron-3-nano:30b", "Nemotron-3-Nano-30B-A3B")),
    ):
        assert named(text).model == model, text


# What a name says of the file


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("unsloth/Qwen3.5-27B", Named("Qwen3.5-27B", owner="unsloth")),
        ("bartowski/Qwen_Qwen3.5-27B-GGUF:IQ4_XS", Named("Qwen3.5-27B", "IQ4_XS", "GGUF", "bartowski")),
        ("mradermacher/Qwen3.5-27B-i1-GGUF:i1-Q4_K_M", Named("Qwen3.5-27B", "Q4_K_M", "GGUF", owner="mradermacher")),
        ("Qwen/Qwen3.5-27B-GPTQ-Int4", Named("Qwen3.5-27B", "GPTQ-Int4", "safetensors", "Qwen")),
        ("nvidia/Qwen3.5-397B-A17B-NVFP4", Named("Qwen3.5-397B-A17B", "NVFP4", "safetensors", "nvidia")),
        ("mlx-community/Qwen3.5-9B-nvfp4", Named("Qwen3.5-9B", "nvfp4", "MLX", "mlx-community")),
        ("mlx-community/Qwen3.5-9B-bf16", Named("Qwen3.5-9B", "bf16", "MLX", "mlx-community")),
        ("unsloth/Qwen3.5-9B-GGUF:bf16", Named("Qwen3.5-9B", "BF16", "GGUF", "unsloth")),
        ("Qwen3.5-9B-BF16", Named("Qwen3.5-9B", "BF16")),
        ("qwen3.5-27b-mlx", Named("Qwen3.5-27B", format="MLX")),
        ("qwen/qwen3.5-27b@q4_k_m", Named("Qwen3.5-27B", "Q4_K_M", "GGUF", owner="qwen")),
        ("lmstudio-community/Qwen3.5-9B-MLX-8bit", Named("Qwen3.5-9B", "8bit", "MLX", owner="lmstudio-community")),
        (
            "lmstudio-community/Qwen3.5-9B-GGUF/Qwen3.5-9B-Q8_0.gguf",
            Named("Qwen3.5-9B", "Q8_0", "GGUF", "lmstudio-community"),
        ),
        ("unsloth/Qwen3.6-27B-MTP-GGUF:Q4_K_M", Named("Qwen3.6-27B", "Q4_K_M", "GGUF", "unsloth", mtp=True)),
        ("models--unsloth--Qwen3.5-27B-GGUF", Named("Qwen3.5-27B", None, "GGUF", "unsloth")),
        ("qwen3.5:9b-q8_0", Named("Qwen3.5-9B", "Q8_0", "GGUF", "ollama")),
        ("qwen3.5:latest", Named("Qwen3.5-9B", "Q4_K_M", "GGUF", "ollama")),
        ("deepseek-r1:32b", Named("DeepSeek-R1-Distill-Qwen-32B", "Q4_K_M", "GGUF", "ollama")),
        ("qwen3:30b-a3b-instruct-2507-q4_K_M", Named("Qwen3-30B-A3B-2507", "Q4_K_M", "GGUF", "ollama")),
        ("ollama run hf.co/unsloth/Qwen3.5-27B-GGUF:Q4_K_M", Named("Qwen3.5-27B", "Q4_K_M", "GGUF", "unsloth")),
        ("lms get qwen/qwen3.5-9b", Named("Qwen3.5-9B")),
        ("unsloth_Qwen3.5-9B-GGUF_Qwen3.5-9B-Q8_0.gguf", Named("Qwen3.5-9B", "Q8_0", "GGUF", "unsloth")),
        ("https://ollama.com/library/gemma3/blobs/abc", Named("Gemma-3-4B", "Q4_K_M", "GGUF", "ollama")),
        ("ollama.com/library/deepseek-r1", Named("DeepSeek-R1-0528-Qwen3-8B", "Q4_K_M", "GGUF", "ollama")),
        (
            "bartowski/DeepSeek-R1-Distill-Llama-70B-GGUF:Q4_K_M",
            Named("DeepSeek-R1-Distill-Llama-70B", "Q4_K_M", "GGUF", "bartowski"),
        ),
        ("library/qwen3.5:35b-a3b", Named("Qwen3.5-35B-A3B", "Q4_K_M", "GGUF", "ollama")),
        ("gemma3:27b-it-qat", Named("Gemma-3-27B", "Q4_0", "GGUF", "ollama")),
        ("gpt-oss:20b", Named("gpt-oss-20b", "MXFP4", "GGUF", "ollama")),
        ("qwen3.6:27b-mlx", Named("Qwen3.6-27B", format="MLX", owner="ollama")),
        ("llama3.2:3b-instruct-fp16", Named("Llama-3.2-3B", "F16", "GGUF", owner="ollama")),
        ("google/gemma-4-12b-it-qat-q4_0-gguf", Named("Gemma-4-12B", "QAT-Q4_0", "GGUF", "google")),
        (
            "lmstudio-community/gemma-4-26B-A4B-it-QAT-GGUF:Q4_0",
            Named("Gemma-4-26B-A4B", "QAT-Q4_0", "GGUF", "lmstudio-community"),
        ),
        ("ibm-granite/granite-4.2-30b-q4-mlx", Named("Granite-4.2-30B", "q4-mlx", "MLX", "ibm-granite")),
        ("lmstudio-community/Phi-4-mini-MLX-4bit", Named("Phi-4-mini", "MLX-4bit", "MLX", "lmstudio-community")),
        ("mlx-community/Qwen3.5-9B-MLX-4bit", Named("Qwen3.5-9B", "4bit", "MLX", "mlx-community")),
        ("Qwen3.5-27B:Q4_K_M", Named("Qwen3.5-27B", "Q4_K_M", "GGUF")),
        ("unsloth/Qwen3.5-27B-GGUF:Q9_K", Named("Qwen3.5-27B", "Q9_K", "GGUF", "unsloth")),
        ("granite-4.2-30b-q4-mlx", Named("Granite-4.2-30B", "4bit", "MLX")),
        ("mlx-community/gpt-oss-120b-MXFP4-Q8", Named("gpt-oss-120b", "MXFP4-Q8", "MLX", "mlx-community")),
        ("GLM-4.6", Named("GLM-4.7-355B", alias="GLM-4.6")),
        (
            "unsloth/DeepSeek-R1-0528-GGUF:Q4_K_M",
            Named("DeepSeek-V3", "Q4_K_M", "GGUF", "unsloth", alias="DeepSeek-R1-0528"),
        ),
    ],
)
def test_a_name_says_what_it_says_of_the_file(text: str, expected: Named) -> None:
    assert named(text) == expected


def test_a_file_of_another_model_than_its_repository_is_neither() -> None:
    for text in (
        "unsloth/Qwen3.5-27B-GGUF/Qwen3.5-9B-Q4_K_M.gguf",
        "unsloth/Qwen3.5-27B-abliterated-GGUF/Qwen3.5-27B-Q4_K_M.gguf",
        "https://huggingface.co/unsloth/Qwen3.5-27B-GGUF/blob/main/Qwen3.5-27B-abliterated-Q4_K_M.gguf",
    ):
        assert "no model" in refusal(lambda text=text: named(text))


def test_a_size_behind_the_colon_is_no_recipe() -> None:
    assert named("frob/qwen3.5-instruct:4b") == Named("Qwen3.5-4B", owner="frob")
    for text in ("unsloth/Qwen3.5-27B-GGUF:9b", "unsloth/DeepSeek-R1-GGUF:9b", "deepseek-r1:9b"):
        assert "no model" in refusal(lambda text=text: named(text))


def test_int4_is_mlxs_only_where_mlx_is_said() -> None:
    assert named("Qwen3.5-27B mlx int4")[:3] == ("Qwen3.5-27B", "4bit", "MLX")
    assert ": 'int4' sets it apart from Qwen3.5-27B. " in refusal(lambda: named("Intel/Qwen3.5-27B-int4"))


def test_gemmas_it_is_no_number_of_bits() -> None:
    assert named("gemma-3-4b-it").model == "Gemma-3-4B"
    assert named("gemma-3-4b-it-4bit")[:2] == ("Gemma-3-4B", "4bit")
    assert refusal(lambda: named("gemma-3-4bit")).startswith("'gemma-3-4bit' may be Gemma-3-1B, Gemma-3-4B, ")


def test_a_point_is_not_a_hyphen() -> None:
    assert named("qwen3_8b").model == named("Qwen3 8B").model == "Qwen3-8B"
    assert refusal(lambda: named("qwen3.8b")).startswith("no model 'qwen3.8b' in the catalogue")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Qwen3.5-27B-4bit-GGUF", "'Qwen3.5-27B-4bit-GGUF': 4bit is MLX's, not GGUF's"),
        ("mmproj-F16.gguf", "'mmproj-F16.gguf' is a vision tower without its model; name the model's own file"),
        ("gpt-oss:120b-cloud", "'gpt-oss:120b-cloud' runs on Ollama's own servers, not on a Mac"),
        ("https://huggingface.co/datasets/a/b", "'datasets/a/b' is no model's address; expected OWNER/NAME on the Hub"),
        ("https://example.com/a/b", "'https://example.com/a/b' is no address of the Hub or of Ollama"),
        (
            "hub:unsloth/Qwen3.5-9B-GGUF",
            "'hub:unsloth/Qwen3.5-9B-GGUF' is a file of the Hub; name a model of the catalogue here",
        ),
        ("", "expected the name of a model, got ''"),
        ("Qwen3.5-27B\x1b[31m", r"expected the name of a model, got 'Qwen3.5-27B\x1b[31m'"),
        ("x" * 400, f"expected the name of a model, got '{'x' * 60}...'"),
    ],
)
def test_what_is_no_model_is_said(text: str, said: str) -> None:
    assert refusal(lambda: named(text)) == said


# Names of other models

FOREIGN = (Path(__file__).parent / "data" / "foreign_names.txt").read_text(encoding="utf-8").split("\n")[:-1]


def bare(text: str) -> str:
    return re.sub("[^a-z0-9]", "", text.rpartition("/")[2].casefold())


def test_the_list_of_other_models_is_long() -> None:
    assert len(FOREIGN) == len(set(FOREIGN)) >= 200


@pytest.mark.parametrize("text", FOREIGN)
def test_another_model_is_not_one_of_ours(text: str) -> None:
    try:
        found = named(text).model
    except InputError as refused:
        assert "did you mean" not in str(refused), refused
        return
    row = next(row for row in rows(MODELS) if row.name == found)
    assert bare(text) in map(bare, own_names(row)), f"{text} is not {found}"


def test_a_repositorys_own_name_is_the_way_out() -> None:
    said = refusal(lambda: named("huihui-ai/Qwen3.5-27B-abliterated-GGUF"))
    assert said.endswith("For another model ask with hub:huihui-ai/Qwen3.5-27B-abliterated-GGUF, or give its file")
    assert ": 'abliterated' sets it apart from Qwen3.5-27B. " in said
    assert refusal(lambda: named("nothing")) == (
        "no model 'nothing' in the catalogue. For another model ask with hub:OWNER/NAME, or give its file"
    )


def test_only_letters_are_mistyped() -> None:
    assert "; did you mean Qwen3.5-27B? " in refusal(lambda: named("Qwem3.5-27B"))
    assert "; did you mean Gemma-3-27B? " in refusal(lambda: named("gemna-3-27b-Q4_K_M.gguf"))
    said = refusal(lambda: named("Qwen3.5-28B"))
    assert ", which has Qwen3.5-397B-A17B, Qwen3.5-122B-A10B, " in said
    assert "did you mean" not in said
    assert not is_typo(words("granite-4.0-h-micro"), words("Granite-4.0-Micro"))
    assert not is_typo(words("DeepSeek-R3"), words("DeepSeek-V3"))


# The data of names


def test_every_row_of_names_is_of_the_catalogue() -> None:
    known = {row.name for row in rows(MODELS)}
    assert [row for row in rows(ALIASES) if row.model not in known] == []


@pytest.mark.parametrize("row", rows(ALIASES), ids=lambda row: row.name)
def test_every_row_of_names_is_read(row: AliasRow) -> None:
    found = named(row.name)
    assert (found.model, found.quant if row.quant else "") == (row.model, row.quant)


def test_rows_of_names_have_a_source() -> None:
    header, *lines = data_text("names.csv").splitlines()
    assert header == "name,model,kind,quant,repo,source"
    assert [line for line in lines if line.endswith(",")] == []
    assert len({line.split(",")[0] for line in lines}) == len(lines)


# Recipes


@pytest.mark.parametrize(
    ("text", "name", "format_name", "publisher"),
    [
        *(("Q4", "Q4_K_M", "GGUF", None), ("q8", "Q8_0", "GGUF", None), ("Q6", "Q6_K", "GGUF", None)),
        *(("Q3", "Q3_K_M", "GGUF", None), ("Q2", "Q2_K", "GGUF", None), ("q4_k", "Q4_K_M", "GGUF", None)),
        *(("Q2_K_S", "Q2_K_S", "GGUF", None), ("Q4_K_M.gguf", "Q4_K_M", "GGUF", None), ("q40", "Q4_0", "GGUF", None)),
        *(("UD-TQ1_0", "UD-TQ1_0", "GGUF", None), ("unsloth UD-Q4_K_XL", "UD-Q4_K_XL", "GGUF", "unsloth")),
        *(("iq4xs", "IQ4_XS", "GGUF", None), ("tq1_0", "TQ1_0", "GGUF", None), ("Q8K_XL", "Q8_K_XL", "GGUF", None)),
        *(("ud-q4_k_xl", "UD-Q4_K_XL", "GGUF", None), ("unsloth:q4km", "Q4_K_M", "GGUF", "unsloth")),
        *(("mxfp4-moe", "MXFP4_MOE", "GGUF", None), ("half", "half", None, None), ("bf16", "BF16", None, None)),
        *(("float16", "F16", "GGUF", None), ("4 bit", "4bit", "MLX", None), ("8bit", "8bit", "MLX", None)),
        *(("INT4", "4bit", "MLX", None), ("MLX-4bit", "4bit", "MLX", None), ("mlx4bit", "4bit", "MLX", None)),
        *(("mlx:q4", "4bit", "MLX", None), ("mlx bf16", "bf16", "MLX", None), ("16-bit", "bf16", "MLX", None)),
        *(
            ("q4_g64", "q4_g64", "MLX", None),
            ("8bit-gs32", "q8_g32", "MLX", None),
            ("mixed-3-6", "mixed_3_6", "MLX", None),
        ),
        *(("mxfp8", "mxfp8", "MLX", None), ("mxfp4", "mxfp4", None, None), ("NVFP4", "nvfp4", None, None)),
        *(("fp8", "FP8", "safetensors", None), ("gptq-int4", "GPTQ-Int4", "safetensors", None)),
        *(
            ("nvidia/nvfp4", "nvfp4", None, "nvidia"),
            ("gguf q4", "Q4_K_M", "GGUF", None),
            ("UD-Q4", "UD-Q4", None, None),
        ),
    ],
)
def test_recipes(text: str, name: str, format_name: str | None, publisher: str | None) -> None:
    assert quant_words(text)[:3] == (name, format_name, publisher)


def test_every_recipe_of_the_tools_is_its_own_name() -> None:
    for file, format_name in (
        ("gguf_recipes.csv", "GGUF"),
        ("mlx_recipes.csv", "MLX"),
        ("checkpoint_recipes.csv", "safetensors"),
    ):
        table = Table(file, ["recipe"], lambda row: row.text("recipe"))
        for recipe in dict.fromkeys(rows(table)):
            assert quant_words(recipe, format_name)[:2] == (recipe, format_name)
            for typed_name in (recipe.lower(), recipe.upper()):
                found = quant_words(typed_name, format_name)
                assert (found.name.casefold(), found.format) == (recipe.casefold(), format_name)


def test_a_publishers_recipe_keeps_its_name() -> None:
    for (publisher, format_name, recipe), _ in rows(RECIPES):
        found = quant_words(f"{publisher}:{recipe}", format_name)
        assert found.publisher == publisher
        assert not found.known or found.name == recipe or format_name == "MLX", recipe


def test_recipes_that_are_several() -> None:
    assert refusal(lambda: quant_words("4")) == "--quant '4': 4bit is MLX's, Q4_K_M is GGUF's; say which"
    assert refusal(lambda: quant_words("IQ4")) == "--quant 'IQ4' is IQ4_XS or IQ4_NL; say which"
    assert refusal(lambda: quant_words("mlx Q4_K_M")) == "--quant 'mlx Q4_K_M': Q4_K_M is GGUF's, not MLX's"
    assert quant_words("Q4_K_M", "MLX").format == "GGUF"  # what the runtime does not load is said elsewhere


# Macs

SOLD = sorted({(row.chip, size) for row in rows(MACS) for size in row.memory_gib})


@pytest.mark.parametrize(("chip", "size"), SOLD)
def test_every_mac_that_was_sold(chip: str, size: int) -> None:
    joined = chip.replace(" ", "")
    for text in (
        *(
            f"{chip} {size}",
            f"{chip.lower()} {size}gb",
            f"{joined}{size}",
            f"{joined.lower()}-{size}",
            f"Apple {chip} {size} GB",
        ),
        *(f"MacBook Pro {chip} {size}GB", f"Mac mini 2024 {chip} {size}GB RAM 1TB SSD", f"{chip}, {size} GB"),
        *(
            f"{size} {chip}",
            f"{size}GB {chip}",
            f"MacBook Pro (16-inch, 2023) {chip} {size} GB",
            f'MacBook Pro 14" {chip} {size}',
        ),
        *(f"{chip} 12-core CPU, 40-core GPU, {size}GB unified memory", f"{chip} MacBook Pro {size}GB/2TB"),
    ):
        assert mac(text) == Mac(chip, size * GIB), text


@pytest.mark.parametrize("row", rows(MAC_MODELS), ids=lambda row: row.identifier)
def test_every_identifier_is_of_a_chip_that_was_sold(row: object) -> None:
    identifier, chip, kind = row  # type: ignore[misc]
    sizes = sorted({size for sold in rows(MACS) if sold.chip == chip for size in sold.memory_gib})
    assert sizes
    assert mac(f"{identifier} {sizes[-1]}GB") == mac(f"{sizes[-1]} {identifier.lower()}") == Mac(chip, sizes[-1] * GIB)
    families = " ".join(sold.macs for sold in rows(MACS) if sold.chip == chip)
    assert re.sub("[ 0-9]+$", "", kind) in families


def test_identifiers_that_are_plain_in_their_name() -> None:
    chips = {row.identifier: row.chip for row in rows(MAC_MODELS)}
    generations = {"Mac13": "M1", "Mac14": "M2", "Mac15": "M3", "Mac16": "M4", "Mac18": "M6"}
    for identifier, chip in chips.items():
        generation = generations.get(identifier.partition(",")[0], chip.split()[0])
        assert chip.split()[0] == generation
    assert (chips["Mac15,3"], chips["Mac17,5"], chips["MacBookPro18,2"]) == ("M3", "A18 Pro", "M1 Max")
    # The MacBook Pros' identifiers follow no order, and lists in public differ; reports of the Macs themselves do not.
    pros = ("Mac14,9", "Mac14,10", "Mac15,6", "Mac15,7", "Mac16,7", "Mac16,8", "Mac16,11", "Mac17,8", "Mac17,9")
    maxes = ("Mac14,5", "Mac14,6", "Mac15,8", "Mac15,9", "Mac15,10", "Mac15,11", "Mac16,5", "Mac16,6", "Mac16,9")
    assert {chips[identifier].split()[1] for identifier in pros} == {"Pro"}
    assert {chips[identifier].split()[1] for identifier in (*maxes, "Mac17,6", "Mac17,7")} == {"Max"}
    assert len(chips) == len(rows(MAC_MODELS))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("M4 Max", "--mac 'M4 Max': memory size missing; it was sold with 36, 48, 64, 128 GB"),
        ("Mac15,3", "--mac 'Mac15,3': memory size missing; it was sold with 8, 16, 24 GB"),
        ('MacBook Pro 16" M1 Pro', "--mac 'MacBook Pro 16\" M1 Pro': memory size missing; it was sold with 16, 32 GB"),
        ("M4 Ultra 256", "no Mac chip 'M4 Ultra'; of M4 there are M4, M4 Pro, M4 Max"),
        ("M7 32", "no Mac chip 'M7'; known: A18 Pro, M1, M1 Pro, "),
        ("m464", "no M4 with 64 GB; it was sold with 16, 24, 32 GB"),
        ("17", "no Mac with 17 GB; Macs were sold with 8, 16, 18, 24, 32, "),
        ("M4 Max 64 128", "--mac 'M4 Max 64 128': which is the memory, 64 or 128 GB?"),
        ("MacBook Pro 16", "--mac 'MacBook Pro 16' may be M1 8, 16; M1 Pro 16, 32; "),
        ("Mac16,5 M2 64 GB", "--mac 'Mac16,5 M2 64 GB': the identifier is that of an M4 Max, not M2"),
        (
            "MacBook Pro 2019 16GB",
            "--mac 'MacBook Pro 2019 16GB': Macs of 2019 have Intel chips; those are not answered",
        ),
        ("hw.memsize: 68719476735", "--mac: expected a memory size or a chip with one"),
        ("Mac99,1 32", "no Mac with the identifier 'mac99,1' is known; give its chip and memory"),
        *(
            (text, "--mac: expected a memory size or a chip with one, such as 32 or 'M4 Max 64', got ")
            for text in (
                *(
                    "",
                    "this Mac",
                    "64.5 GB",
                    "M4 Max 64.5",
                    "M4 Max 64,128",
                    "16 inch",
                    "32 apples",
                    "M2 Pro 32 apples",
                ),
                *("M2 Pro or M4 Max 64", "2 M3 Ultra 256", "64GB M4 Max 128", "x2 M4 16", "M4 Max 64\x00", "m" * 400),
            )
        ),
    ],
)
def test_macs_that_are_refused(text: str, said: str) -> None:
    assert refusal(lambda: mac(text)).startswith(said)


def test_macs_as_the_system_prints_them() -> None:
    for text in (
        "Model Name: MacBook Pro Model Identifier: Mac16,5 Chip: Apple M4 Max Memory: 64 GB",
        "Apple M4 Max chip with 16\u2011core CPU, 40\u2011core GPU, 16\u2011core Neural Engine, 64GB unified memory",
        "MacBook Pro (16-inch, 2024) Apple M4 Max @ 4.52 GHz (16 CPU cores, 40 GPU cores) 64.00 GB LPDDR5X",
        *("Mac16,5 (M4 Max, 64GB)", "M4 Max 16c/40c 64GB", "M4 Max with 64 gigs", "M4 Max, hw.memsize: 68719476736"),
    ):
        assert mac(text) == Mac("M4 Max", 64 * GIB), text
    assert mac("hw.memsize: 17179869184").name == "16 GB"


def test_a_mac_of_one_size_needs_no_size() -> None:
    assert mac("MacBook Neo").name == mac("A18 Pro").name == "A18 Pro 8 GB"
    assert mac("MacBook Air 32 GB").name == "32 GB"


def test_a_chip_without_memory_is_every_mac_with_it() -> None:
    meant = macs_meant("MacBook Pro M4 Max", rows(MACS))
    assert [found.memory_bytes // GIB for found in meant] == [36, 48, 64, 128]


SEVERAL = "; several Macs are '2x M3 Ultra 256' or 'M3 Ultra 512 + M4 Max 128'"


def test_several_macs() -> None:
    def names(text: str) -> list[str]:
        return [found.name for found in machines_named(text, rows(MACS))]

    assert (
        names("2x M3 Ultra 256") == names("2 x M3 Ultra 256GB") == names("2\u00d7m3ultra256") == ["M3 Ultra 256 GB"] * 2
    )
    assert names("M3 Ultra 512 + 2x M4 Max 128") == ["M3 Ultra 512 GB", "M4 Max 128 GB", "M4 Max 128 GB"]
    assert names("32x 16") == ["16 GB"] * 32
    assert names("M2 Pro 32") == ["M2 Pro 32 GB"]
    for text in ("2x", "x M3 Ultra 256", "M3 Ultra 256 x2", "2 M3 Ultra 256", "two M3 Ultra 256", "M4 16 & M4 16"):
        assert refusal(lambda text=text: mac(text)).endswith(SEVERAL)
    assert not refusal(lambda: mac("32.5")).endswith(SEVERAL)
    for text in ("+", "M4 16 +", "M4 16 + + M4 16", "2x (M4 16 + M4 24)"):
        assert refusal(lambda text=text: machines_named(text, rows(MACS))).endswith(SEVERAL)
    for text in ("0x M4 16", "33x M4 16", "1000x M4 16", "20x M4 16 + 13x M4 16", "-1x M4 16", "2x2x M4 16", "M4 16 +"):
        assert refusal(lambda text=text: machines_named(text, rows(MACS))).startswith("--mac")


# Numbers


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *(("32_768", (32768,)), ("128k", (131072,)), ("1m", (1048576,)), ("32 k", (32768,)), ("max", (TRAINED,))),
        *(("8k,32k,128k", (8192, 32768, 131072)), ("4096,8192", (4096, 8192)), ("16,32", (16, 32))),
        *(
            ("32,768, 65,536", (32768, 65536)),
            ("8k, max", (8192, TRAINED)),
            ("32k,32768", (32768,)),
            ("1,048,576", (1048576,)),
        ),
        *(("32,768 tokens", (32768,)), ("128k context", (131072,)), ("maximum", (TRAINED,)), ("native", (TRAINED,))),
    ],
)
def test_contexts(text: str, expected: tuple[int, ...]) -> None:
    assert contexts(text) == expected


@pytest.mark.parametrize(
    "text", ["", "0", "-1", "32.768", "1.5k", "32kb", "k", "32k,", "auto", "1e5", "\u0663\u0662k", "9" * 20]
)
def test_contexts_that_are_refused(text: str) -> None:
    said = refusal(lambda: contexts(text))
    assert said.startswith("--context: expected a whole number of tokens such as 32768, 32k or max, got ")


def test_commas_that_may_be_both() -> None:
    assert refusal(lambda: contexts("32,768,65,536")).startswith(
        "--context '32,768,65,536': commas separate and group "
    )


def test_one_context_where_several_are_typed() -> None:
    said = "--context '8k, 32k': one context at a time here; sweep and table take several"
    assert refusal(lambda: context("8k, 32k")) == said


@given(st.integers(1, 10**9))
def test_a_context_is_read_as_it_is_printed(tokens: int) -> None:
    assert context(str(tokens)) == context(f"{tokens:,}") == context(f"{tokens:_}") == tokens
    assert contexts(f"{tokens:,}, {tokens + 1:,}") == (tokens, tokens + 1)


def test_limits_and_sizes() -> None:
    for text in ("28672", "28,672", "28672m", "28672 MB", "28g", "28G", "28 GB", "28GiB", "28.0g"):
        assert wired_limit(text) == 28 * GIB, text
    assert (
        wired_limit("iogpu.wired_limit_mb: 28672") == wired_limit("sudo sysctl iogpu.wired_limit_mb=28672") == 28 * GIB
    )
    assert wired_limit("sudo sysctl -w iogpu.wired_limit_mb=28672") == 28 * GIB
    assert wired_limit("0") == 0  # what the sysctl prints where nothing is set
    assert refusal(lambda: wired_limit("28")) == "--wired-limit '28' is 28 MiB; for GiB type 28g"
    assert byte_size("6g", "other") == 6 * GIB
    assert byte_size("0.5g", "other") == GIB // 2
    for text in ("6", "", "g", "-6g", "6t", "1e3m", "6gg"):
        assert refusal(lambda text=text: byte_size(text, "other")).startswith("--other: expected a size with its unit")


def test_speeds_and_counts() -> None:
    assert [speed(text) for text in ("10", "7.5", "10 tok/s", "12 t/s", "7.5tps")] == [10, 7.5, 10, 12, 7.5]
    assert [whole_number(text, "ubatch") for text in ("512", "2,048", " 1 ")] == [512, 2048, 1]
    for text in ("", "0", "-1", "nan", "inf", "1e3", "fast"):
        assert refusal(lambda text=text: speed(text)).startswith("--min-speed: expected tokens per second")
    for text in ("", "-1", "1.5", "2,04", "1e3"):
        assert refusal(lambda text=text: whole_number(text, "ubatch")).startswith("--ubatch: expected a whole number")


def test_versions_of_macos() -> None:
    for text in ("15", "15.7.7", "macOS 15", "macOS 15.5", "Sequoia", " sequoia ", "macOS Sequoia"):
        assert parse_macos(text) == 15, text
    assert [parse_macos(text) for text in ("Sonoma", "tahoe", "MacOS 27")] == [14, 26, 27]
    for text in ("", "macOS", "Sequoia 15", "Snow Leopard", "10.15", "16", "15.x"):
        assert "macos" in refusal(lambda text=text: parse_macos(text)).casefold()


# Whatever is typed

WORDS = "qwen3.5 qwen3 gemma gpt oss 27b 4b it instruct a3b gguf mlx 4bit q4_k_m ud 2507 hf.co https:// ollama.com"
MARKS = "library : / @ - _ . + x 2x m4 max pro mac studio 64 gb 32,768 k \u00d7 \u2013 ' \" %3A \\ ~ ./"
PIECES = st.sampled_from([*WORDS.split(), *MARKS.split(), " ", ""])
ANYTHING = st.one_of(
    st.text(max_size=60), st.lists(PIECES, max_size=8).map("".join), st.lists(PIECES, max_size=8).map(" ".join)
)


@settings(max_examples=300, deadline=None)
@given(ANYTHING)
def test_whatever_is_typed_is_answered_or_refused_in_a_line(text: str) -> None:
    for read in (named, quant_words, mac, contexts, wired_limit, speed, reference):
        try:
            read(text)
        except InputError as refused:
            assert "\n" not in str(refused)
            assert str(refused).isprintable()


@settings(max_examples=100, deadline=None)
@given(ANYTHING)
def test_case_and_space_around_mean_nothing(text: str) -> None:
    def answer(typed_text: str) -> object:
        try:
            return named(typed_text)._replace(owner=None, quant=None)
        except InputError:
            return None

    if text.isascii() and ":" not in text:  # Ollama's names have no capitals
        assert answer(text) == answer(f"  {text.swapcase()} ")


def test_long_texts_take_no_time() -> None:
    start = time.perf_counter()
    for text in ("q4_" * 90, "a" * 299, "1," * 140, "qwen3.5-" * 30, "m4 " * 90, "x" * 10**6, "-" * 299, "9" * 10**5):
        for read in (named, quant_words, mac, contexts, wired_limit):
            try:
                read(text)
            except InputError:
                continue
    assert time.perf_counter() - start < 5
