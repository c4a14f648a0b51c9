"""Reads llama.cpp's lines one by one: each is put to the load and the context that it belongs to.

Functions were renamed over the years (`llm_load_print_meta`, `print_info`), so a line is read by what it says, and the
word before it only says whose it is.
"""

from __future__ import annotations

import re

from deployfit.measured.logs.breakdown import breakdown_row, fit_print_parts
from deployfit.measured.logs.flags import llamacpp_settings, words_of
from deployfit.measured.logs.lines import Line
from deployfit.measured.logs.llamacpp import words as of
from deployfit.measured.logs.llamacpp.loads import Context, Load
from deployfit.measured.logs.log import Cache, Figure, LoggedModel, LoggedSettings, LoggedSpeed, completed, rounded
from deployfit.measured.logs.names import model_word, repository_of
from deployfit.units import MIB

_SIZE = r"=\s*(\d{1,9}\.\d{1,4}) MiB"
_BUFFER = re.compile(rf"\s*([\w.:\[\]-]{{1,64}})\s+(model |KV |RS |compute |output )?buffer size\s*{_SIZE}")
_CACHE_SIZE = re.compile(
    rf"size {_SIZE} \(\s*(\d{{1,9}}) cells,\s*(\d{{1,5}}) layers,\s*(\d{{1,5}})(?:/\s*(\d{{1,5}}))? seqs\)"
    r"(?:, K \((\w{1,12})\):\s*[\d.]{1,14} MiB, V \((\w{1,12})\):\s*([\d.]{1,14}) MiB)?"
)
_STATE_SIZE = re.compile(
    rf"size {_SIZE} \(\s*(\d{{1,9}}) cells,\s*(\d{{1,5}}) layers,\s*(\d{{1,5}}) seqs(?:\s+(\d{{1,5}}) rs_seq)?"
)
_SELF_SIZE = re.compile(rf"KV self size\s+{_SIZE}, K \((\w{{1,12}})\):\s*[\d.]{{1,14}} MiB, V \((\w{{1,12}})\)")
_LOADED = re.compile(r"loaded meta data with \d{1,6} key-value pairs and \d{1,6} tensors from (.+) \(version ")
_KEY_VALUE = re.compile(r"- kv\s+\d{1,6}:\s+(\S{1,120})\s+(str|u8|u16|u32|u64|i32|i64|bool)\s+= (.*)")
_TYPE = re.compile(r"- type\s+(\w{1,16}):\s+(\d{1,9}) tensors")
_SETTING = re.compile(r"(\w{1,40})\s+= (.*)")
_HEADER_LINE = re.compile(r"([\w.]{1,40}(?: \w{1,20})?)\s+= (.*)")
_CHIP = re.compile(r"Apple (A\d{2} Pro|M\d{1,2}(?: (?:Pro|Max|Ultra))?)\b")
_LIMIT = re.compile(r"recommendedMaxWorkingSetSize\s*= *(\d{1,9}\.\d{1,4}) MB")
_OFFLOADED = re.compile(r"offloaded (\d{1,5})/(\d{1,5}) layers")
_BUILD = re.compile(r"(?:build|version)?[ =:]*\bb?(\d{1,5})[ -]\(?(?:[0-9a-f]{7,12}|unknown)\b")
_RATE = r"(\d{1,9}) (?:tokens|runs)\s+\([^,]{0,40},\s*(\d{1,9}\.\d{1,4}) tokens per second"
_PROMPT_TIME = re.compile(rf"prompt eval time =\s*[\d.]{{1,14}} ms /\s*{_RATE}")
_EVAL_TIME = re.compile(rf"(?<!prompt) eval time =\s*[\d.]{{1,14}} ms /\s*{_RATE}")
_CHECKPOINT = re.compile(r"n_tokens = (\d{1,9}), size = (\d{1,9}\.\d{1,4}) MiB")


