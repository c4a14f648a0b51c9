"""Write the Homebrew formula of a release: `python packaging/formula.py WHEEL > deployfit.rb`.

For a tap: deployfit's wheel is the one of the release, what it needs are the wheels of the lock for Macs with Apple
silicon, each with its digest. Nothing is compiled and nothing looked up.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from lock import BUILDS, File, Package, packages
from pip._vendor.packaging.markers import Marker  # which every environment has

PYTHON = "3.13"
MAC = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "arm64",
    "platform_python_implementation": "CPython",
    "platform_system": "Darwin",
    "python_full_version": f"{PYTHON}.0",
    "python_version": PYTHON,
    "sys_platform": "darwin",
}
RELEASES = "https://github.com/deployfit/deployfit/releases/download"
PURE = re.compile(r"-py3-none-any\.whl$|-py2\.py3-none-any\.whl$")
NATIVE = re.compile(r"-(?:cp313-cp313|cp3[0-9]+-abi3)-macosx_(?P<macos>[0-9]+)_[0-9]+_(?:arm64|universal2)\.whl$")

FORMULA = """\
# Written by packaging/formula.py.
class Deployfit < Formula
  include Language::Python::Virtualenv

  desc "Says whether a language model fits a Mac, and how it will run"
  homepage "https://github.com/deployfit/deployfit"
  url "{url}", using: :nounzip
  version "{version}"
  sha256 "{sha256}"
  license all_of: ["Apache-2.0", "MIT"]

  depends_on arch: :arm64
  depends_on :macos
  depends_on "python@{python}"

{resources}
  def install
    virtualenv_create(libexec, "python{python}")
    resources.each {{ |wheel| wheel.stage {{ install_wheels }} }}
    install_wheels
    bin.install_symlink libexec/"bin/deployfit"
  end

  def install_wheels
    system "python{python}", "-m", "pip", "--python=#{{libexec}}/bin/python", "install", "--no-deps", "--no-index",
           *Dir["*.whl"]
  end

  test do
    assert_match "Fits", shell_output("#{{bin}}/deployfit fit Qwen3.5-27B --quant Q4_K_M --mac 32 --exit-code")
    assert_match version.to_s, shell_output("#{{bin}}/deployfit --version")
  end
end
"""
RESOURCE = """\
  resource "{name}" do
    url "{url}", using: :nounzip
    sha256 "{sha256}"
  end
"""


def wheel_for_macs(package: Package) -> File:
    """Return a package's wheel for Macs with Apple silicon, that for the oldest macOS."""
    pure = [file for file in package.files if PURE.search(file.name)]
    native = [(int(found["macos"]), file.name, file) for file in package.files if (found := NATIVE.search(file.name))]
    if not (pure or native):
        raise SystemExit(f"{package.name} {package.version}: no wheel for Macs with Apple silicon in the lock")
    return pure[0] if pure else min(native)[2]


def needed(found: Sequence[Package]) -> list[Package]:
    """Return what is installed on a Mac."""
    wanted = [each for each in found if each.name not in BUILDS]
    return [each for each in wanted if not each.marker or Marker(each.marker).evaluate(MAC)]


def formula(wheel: str, sha256: str, found: Sequence[Package]) -> str:
    """Return the formula of a release's wheel."""
    version = wheel.split("-")[1]
    resources = [
        RESOURCE.format(name=each.name, url=file.url, sha256=file.sha256)
        for each in needed(found)
        for file in [wheel_for_macs(each)]
    ]
    return FORMULA.format(
        url=f"{RELEASES}/v{version}/{wheel}",
        version=version,
        sha256=sha256,
        python=PYTHON,
        resources="\n".join(resources),
    )


if __name__ == "__main__":
    path = Path(sys.argv[1])
    print(formula(path.name, hashlib.sha256(path.read_bytes()).hexdigest(), packages()), end="")
