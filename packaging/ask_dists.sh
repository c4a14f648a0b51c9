#!/usr/bin/env bash
# Build the sdist, the wheel from it, and ask both in clean environments: bash packaging/ask_dists.sh [FOLDER]
# With a FOLDER the distributions are left there. PYTHON says which Python (default: python3).
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
python=${PYTHON:-python3}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1

"$python" -m venv "$scratch/build"
"$scratch/build/bin/pip" install --quiet build
"$scratch/build/bin/python" -m build --outdir "$scratch/dist" . >"$scratch/log" 2>&1 || { tail -20 "$scratch/log"; exit 1; }
wheel=$(echo "$scratch"/dist/*.whl)
"$python" -m zipfile -l "$wheel" >"$scratch/names"
grep -q '^deployfit/py.typed ' "$scratch/names"

# The wheel, beside exactly what the lock says.
"$python" packaging/lock.py >"$scratch/requirements.txt"
"$python" -m venv "$scratch/clean"
"$scratch/clean/bin/pip" install --quiet --require-hashes --only-binary :all: -r "$scratch/requirements.txt"
"$scratch/clean/bin/pip" install --quiet --no-index --no-deps "$wheel"
cd "$scratch"
ask() { "$scratch/clean/bin/deployfit" "$@"; }
ask fit Qwen3.5-27B --quant Q4_K_M --mac 32 --context 32k --exit-code
ask fit Qwen3.5-0.8B --mac 8 --quant Q8_0 --format json | grep -q '"schema": "deployfit/fit/1"'
ask recommend --mac "M2 Pro 32" --context 64k --min-speed 10 >recommended
grep -q 'LiveCodeBench' recommended
ask validate >validated
grep -q 'bars (data/bars.csv): \([0-9]*\) of \1 hold' validated
for name in fit verify sweep; do ask schema "$name" | "$python" -m json.tool >"$name.schema.json"; done
ask mcp 2>said && exit 1
grep -qx "deployfit: agents are served by an extra that is not installed: pip install 'deployfit\[mcp\]'" said
cmp <(ask --version) <("$scratch/clean/bin/hf-deployfit" --version)
"$scratch/clean/bin/python" - <<'PY'
import sys
from deployfit import fit
assert fit("Qwen3.5-27B", "Q4_K_M", mac=32)[0].verdict.value == "fits"
heavy = {"numpy", "pandas", "huggingface_hub", "httpx2"} & set(sys.modules)
assert not heavy, f"one answer imports {heavy}"
PY

# What is made of the wheel.
(cd "$root" && "$python" packaging/formula.py "$wheel" >"$scratch/deployfit.rb" && "$python" packaging/image.py "$wheel" "$scratch/image")
if command -v ruby >/dev/null; then ruby -c deployfit.rb >/dev/null; fi
"$python" -m venv "$scratch/image/venv"
# The image's own steps, where no container can be built.
sed -n 's/^RUN \(\/opt\/deployfit\/bin\/pip.*\)/\1/p' image/Dockerfile |
  sed "s|/opt/deployfit|$scratch/image/venv|; s|/build|$scratch/image|; s|pip install|pip install --quiet|" >image/steps
bash -e image/steps
"$scratch/image/venv/bin/deployfit" --version

# The sdist: what its tests read is in it.
mkdir sdist && tar xzf dist/*.tar.gz -C sdist --strip-components 1
"$scratch/clean/bin/pip" install --quiet gguf hypothesis jsonschema pytest pyyaml
cd sdist
"$scratch/clean/bin/python" -m pytest -q -p no:cacheprovider tests/test_release.py tests/test_action.py tests/test_fit.py

cd "$root"
if [ $# -gt 0 ]; then mkdir -p "$1" && cp "$scratch"/dist/* "$1"; fi
echo "sdist and wheel: answer"
