"""What a Hub, a network, a file or a variable can do wrong: one clear line, or an answer all the same."""

from __future__ import annotations

import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Asking
from fake_hub import HTML_PAGE, MALFORMED_JSON, SERVER_ERROR, FakeHub, Fault, SparseFile, rate_limited, redirect
from hub_files import MLX_REPO, REPO, gguf_file, mlx_files


def test_the_token_goes_to_the_hub_only_and_is_never_printed(hub: FakeHub, ask: Asking, files: dict[str, Any]) -> None:
    hub.add_repo(REPO, files, gated="manual", readers=["ann"])
    refused = ask("hub", REPO, "--file", "*Q4_K_M*")
    assert (refused.returncode, refused.stdout) == (2, "")
    hub.requests.clear()
    done = ask("hub", REPO, "--file", "*Q4_K_M*", token="hf_ann", HF_DEBUG="1", HF_HUB_VERBOSITY="debug")
    assert (done.returncode, done.stderr) == (0, "")
    tokens = {request.host: "authorization" in request.headers for request in hub.requests}
    assert tokens == {"hub": True, "cdn": False}
    assert "hf_ann" not in done.stdout + done.stderr + refused.stderr


FAULTS = {
    "no such repository": ("hub nobody/nothing", None, 2, "no such repository, or a private one"),
    "no such revision": (f"hub {REPO} --revision nowhere", None, 2, "no such revision; leave out --revision"),
    "not a name": ("hub a/b/c", None, 2, "not a repository's name; give owner/name"),
    "a path": ("hub ../../etc/passwd", None, 2, "not a repository's name"),
    "no such file": (f"hub {REPO} --file *Q9*", None, 2, "no model file matches '*Q9*'; it has: Qwen3.5-27B-Q4_K_M"),
    "several files": (f"fit hub:{REPO} --mac 32", None, 2, "2 models; choose one with --file '*PATTERN*'"),
    "an html page": (f"hub {REPO}", HTML_PAGE, 4, "the Hub's answer cannot be read; is HF_ENDPOINT right?"),
    "malformed json": (f"hub {REPO}", MALFORMED_JSON, 4, "the Hub's answer cannot be read"),
    "json without end": (f"hub {REPO}", Fault(200, body=b"[" * 200_000), 4, "the Hub's answer cannot be read"),
    "a list": (f"hub {REPO}", Fault(200, body=b"[]"), 4, "the Hub's answer cannot be read"),
    "no commit": (f"hub {REPO}", Fault(200, body=b'{"id":"a","siblings":[]}'), 4, "is not a list of files with sizes"),
    "no sizes": (
        f"hub {REPO}",
        Fault(200, body=b'{"id":"a","sha":"%s","siblings":[{"rfilename":"a","size":-1}]}' % (b"0" * 40)),
        *(4, "is not a list of files with sizes"),
    ),
    "a cut answer": (f"hub {REPO}", Fault(cut_after=30), 4, "the Hub cannot be reached; check the network"),
    "an answer without end": (f"hub {REPO}", Fault(200, body=b" " * 2**26), 4, "answer is far too slow or too long"),
    "a wrong length": (f"hub {REPO}", Fault(length_error=-50), 4, "the Hub's answer cannot be read"),
    "forbidden": (f"hub {REPO}", Fault(403, body=b"{}"), 2, "access denied (HTTP 403); log in, or check HF_TOKEN"),
    "quant with hub": (f"fit hub:{REPO} --quant Q4_K_M --mac 32", None, 2, "--quant is for models of the catalogue"),
    "wrong runtime": (f"fit hub:{REPO} --file *Q4_K_M* --runtime mlx --mac 32", None, 2, "which mlx does not load"),
    "file without hub": (
        "fit Qwen3.5-27B --file x --mac 32",
        None,
        2,
        "--file is for hub:OWNER/NAME, a file",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_what_goes_wrong_is_one_clear_line(case: str, hub: FakeHub, ask: Asking, files: dict[str, Any]) -> None:
    words, fault, code, said = FAULTS[case]
    hub.add_repo(REPO, files)
    if fault is not None:
        hub.fault("/api/models", fault, times=None)
    done = ask(*words.split())
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert done.stderr.startswith("deployfit: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1


# What the second host does to a file's bytes, how often, and what comes of it: an answer, or one line.
FILE_FAULTS = {
    "rate limited for long": (rate_limited(300, retry_after=True), None, "too many requests (HTTP 429)"),
    "rate limited for a second": (rate_limited(1, retry_after=True), 1, ""),
    "an error": (SERVER_ERROR, None, "the Hub answered HTTP 500; try again later"),
    "an error once": (SERVER_ERROR, 1, ""),
    "cut": (Fault(cut_after=1000), None, "the Hub cannot be reached"),
    "cut once": (Fault(cut_after=1000), 1, ""),
    "no answer": (Fault(hang_up=True), None, "the Hub cannot be reached"),
    "slow": (Fault(drip=100_000, drip_pause=0.01), None, ""),
    "fewer bytes than asked for": (Fault(length_error=-100), None, "262,144 bytes were expected, another file came"),
    "the whole file": (Fault(ignore_range=True), None, ""),
    "an html page": (HTML_PAGE, None, "another file came; is there a login page on the way?"),
    "another host in a circle": (redirect("/again"), None, "'a.gguf': "),
}


@pytest.mark.parametrize("case", FILE_FAULTS)
def test_a_second_host_that_fails_is_asked_again_or_said_in_one_line(
    case: str, hub: FakeHub, ask: Asking, tmp_path: Path
) -> None:
    fault, times, said = FILE_FAULTS[case]
    hub.add_repo(REPO, {"a.gguf": gguf_file(tmp_path, "Qwen3.5-0.8B", "Q4_0")})
    hub.fault("", fault, times=times, host="cdn")
    done = ask("hub", REPO, "--file", "a.gguf")
    if said:
        assert (done.returncode, done.stdout) in ((2, ""), (4, "")), done.stderr
        assert said in done.stderr
        assert done.stderr.count("\n") == 1
    else:
        assert done.returncode == 0, done.stderr
        assert "319 tensors" in done.stdout or "320 tensors" in done.stdout
    assert len([request for request in hub.requests if request.host == "cdn"]) <= 24


HOSTILE = {
    "not gguf": SparseFile(b"PK\x03\x04" + b"\0" * 100, 1000),
    "a count of tensors": SparseFile(struct.pack("<4sIQQ", b"GGUF", 3, 2**60, 0), 10**9),
    "a count of keys": SparseFile(struct.pack("<4sIQQ", b"GGUF", 3, 0, 2**60), 10**9),
    "an old version": SparseFile(struct.pack("<4sIQQ", b"GGUF", 1, 0, 0), 10**9),
    "empty": b"",
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_refused_in_one_line(case: str, hub: FakeHub, ask: Asking) -> None:
    hub.add_repo(REPO, {"a.gguf": HOSTILE[case]})
    done = ask("hub", REPO, "--file", "a.gguf")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("deployfit: 'a.gguf': ")
    assert done.stderr.count("\n") == 1


def test_what_is_refused_is_not_kept(hub: FakeHub, ask: Asking, tmp_path: Path) -> None:
    """A page of a captive portal, as long as what was asked for, in place of the file: the next time all is well."""
    hub.add_repo(REPO, {"a.gguf": gguf_file(tmp_path, "Qwen3.5-0.8B", "Q4_0")})
    hub.fault("", Fault(200, {"Content-Type": "text/html"}, b"<html>" + b" " * 300_000), host="cdn")
    first, second = ask("hub", REPO, "--file", "a.gguf"), ask("hub", REPO, "--file", "a.gguf")
    assert (first.returncode, second.returncode) == (4, 0), second.stderr


def test_names_from_the_hub_never_become_paths_or_escapes(hub: FakeHub, ask: Asking, tmp_path: Path) -> None:
    evil = "../../../evil\x1b[31m.gguf"
    hub.add_repo(REPO, {evil: gguf_file(tmp_path, "Qwen3.5-0.8B", "Q4_0")})
    done = ask("hub", REPO)
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert "evil" in done.stdout
    ask("hub", REPO, "--file", "*evil*")
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and "cache" in path.parts]
    assert kept
    assert all(len(path.name) == 64 and set(path.name) <= set("0123456789abcdef") for path in kept)
    assert not list(tmp_path.parent.glob("evil*"))


def test_a_cache_that_cannot_be_written_is_no_error(hub: FakeHub, ask: Asking, files: dict[str, Any]) -> None:
    hub.add_repo(REPO, files)
    done = ask("hub", REPO, "--file", "*Q4_K_M*", DEPLOYFIT_CACHE="/dev/null/nowhere")
    assert done.returncode == 0, done.stderr


def test_the_token_is_not_taken_to_where_a_next_page_or_a_redirect_points(
    hub: FakeHub, ask: Asking, files: dict[str, Any]
) -> None:
    hub.add_repo(REPO, files, info={"siblings": []})
    hub.fault("/tree/", Fault(headers={"Link": f'<{hub.third}/next>; rel="next"'}))
    done = ask("hub", REPO, token="hf_ann")
    assert (done.returncode, done.stdout) == (4, "")
    assert "the next page of its files is on another host" in done.stderr
    assert {request.host for request in hub.requests} == {"hub"}
    hub.fault("/api/models", redirect(hub.third + "/elsewhere"))
    done = ask("hub", REPO, token="hf_ann")
    assert (done.returncode, done.stdout) == (4, "")
    assert hub.requests[-1].host == "third"
    assert "authorization" not in hub.requests[-1].headers


# A variable that is wrong, and what is said of it.
VARIABLES = {
    "no address": ({"HF_ENDPOINT": "foo"}, 2, "HF_ENDPOINT is no address such as https://huggingface.co"),
    "no port": ({"HF_ENDPOINT": "http://a:b:c"}, 2, "HF_ENDPOINT, or another variable of huggingface_hub"),
    "half an address": ({"HF_ENDPOINT": "http://["}, 2, "HF_ENDPOINT, or another variable of huggingface_hub"),
    "an escape": ({"HF_ENDPOINT": "http://a\x1b31m"}, 2, "HF_ENDPOINT is no address such as https://huggingface.co"),
    "no number": ({"HF_HUB_ETAG_TIMEOUT": "soon"}, 2, "or another variable of huggingface_hub, cannot be read"),
    "no hub there": ({"HF_ENDPOINT": "http://127.0.0.1:9"}, 4, "the Hub cannot be reached; check the network"),
    "a token with accents": ({"HF_TOKEN": "hf_\u00e9\u00e9"}, 2, "HF_TOKEN is no token; it has letters that none has"),
    "a wrong token": ({"HF_TOKEN": "hf_nobody"}, 2, "access denied (HTTP 401); log in, or check HF_TOKEN"),
    "a SOCKS proxy": ({"HTTP_PROXY": "socks5://127.0.0.1:9", "NO_PROXY": ""}, 2, "for a SOCKS proxy install socksio"),
    "no certificates": (
        {"SSL_CERT_FILE": "/nowhere", "HF_ENDPOINT": "https://127.0.0.1:9"},
        *(4, "No such file or directory; check the network, SSL_CERT_FILE"),
    ),
}


@pytest.mark.parametrize("case", VARIABLES)
def test_a_variable_that_is_wrong_is_said_in_one_line(
    case: str, hub: FakeHub, ask: Asking, files: dict[str, Any]
) -> None:
    more, code, said = VARIABLES[case]
    hub.add_repo(REPO, files)
    done = ask("hub", REPO, **more)
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert done.stderr.startswith("deployfit: ")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert not any(value in done.stderr for name, value in more.items() if name == "HF_TOKEN")


def test_ctrl_c_does_not_wait_for_hosts_that_hang(hub: FakeHub, ask: Asking) -> None:
    hub.add_repo(MLX_REPO, mlx_files("Qwen3.5-0.8B", "bf16", 24))
    hub.fault("", Fault(delay=600), host="cdn", times=None)
    process = subprocess.Popen(
        [sys.executable, "-m", "deployfit", "hub", MLX_REPO, "--file", "*"],
        env=ask.env() | {"HF_HUB_DOWNLOAD_TIMEOUT": "600"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while hub.most_busy.get("cdn", 0) < 8:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=60)
    assert (process.returncode, out, error.strip()) == (130, b"", b"")


@pytest.mark.parametrize(("host", "pattern"), [("hub", "/api/models"), ("cdn", "")])
def test_a_host_that_does_not_answer_in_time(
    host: str, pattern: str, hub: FakeHub, ask: Asking, files: dict[str, Any]
) -> None:
    """huggingface_hub's own variables say how long that is."""
    hub.add_repo(REPO, files, info={"siblings": []})
    hub.fault(pattern, Fault(delay=60), host=host, times=None)
    soon = {"HF_HUB_ETAG_TIMEOUT": "1", "HF_HUB_DOWNLOAD_TIMEOUT": "1"}
    done = ask("hub", REPO, "--file", "*Q4_K_M*", **soon)
    assert (done.returncode, done.stdout) == (4, "")
    assert "the Hub did not answer in time; try again later" in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_hub_s_own_limits_are_kept_to(hub: FakeHub, ask: Asking, files: dict[str, Any]) -> None:
    hub.add_repo(REPO, files)
    hub.fault("/api/models", rate_limited(1))
    assert ask("hub", REPO).returncode == 0
    assert [request.status for request in hub.requests] == [429, 200]
    hub.fault("/api/models", rate_limited(300), times=None)
    done = ask("hub", "my/other")
    assert (done.returncode, done.stdout) == (4, "")
    assert "too many requests (HTTP 429); wait 300 s, or log in for a higher limit" in done.stderr
    assert len(hub.requests) == 3


@pytest.mark.parametrize("damage", [lambda kept: kept[:-1], lambda kept: kept[:50] + b"!" + kept[51:]])
def test_a_damaged_cache_is_as_good_as_none(
    damage: Callable[[bytes], bytes], hub: FakeHub, ask: Asking, files: dict[str, Any], tmp_path: Path
) -> None:
    hub.add_repo(REPO, files)
    words = ("hub", REPO, "--file", "*Q4_K_M*")
    first = ask(*words)
    kept = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert len(kept) == 3  # the branch, its commit, a header
    for path in kept:
        path.write_bytes(damage(path.read_bytes()))
    offline = ask(*words, "--offline")
    assert (offline.returncode, offline.stdout) == (4, "")
    assert "is not in the cache" in offline.stderr
    assert ask(*words).stdout == first.stdout
    assert ask(*words, "--offline").returncode == 0


def test_key_values_of_another_type_are_no_traceback(hub: FakeHub, ask: Asking, tmp_path: Path) -> None:
    honest = gguf_file(tmp_path, "Qwen3.5-0.8B", "Q4_0")
    key = b"qwen35.block_count"
    nan = honest.header.replace(key + struct.pack("<II", 4, 24), key + struct.pack("<If", 6, float("nan")))
    assert nan != honest.header
    hub.add_repo(REPO, {"a.gguf": SparseFile(nan, honest.size)})
    assert ask("hub", REPO, "--file", "a.gguf").returncode == 0
    done = ask("fit", f"hub:{REPO}", "--mac", "16")
    assert (done.returncode, done.stdout) == (2, "")
    assert "qwen35.block_count: expected a whole number from 1 to 1,000, got 'nan'" in done.stderr
    assert done.stderr.count("\n") == 1
