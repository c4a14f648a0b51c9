"""Images: sizes, tokens and buffers equal the engines' own."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable

import pytest
from conftest import engine_rows, one_line, run
from hypothesis import given, settings
from hypothesis import strategies as st

from deployfit.basis import Basis
from deployfit.catalogue import models
from deployfit.errors import InputError
from deployfit.formats.mmproj import mmproj_tensor_bytes
from deployfit.layers.tensor import OUTSIDE, Part
from deployfit.layers.vision import VisionTower
from deployfit.lookup import find_quant
from deployfit.quants.weights import Options, WeightClass
from deployfit.runtimes.llamacpp import image as llamacpp
from deployfit.runtimes.llamacpp.allocator import Curve, compiled
from deployfit.runtimes.llamacpp.image import Planner, device_bytes, llamacpp_image_parts
from deployfit.runtimes.llamacpp.image_graph import TowerGraph
from deployfit.runtimes.llamacpp.settings import LlamaCppSettings
from deployfit.runtimes.mlx import image as mlx
from deployfit.runtimes.mlx.image import mlx_image_parts
from deployfit.runtimes.registry import runtime
from deployfit.runtimes.runtime import DEVICE, HOST
from deployfit.units import MIB
from deployfit.vision.image import MOST_PIXELS, Image, images_of
from deployfit.vision.resize import Limits, Seen, image_tokens, llamacpp_seen, mlx_seen, seen, token_limits

ROWS = engine_rows("image_memory.csv")
BUFFERS = engine_rows("image_buffers.csv")
TYPED = re.compile(r"-(BF16|F32)$")  # the type of the mmproj file, behind the model's name
MAX_TOKENS = re.compile(r"--image-max-tokens (\d+)")
ENGINE, METAL, CPU = "llama.cpp 0.3.36", "llama.cpp 0.3.36 Metal stand-in", "llama.cpp 0.3.36 CPU"
TOWER_ON_CPU = "mlx-vlm 0.7.10 tower on CPU"
WARMUP = "load-time warm-up image"


def tower_of(model: str) -> VisionTower:
    tower = models()[TYPED.sub("", model)].blueprint.vision
    assert tower is not None
    return tower


def image_of(row: dict[str, str]) -> Image:
    return Image(int(row["width"]), int(row["height"]))


def limits_of(row: dict[str, str], tower: VisionTower) -> Limits | None:
    found = MAX_TOKENS.search(row["how"])
    if not found or WARMUP in row["how"]:
        return None
    return token_limits(tower, (8, int(found[1])))


def size_of(row: dict[str, str]) -> Seen:
    """The size in the row, which is not ours."""
    numbers = ("resized_width", "resized_height", "patches", "tokens")
    return Seen(*(int(row[number]) for number in numbers))


def engine_sizes() -> Iterable[dict[str, str]]:
    """Rows about images that deployfit resizes itself: all but one public log that says patches only."""
    return (row for row in ROWS if row["width"])


def test_rows_of_every_kind_are_there() -> None:
    kinds = Counter(row["runtime"] for row in ROWS)
    assert kinds[METAL] + kinds[CPU] == 200
    assert kinds[TOWER_ON_CPU] == 38
    assert sum("log" in kind or "report" in kind for kind in kinds.elements()) == 5
    assert len(ROWS) == 291


def test_sizes_and_tokens_are_the_engines() -> None:
    wrong = []
    for row in engine_sizes():
        tower = tower_of(row["model"])
        if row["runtime"].startswith("llama.cpp"):
            got = llamacpp_seen(tower, image_of(row), limits_of(row, tower))
        elif row["runtime"] == TOWER_ON_CPU:  # which was given small images as they are
            got = mlx_seen(tower, image_of(row), Limits(0, 2**24))
        else:
            got = mlx_seen(tower, image_of(row))
        if got != size_of(row):
            wrong.append((row, got))
    assert wrong == []


def test_sizes_and_tokens_of_random_images_are_the_engines() -> None:
    tower = tower_of("Qwen3.5-0.8B")
    wrong = []
    for row in engine_rows("image_sizes.csv"):
        usual = token_limits(tower) if row["runtime"] == "llama.cpp" else Limits(65_536, 16_777_216)
        limits = Limits(int(row["least_pixels"] or usual.least_pixels), int(row["most_pixels"] or usual.most_pixels))
        try:
            (got,) = image_tokens(row["runtime"], tower, [image_of(row)], limits)
            found = (got.width, got.height, got.tokens)
        except InputError:
            found = (0, 0, 0)
        if found != (int(row["resized_width"]), int(row["resized_height"]), int(row["tokens"])):
            wrong.append((row, found))
    assert wrong == []


def test_llamacpp_buffers_are_the_engines() -> None:
    wrong = []
    for row in ROWS:
        if not row["runtime"].startswith(ENGINE):
            continue
        tower, size, flash = tower_of(row["model"]), size_of(row), row["flash_attn"] == "on"
        typed = TYPED.search(row["model"])
        planner = Planner.METAL_UNTIL_2026_08 if row["runtime"] == METAL else Planner.PLAIN
        got = device_bytes(tower, size, flash_attention=flash, planner=planner)
        if row["runtime"] == METAL:
            host = llamacpp.host_bytes(tower, size)
        else:
            host = llamacpp.cpu_work_bytes(tower, size, typed[1] if typed else "F16", flash_attention=flash)
        if "a real encode" in row["how"]:  # the growth of the process, with all that it computes on the way
            assert got + host < int(row["host_bytes"])
            host = int(row["host_bytes"])
        if (got, host) != (int(row["compute_bytes"]), int(row["host_bytes"])):
            wrong.append((row, got, host))
    assert wrong == []


def test_llamacpp_buffers_of_other_towers_and_sizes_are_the_engines() -> None:
    wrong = []
    for row in BUFFERS:
        tower, flash, mmproj_type = tower_of(row["model"]), row["flash_attn"] == "on", row["mmproj_type"]
        size = llamacpp_seen(tower, image_of(row))
        buffers = (device_bytes(tower, size, flash_attention=flash, planner=planner) for planner in Planner)
        got = (
            size[:2],
            mmproj_tensor_bytes(tower, mmproj_type),
            *buffers,
            llamacpp.host_bytes(tower, size),
            llamacpp.cpu_work_bytes(tower, size, mmproj_type, flash_attention=flash),
        )
        columns = ("tower", "cpu", "metal_order", "metal", "host", "cpu_work")
        want = (int(row["resized_width"]), int(row["resized_height"]))
        if got != (want, *(int(row[f"{column}_bytes"]) for column in columns)):
            wrong.append((row, got))
    assert wrong == []


def test_llamacpp_buffers_are_what_public_logs_say() -> None:
    """Of CUDA, which aligns to 128 bytes; sources in the rows."""
    vl, small, large = (tower_of(name) for name in ("Qwen3-VL-8B", "Qwen3.5-4B", "Qwen3.5-27B"))
    assert device_bytes(vl, llamacpp.warmup_size(vl)) == 390_156_544
    graph = TowerGraph(
        vl,
        llamacpp.grid_of(vl, llamacpp.warmup_size(vl)),
        vl.depth,
        vl.deepstack_layers,
        flash_attention=True,
        metal=False,
    )
    assert len(graph.placed) == 853  # "nodes = 853"
    assert f"{mmproj_tensor_bytes(vl, 'F32') / MIB:.2f}" == "2198.75"
    assert f"{device_bytes(small, llamacpp.warmup_size(small)) / MIB:.2f}" == "223.30"
    assert f"{mmproj_tensor_bytes(small, 'BF16') / MIB:.2f}" == "644.26"
    photo = device_bytes(large, llamacpp_seen(large, Image(5712, 4284)), flash_attention=False)
    assert 0 <= 17_074_735_104 - photo <= 64


LAYOUTS = [(), (5, 11, 17), (8, 16, 24), (0, 1, 2), (2, 13), (9,), (1, 9, 10, 26), (6, 15, 20)]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("flash", [True, False])
def test_layers_that_are_left_out_change_nothing(layout: tuple[int, ...], flash: bool) -> None:
    tower = tower_of("Qwen3-VL-8B")._replace(deepstack_layers=layout)
    for size in (seen(tower, 256, 224), seen(tower, 768, 768), seen(tower, 2336, 1760)):
        grid = llamacpp.grid_of(tower, size)
        graph = TowerGraph(tower, grid, tower.depth, layout, flash_attention=flash, metal=False)
        whole = Curve(compiled([*graph.copies, *graph.placed])).peak_bytes(1)
        assert device_bytes(tower, size, flash_attention=flash) == whole


def test_what_is_kept_for_fused_kernels_raises_metals_bound() -> None:
    tower = tower_of("Qwen3.5-4B")
    _, image, _ = llamacpp_image_parts(tower)
    assert (image.nbytes, image.upper_bytes) == (234_148_096, 268_816_640)


def test_parts_under_llamacpp() -> None:
    tower = tower_of("Qwen3.5-27B")
    parts = llamacpp_image_parts(tower, images_of(["640x480", "3840x2160"]), mmproj_type="BF16")
    assert [(part.name, part.where, part.nbytes, part.basis) for part in parts] == [
        ("vision", DEVICE, 927_587_264 + 3_072 * 1_152, Basis.EXACT),
        ("image", DEVICE, 501_611_520, Basis.EXACT),
        ("image", HOST, 50_396_160, Basis.EXACT),
    ]
    assert (
        sum(size.cells for size in image_tokens("llama.cpp", tower, images_of(["640x480", "3840x2160"]))) == 302 + 4_082
    )


def test_a_tower_of_a_kind_that_nobody_described_is_counted_as_it_is_in_the_file() -> None:
    model, options = models()["Gemma-3-4B"], Options(vision=True)
    weights = find_quant("Q4_K_M").weights(model, options)
    tower = WeightClass("vision", "F16", Part.VISION, (OUTSIDE,), 839_632_608)
    parts = runtime("llama.cpp").loaded(
        model.blueprint, weights._replace(classes=(*weights.classes, tower)), options, LlamaCppSettings(4096)
    )
    assert model.blueprint.vision is None
    assert [part.nbytes for part in parts if part.name == "vision"] == [839_632_608]


def test_buffers_are_reserved_at_load_whatever_the_image() -> None:
    tower = tower_of("Qwen3.5-0.8B")
    at_load = llamacpp_image_parts(tower)
    assert [part.nbytes for part in at_load[1:]] == [169_144_576, 26_136_832]
    small = llamacpp_image_parts(tower, images_of(["224x224"]))
    assert [part[:5] for part in small] == [part[:5] for part in at_load]
    cold = llamacpp_image_parts(tower, images_of(["224x224"]), warmup=False)
    assert [part.nbytes for part in cold[1:]] == [3_916_864, 605_248]
    assert cold[1].upper_bytes == 8_561_728
    assert len(llamacpp_image_parts(tower, warmup=False)) == 1


def test_a_tower_on_the_cpu_is_all_in_ordinary_memory() -> None:
    tower = tower_of("Qwen3.5-0.8B")
    parts = llamacpp_image_parts(tower, images_of(["1920x1080"]), offload=False)
    assert {part.where for part in parts} == {HOST}
    assert [part.nbytes for part in parts[1:]] == [169_144_576, 52_003_072]


def test_images_are_computed_one_at_a_time() -> None:
    tower = tower_of("Qwen3.5-4B")
    one = llamacpp_image_parts(tower, images_of(["12MP"]))
    assert llamacpp_image_parts(tower, images_of(["12MP", "640x480", "12MP"])) == one
    assert llamacpp_image_parts(tower, images_of(["640x480", "12MP"])) == one


def test_mlx_floors_lie_below_what_was_measured_and_computed() -> None:
    judged = Counter[str]()
    for row in ROWS:
        if not row["compute_bytes"] or row["runtime"].startswith(("llama.cpp", "ik_llama")):
            continue
        tower, sizes, stated = tower_of(row["model"]), [size_of(row)], int(row["compute_bytes"])
        fused = row["flash_attn"] != "off"
        floor = mlx.tower_bytes(tower, sizes, fused=fused)
        if row["runtime"] == TOWER_ON_CPU:
            if "float32" not in row["how"]:
                scores = 0 if fused else mlx.score_bytes(tower, sizes)
                upper = scores + mlx.IN_FLIGHT * tower.hidden_size * sizes[0].patches
                assert floor <= stated <= upper, row
                judged["measured"] += 1
        elif fused:
            assert 0.999 * stated <= floor <= stated, row  # some were written with the factor rounded up
            judged["traced"] += 1
        else:
            assert mlx.score_bytes(tower, sizes) == stated <= floor, row
            judged["scores"] += 1
    assert judged == {"measured": 32, "traced": 16, "scores": 24 + 2}


def test_parts_under_mlx() -> None:
    tower = tower_of("Qwen3.5-27B")
    photo = images_of(["5712x4284"])
    (part,) = mlx_image_parts(tower, photo)
    assert (part.name, part.where, part.basis) == ("image", DEVICE, Basis.DERIVED)
    assert part.nbytes == 64_680 * (28 * 1_152 + 144 + 9_216)
    (unfused,) = mlx_image_parts(tower, photo, fused=False)
    assert unfused.nbytes > 133_872_076_800
    assert unfused.upper_bytes > unfused.nbytes
    assert "126." in part.detail  # GiB, with an older MLX
    assert "older" not in mlx_image_parts(tower_of("Qwen3.5-4B"), photo)[0].detail  # heads of 64
    assert mlx_image_parts(tower, ()) == []
    (beside,) = mlx_image_parts(tower, photo, prefill_bytes=part.nbytes + 5)
    assert beside.nbytes == 0


def test_images_of_one_prompt_add_up_under_mlx() -> None:
    tower = tower_of("Qwen3.5-27B")
    (one,) = mlx_image_parts(tower, images_of(["1920x1080"]))
    (two,) = mlx_image_parts(tower, images_of(["1920x1080"] * 2))
    assert two.nbytes == 2 * one.nbytes


@pytest.mark.parametrize(
    ("text", "image"),
    [
        ("1920x1080", (1920, 1080)),
        (" 1920 X 1080 ", (1920, 1080)),
        ("1920\N{MULTIPLICATION SIGN}1080", (1920, 1080)),
        ("12MP", (4000, 3000)),
        ("48 mp", (8000, 6000)),
        ("0.000001MP", (2, 2)),
        ("1x1", (1, 1)),
    ],
)
def test_images_are_read(text: str, image: tuple[int, int]) -> None:
    assert images_of([text]) == (image,)


@given(st.integers(1, 700_000_000))
def test_a_photograph_has_its_megapixels(pixels: int) -> None:
    (image,) = images_of([f"{pixels // 10**6}.{pixels % 10**6:06}MP"])
    assert abs(image.pixels - pixels) <= 4 * max(image)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("0x0", "has no pixels"),
        ("1920x0", "has no pixels"),
        ("0MP", "has no pixels"),
        ("100000x10000", "1,000,000,000 pixels"),
        ("1000MP", "pixels; engines read at most 715,827,882"),
        ("999999999x999999999", "pixels; engines read at most"),
        ("16777217x1", "a side of 16,777,217 pixels"),
        ("", "expected a size"),
        ("4K", "expected a size"),
        ("1920", "expected a size"),
        ("-1x5", "expected a size"),
        ("1e3x1e3", "expected a size"),
        ("1920x1080x3", "expected a size"),
        ("\u0661x\u0662", "expected a size"),
        ("9" * 400 + "MP", "expected a size"),
    ],
)
def test_what_is_no_image_is_refused_in_one_line(text: str, told: str) -> None:
    with pytest.raises(InputError, match=re.escape(told)) as refused:
        images_of([text])
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith("image: ")


def test_mlx_refuses_what_its_readers_refuse() -> None:
    tower = tower_of("Qwen3.5-4B")
    for text, told in (("20100x100", "more than 200 times"), ("178956971x1", "at most 178,956,970")):
        with pytest.raises(InputError, match=told):
            image_tokens("mlx", tower, [Image(*map(int, text.split("x")))])
    assert image_tokens("mlx", tower, [Image(20000, 100)])


SIDES = st.integers(1, 13_000)


@settings(max_examples=200, deadline=None)
@given(SIDES, SIDES, st.sampled_from(["llama.cpp", "mlx"]))
def test_an_image_as_seen_is_made_of_whole_tokens(width: int, height: int, runtime: str) -> None:
    if runtime == "mlx" and max(width, height) > 200 * min(width, height):
        return
    tower = tower_of("Qwen3.5-4B")
    assert width * height <= MOST_PIXELS
    (size,) = image_tokens(runtime, tower, [Image(width, height)])
    assert size.width % 32 == size.height % 32 == 0
    assert size.tokens * 32 * 32 == size.width * size.height
    assert image_tokens(runtime, tower, [Image(height, width)])[0].tokens == size.tokens
    if min(width, height) >= max(width, height) / 100:
        assert size.tokens <= (4096 if runtime == "llama.cpp" else 16384)


@pytest.mark.parametrize("name", ["Qwen3.5-0.8B", "Qwen3-VL-8B"])
@pytest.mark.parametrize("flash", [True, False])
def test_the_largest_image_fits_and_one_token_more_does_not(name: str, flash: bool) -> None:
    tower = tower_of(name)

    def beyond_load(size: Seen) -> int:
        return sum(
            device_bytes(tower, each, flash_attention=flash) * sign + llamacpp.host_bytes(tower, each) * sign
            for each, sign in ((size, 1), (llamacpp.warmup_size(tower), -1))
        )

    for free in (0, 10**6, 10**8, 3 * 10**9):
        found = llamacpp.largest_image(tower, free, 2**17, flash_attention=flash)
        assert found is not None
        assert beyond_load(seen(tower, found.width, found.height)) <= free
        assert beyond_load(seen(tower, found.tokens * 32, 32)) <= free
        assert llamacpp_seen(tower, Image(found.width, found.height))[:2] == (found.width, found.height)
        if not found.all_fit:
            assert beyond_load(seen(tower, (found.tokens + 1) * 32, 32)) > free
    assert llamacpp.largest_image(tower, -(10**12), 2**17, flash_attention=flash) is None


def test_the_largest_image_leaves_room_in_the_context() -> None:
    tower = tower_of("Qwen3.5-4B")
    found = llamacpp.largest_image(tower, 10**12, 1_000)
    assert found is not None
    assert found.tokens == 998
    assert found.tokens - 40 < found.width * found.height // 1024 <= found.tokens
    assert llamacpp.largest_image(tower, 10**12, 9) is None
    assert mlx.largest_image(tower, 10**12, 65) is None
    assert mlx.largest_image(tower, 10**12, 2**17) == (16_384, 4_096, 4_096, True)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 4 * 10**9), st.booleans())
def test_the_largest_image_under_mlx_is_the_last_that_can_fit(free: int, fused: bool) -> None:
    tower = tower_of("Qwen3.5-27B")
    found = mlx.largest_image(tower, free, 2**17, fused=fused)
    tokens = found.tokens if found else 63

    def needed(count: int) -> int:
        size = seen(tower, count * 32, 32)
        return mlx.tower_bytes(tower, [size], fused=fused) + mlx.pixel_bytes(tower, [size])

    assert found is None or needed(tokens) <= free
    if not (found and found.all_fit):
        assert needed(tokens + 1) > free


@settings(max_examples=60, deadline=None)
@given(st.integers(8, 4096), st.integers(8, 4096), st.booleans())
def test_a_larger_image_never_needs_less(few: int, many: int, flash: bool) -> None:
    tower = tower_of("Qwen3.5-2B")
    small, large = (seen(tower, tokens * 32, 32) for tokens in sorted((few, many)))
    least, most = (device_bytes(tower, size, flash_attention=flash) for size in (small, large))
    assert least <= most


def test_the_screen_says_how_many_tokens_images_are() -> None:
    """The same count as the engine's, in llama.cpp and under mlx-vlm: see image_sizes.csv."""
    for quant in ("unsloth:Q4_K_M", "mlx-community:4bit"):
        words = "fit", "Qwen3.5-9B", "--quant", quant, "--mac", "32", "--image", "1920x1080"
        (row,) = json.loads(run(*words, "--format", "json").stdout)["rows"]
        said = f"{row['image_tokens']:,} tokens of the context; it is seen at {row['image_width']:,} x"
        assert said in one_line(run(*words).stdout)
