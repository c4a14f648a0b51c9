"""The parameters that several questions have."""

from __future__ import annotations

from deployfit.parameters import Parameter

DEFAULT_CONTEXT = "32k"
DEFAULT_MACOS = "26"

MODEL = Parameter("model", "A model: Qwen3.5-27B, gpt-oss-20b, unsloth/Qwen3.5-27B-GGUF:Q4_K_M, ./model.gguf.", "MODEL")
MODELS = Parameter("model", "Models of the catalogue.", "MODEL", "all", many=True)
QUANT = Parameter("quant", "Q4_K_M, 4bit, unsloth:UD-Q4_K_XL, ...; may be repeated.", "RECIPE", many=True)
RUNTIME = Parameter("runtime", "The engine: llama.cpp or mlx.", "NAME", "what loads the quant")
PUBLISHER = Parameter("publisher", "Only files of this publisher: unsloth, mlx-community, ...", "NAME")
MAC = Parameter("mac", "Memory in GB, or chip and memory: 32, 'M4 Max 64'.", "MAC", "this Mac")
MACS = MAC._replace(many=True, default="every memory size")
MACOS = Parameter("macos", "macOS version: 15, 26, ...", "VERSION", f"this Mac's, else {DEFAULT_MACOS}")
WIRED_LIMIT = Parameter("wired_limit", "GPU limit as raised with iogpu.wired_limit_mb: 28g, 28672.", "SIZE")
OTHER = Parameter("other", "What other programs hold of the memory: 6g.", "SIZE")
APP = Parameter(
    "app",
    "What starts it: llama-server, llama-bench, ollama, lmstudio, mlx_lm.server, mlx_lm.generate, omlx.",
    "NAME",
    "llama-server for GGUF, mlx_lm.generate for MLX",
)
CONTEXT = Parameter("context", "Tokens that all sequences together get: 32768, 32k, max.", "TOKENS", DEFAULT_CONTEXT)
CONTEXTS = CONTEXT._replace(many=True)
IMATRIX = Parameter("imatrix", "Quantized with an importance matrix.", default="no", off=True)
MTP = Parameter("mtp", "Draft with the multi-token-prediction (MTP) layer.")
VISION = Parameter("vision", "Count the vision tower.")
IMAGE = Parameter("image", "An image in the prompt: 1920x1080, 12MP; may be repeated.", "SIZE", many=True)
CATALOG = Parameter("catalog", "Your own models: a CSV like data/models.csv, or a config.json.", "FILE")
FILE = Parameter("file", "With hub:OWNER/NAME or a folder: which model file, '*Q4_K_M*'.", "GLOB")
REVISION = Parameter("revision", "With hub:OWNER/NAME: a branch, tag or commit.", "REVISION", "main")
OFFLINE = Parameter("offline", "With hub:OWNER/NAME: ask the cache only.")

MACHINE = (MAC, MACOS, WIRED_LIMIT, OTHER)