CLI, FIT_PARAMS = "llama-cli", "llama-fit-params"
_COMMAND = re.compile(
    r"(?:^|[\s/\\])(llama-(?:server|cli|fit-params|perplexity|completion|mtmd-cli))(?:\.exe)?[\"']? +-"
)


class Reader:
    """Reads line after line; what is not understood is passed over."""

    def __init__(self) -> None:
        self.loads: list[Load] = []
        self.draft_file = self.draft_context = self.in_fit = False
        self.words: set[str] = set()
        self.program = ""
        self.build = 0
        self.chip = self.device = ""
        self.limit = ""
        self.old_megabytes = False
        self.server: dict[str, str] = {}
        self.names: list[str] = []
        self.model = LoggedModel()
        self.command = LoggedSettings()
        self.speeds: list[LoggedSpeed] = []
        self.checkpoints: list[tuple[int, Figure]] = []
        self.vision: dict[str, Figure] = {}
        self.rows: dict[str, tuple[int, ...]] = {}
        self.fit_print: dict[str, tuple[int, ...]] = {}
        self.draft_max: int | None = None
        self.vision_loaded = False
        self.fitted: tuple[int, int] | None = None

    # Which load and which context a line belongs to

    @property
    def load(self) -> Load:
        """The load that lines are of now."""
        if not self.loads:
            self.loads.append(Load("", False, self.in_fit))
        return self.loads[-1]

    @property
    def context(self) -> Context:
        """The context that lines are of now."""
        if not self.load.contexts:
            self.load.contexts.append(Context(""))
        return self.load.contexts[-1]

    def _new_context(self) -> None:
        draft = "mtp" if self.draft_context else "model" if self.load.draft else ""
        self.draft_context = False
        self.load.contexts.append(Context(draft))

    # Lines

    def read(self, line: Line) -> None:
        """Take what a line says."""
        word, text = line
        self.words.add(word)
        if self.loads and self.loads[-1].contexts:
            self.context.pending = ""
        if word in of.LOADER:
            self._loader(text)
        elif word in of.HEADER:
            self._header(text)
        elif word in of.TENSORS:
            self._tensors(text)
        elif word in of.CONTEXT or word == "sched_reserve" or word == "resolve_fused_ops":
            self._context(word, text)
        elif word in of.CACHE:
            self._cache(text)
        elif word in of.STATE:
            self._state(text)
        elif word in of.METAL or word in of.DEVICES:
            self._device(text)
            self._version(word, text)
        elif word in of.TIMES:
            self._time(text)
        elif word in of.BREAKDOWN:
            self._breakdown(text)
        elif word in of.VISION:
            self._vision(text)
        elif word in of.FIT:
            self._fit(text)
        elif word in of.DRAFT:
            self._draft(text)
        else:
            self._other(word, text)

    def _loader(self, text: str) -> None:
        loaded = _LOADED.match(text)
        if loaded:
            self.loads.append(Load(loaded[1], self.draft_file, self.in_fit))
            self.draft_file = self.draft_context = False
            return
        key = _KEY_VALUE.match(text)
        if key:
            self.load.keys.setdefault(key[1], key[3].strip())
            return
        kind = _TYPE.match(text)
        if kind:
            self.load.types[kind[1]] = int(kind[2])

    def _header(self, text: str) -> None:
        match = _HEADER_LINE.match(text)
        if match:
            self.load.header.setdefault(match[1].strip(), match[2].strip())

    def _tensors(self, text: str) -> None:
        buffer = _BUFFER.match(text)
        if buffer:
            self.load.buffers.append((buffer[1], rounded(buffer[3], MIB)))
            return
        offloaded = _OFFLOADED.search(text)
        if offloaded:
            self.load.offloaded = int(offloaded[1]), int(offloaded[2])
        elif "load_mode = " in text:
            self.load.mmap = "mmap" in text.partition("load_mode = ")[2]
        elif "mmap = " in text:
            self.load.mmap = "mmap = true" in text

    def _context(self, word: str, text: str) -> None:
        if text.startswith("constructing"):
            self._new_context()
            return
        if "Flash Attention" in text and ("enabled" in text or "disabled" in text):
            self.context.flash = "set to disabled" not in text and "disabled" not in text
            return
        whole = _SELF_SIZE.search(text)
        if whole:
            context = self.context
            context.cache_sizes.append(rounded(whole[1], MIB))
            context.cache_types = whole[2].lower(), whole[3].lower()
            return
        buffer = _BUFFER.match(text)
        if buffer:
            kind = (buffer[2] or "").strip()
            if kind in ("compute", "output"):
                self.context.buffers[kind][buffer[1]] = rounded(buffer[3], MIB)
            return
        setting = _SETTING.match(text)
        if setting and word in of.CONTEXT:
            name, value = setting[1], setting[2].strip()
            if not self.load.contexts or (name in ("n_seq_max", "n_ctx") and name in self.context.settings):
                self._new_context()
            self.context.settings.setdefault(name, value)

    def _cache(self, text: str) -> None:
        if text.startswith("size"):
            found = _CACHE_SIZE.match(text)
            if found:
                context = self.context
                streams = int(found[5]) if found[5] else 1
                context.cache_sizes.append(rounded(found[1], MIB))
                if not found[6]:
                    return  # cut short: nothing of types
                keys, values = found[6].lower(), found[7].lower()
                has_values = bool(found[8].strip("0."))
                context.caches.append(
                    Cache(int(found[2]), int(found[3]), streams, keys, values, context.window, has_values)
                )
                context.cache_types = context.cache_types or (keys, values)
        elif text.startswith("creating"):
            self.context.announced += 1
            self.context.window = " SWA KV" in text and "non-SWA" not in text
        elif "using full-size SWA cache" in text:
            self.context.swa_full = True
        elif "KV buffer size" in text:
            buffer = _BUFFER.match(text)
            if buffer:
                self.context.pending = "KV"  # until the sum of its buffers is there
                buffers = self.context.buffers["KV"]
                buffers[f"{buffer[1]} {len(buffers)}"] = rounded(buffer[3], MIB)
        else:
            self._other("init", text)

    def _state(self, text: str) -> None:
        found = _STATE_SIZE.match(text)
        if found:
            self.context.states.append(rounded(found[1], MIB))
            self.context.state_copies = int(found[5] or 0)
            return
        buffer = _BUFFER.match(text)
        if buffer:
            self.context.pending = "RS"
            buffers = self.context.buffers["RS"]
            buffers[f"{buffer[1]} {len(buffers)}"] = rounded(buffer[3], MIB)

    def _device(self, text: str) -> None:
        chip = _CHIP.search(text)
        if chip and not self.chip:
            self.chip, self.device = chip[1], "Metal"
        limit = _LIMIT.search(text)
        if limit and not self.limit:
            self.limit = limit[1]
        elif "maxTransferRate" in text:
            self.old_megabytes = True

    def _version(self, word: str, text: str) -> None:
        if self.build or not (word in of.VERSION or "build" in text):
            return
        found = _BUILD.match(text.removeprefix("common_params_print_info: "))
        if found:
            self.build = int(found[1])

    def _time(self, text: str) -> None:
        prompt = _PROMPT_TIME.search(text)
        if prompt:
            self._speed("prefill", prompt[1], prompt[2])
            return
        generated = _EVAL_TIME.search(" " + text)
        if generated:
            self._speed("decode", generated[1], generated[2])

    def _speed(self, what: str, tokens: str, tps: str) -> None:
        before = self.speeds[-1].tokens if self.speeds and self.speeds[-1].what == "prefill" else None
        context = 0 if what == "prefill" else before
        if int(tokens) > 1 and float(tps):
            self.speeds.append(LoggedSpeed(what, int(tokens), context, float(tps)))

    def _breakdown(self, text: str) -> None:
        row = breakdown_row(text)
        if row:
            self.rows[row.name] = row.numbers
            self._device(text)

    def _vision(self, text: str) -> None:
        self.vision_loaded = True
        buffer = _BUFFER.match(text)
        if buffer and (buffer[2] or "").strip() == "compute":
            self.vision[f"image {buffer[1]}"] = rounded(buffer[3], MIB)
            return
        found = re.match(r"model size:\s+(\d{1,9}\.\d{1,4}) MiB", text)
        if found:
            self.vision["vision"] = rounded(found[1], MIB)

    def _fit(self, text: str) -> None:
        if "getting device memory data for initial" in text or "fitting params to device memory" in text:
            self.in_fit = True
        elif "fitting params to free memory took" in text or "successfully fit" in text or "failed to fit" in text:
            self.in_fit = False
        reduced = re.search(r"context size reduced from (\d{1,9}) to (\d{1,9})", text)
        if reduced:
            self.fitted = int(reduced[1]), int(reduced[2])
            # The tables so far were of the first context and of the least one; the fitted one lies between.
            self.rows = {device: (numbers[0], 0, 0) for device, numbers in self.rows.items()}

    def _draft(self, text: str) -> None:
        if "draft model" in text and "loading" in text:
            self.draft_file = True
        elif "MTP draft context" in text or "MTP context" in text:
            self.draft_context = True
        most = re.search(r"n_max=(\d{1,4})", text)
        if most:
            self.draft_max = int(most[1])

    def _other(self, word: str, text: str) -> None:
        if word == "":
            self._unnamed(text)
        elif "loading model '" in text or "local path '" in text:
            said = text.partition("'")[2].rpartition("'")[0]
            self._model(said)
        elif "loading draft model" in text or "MTP draft context" in text:
            self._draft(text)
        elif "prompt cache is enabled, size limit:" in text:
            self.server["prompt_cache"] = text.partition("size limit: ")[2]
        elif "prompt cache is disabled" in text:
            self.server["prompt_cache"] = "0 MiB"
        elif "context checkpoints enabled" in text:
            self.server["checkpoints"] = text.partition("max = ")[2].partition(",")[0]
        elif "context checkpoints disabled" in text:
            self.server["checkpoints"] = "0"
        elif "n_slots = " in text:
            for name, value in re.findall(r"(n_slots|n_ctx_slot|kv_unified) = '?(\w+)", text):
                self.server[name] = value
        elif "loaded multimodal model" in text:
            self.vision_loaded = True
        elif word == "llama_fit_params":
            self.program = FIT_PARAMS
        elif "eval time" in text:
            self._time(text)
        elif "created context checkpoint" in text:
            self._checkpoint(text)
        else:
            self._version(word, text)

    def _model(self, said: str) -> None:
        file, repository = model_word(said)
        self.model = completed(self.model, LoggedModel(file, repository or repository_of(said)))

    def _checkpoint(self, text: str) -> None:
        found = _CHECKPOINT.search(text)
        if found:
            self.checkpoints.append((int(found[1]), rounded(found[2], MIB)))

    def _unnamed(self, text: str) -> None:
        """Read a line that was found by what stands in it."""
        if "created context checkpoint" in text:
            self._checkpoint(text)
        elif "eval time" in text:
            self._time(text)
        elif text.startswith("-c "):
            self._command(text)
        elif text.startswith(("build   ", "model   ", "ftype   ")):
            self._banner(text)
        elif found := _COMMAND.search(text):
            self.program = found[1]
            self._command(text)
        else:
            row = fit_print_parts(text)
            if row:
                self.fit_print[row.name] = row.numbers

    def _banner(self, text: str) -> None:
        """Read what llama-cli says of itself before it answers."""
        self.program = CLI
        name, _, said = text.partition(": ")
        if name.startswith("model"):
            self._model(said)
        elif name.startswith("build"):
            self._version("build", said)

    def _command(self, text: str) -> None:
        words = words_of(text)
        self.command = completed(self.command, llamacpp_settings(words))
        for flag in ("-m", "--model", "-hf", "--hf-repo"):
            if flag in words[:-1]:
                self._model(words[words.index(flag) + 1])
