"""What a release is made of: version, changelog, sdist, formula, image, workflows. Nothing here asks the network."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, date, datetime
from fnmatch import fnmatchcase
from importlib import metadata
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from packaging.requirements import Requirement

from deployfit.verdict import Verdict

ROOT = Path(__file__).parent.parent
PACKAGING = ROOT / "packaging"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
WORKFLOWS = {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in (ROOT / ".github/workflows").glob("*.yml")}
WHEEL = "deployfit-9.8.7-py3-none-any.whl"


def script(name: str) -> ModuleType:
    """A script of packaging/, as a module; what it imports lies beside it."""
    sys.path.insert(0, str(PACKAGING))
    try:
        spec = importlib.util.spec_from_file_location(f"packaging_{name}", PACKAGING / f"{name}.py")
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(PACKAGING))


version, lock, formula, image, check_release = map(script, ("version", "lock", "formula", "image", "check_release"))


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


# The version


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## 0.3.0 (unreleased)\n\n## 0.2.0 (2026-12-01)\n", "utf-8")
    return tmp_path


def git(tree: Path, *words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false", "-c", "tag.gpgsign=false"]
    return subprocess.run(["git", "-C", str(tree), *who, *words], check=True, capture_output=True, text=True).stdout


def test_a_checkout_without_tags_an_archive_and_an_sdist_have_a_version(tree: Path) -> None:
    assert version.version(tree) == "0.3.0.dev0"
    (tree / ".git_archival.txt").write_text("$Format:%(describe:tags=true,match=v[0-9]*)$\n", "utf-8")
    assert version.version(tree) == "0.3.0.dev0"
    (tree / ".git_archival.txt").write_text("v0.2.0\n", "utf-8")
    assert version.version(tree) == "0.2.0"
    (tree / ".git_archival.txt").write_text("v0.2.0-5-g1234567\n", "utf-8")
    assert version.version(tree) == "0.3.0.dev5+g1234567"
    git(tree, "init", "-q")
    git(tree, "add", ".")
    git(tree, "commit", "-q", "-m", "one")
    assert re.fullmatch(r"0\.3\.0\.dev1\+g[0-9a-f]{7,}", version.version(tree))
    (tree / "PKG-INFO").write_text("Metadata-Version: 2.4\nName: deployfit\nVersion: 0.2.5\n", "utf-8")
    assert version.version(tree) == "0.2.5"


def test_the_version_is_that_of_the_tag_and_counts_on_from_it(tree: Path) -> None:
    git(tree, "init", "-q")
    git(tree, "add", ".")
    git(tree, "commit", "-q", "-m", "one")
    git(tree, "tag", "v0.2.0")
    git(tree, "tag", "nightly")
    assert version.version(tree) == "0.2.0"
    git(tree, "commit", "-q", "--allow-empty", "-m", "two")
    assert re.fullmatch(r"0\.3\.0\.dev1\+g[0-9a-f]{7,}", version.version(tree))
    git(tree, "tag", "v0.3.0rc1")
    assert version.version(tree) == "0.3.0rc1"
    git(tree, "tag", "-d", "v0.3.0rc1")
    git(tree, "tag", "v0.3.0")
    (tree / "CHANGELOG.md").write_text("## 0.3.0 (2026-12-02)\n", "utf-8")
    assert re.fullmatch(r"0\.3\.1\.dev0\+g[0-9a-f]{7,}", version.version(tree))  # something was changed


def test_what_is_installed_says_its_version() -> None:
    import deployfit

    done = subprocess.run([sys.executable, "-m", "deployfit", "--version"], capture_output=True, text=True)
    assert done.stdout == f"deployfit, version {deployfit.__version__}\n"
    assert deployfit.__version__ == metadata.version("deployfit")


# The changelog


def test_the_changelog_has_every_version_and_says_what_changed_of_estimates() -> None:
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    found = version.entries()
    assert len(found) == len(re.findall(r"^## ", text, re.MULTILINE))
    numbers = [tuple(map(int, name.split("."))) for name, _ in found]
    assert numbers == sorted(numbers, reverse=True)
    assert len(numbers) == len(set(numbers))
    for name, day in found:
        assert not day or date.fromisoformat(day)
        section = re.split(rf"^## {re.escape(name)}\b.*$", text, flags=re.MULTILINE)[1].split("\n## ")[0]
        assert "\n### Changed estimates\n" in section, name
    if (ROOT / ".git").exists():
        tags = git(ROOT, "tag", "--list", "v[0-9]*").split()
        dated = {name for name, day in found if day}
        assert {tag.removeprefix("v") for tag in tags if "rc" not in tag} <= dated


def test_a_tag_that_the_changelog_does_not_begin_with_is_not_released() -> None:
    done = subprocess.run([sys.executable, PACKAGING / "check_release.py", "v0.0.1"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "not 0.0.1" in done.stdout


# The lock, and what is made of it


def test_the_lock_has_all_that_deployfit_needs() -> None:
    assert check_release.not_locked() == []
    locked = {normal(each.name) for each in lock.packages()}
    waiting, seen = ["deployfit"], set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for needed in map(Requirement, metadata.requires(name) or []):
            if needed.marker is None or needed.marker.evaluate({"extra": ""}):
                waiting.append(normal(needed.name))
    assert seen - {"deployfit"} <= locked
    assert "setuptools" in locked


def test_requirements_hold_every_version_with_its_digests() -> None:
    text = lock.requirements(lock.packages())
    entries = text.replace(" \\\n", " ").splitlines()
    assert len(entries) == len(lock.packages())
    for line in entries:
        assert re.fullmatch(r"[a-z0-9-]+==\S+(?: ; .+?)?(?: --hash=sha256:[0-9a-f]{64})+", line), line
    said = subprocess.run([sys.executable, PACKAGING / "lock.py"], capture_output=True, text=True).stdout
    assert said == text


def test_the_lowest_versions_are_those_that_the_project_allows() -> None:
    lines = (PACKAGING / "lowest.txt").read_text(encoding="utf-8").splitlines()
    lowest = dict(line.split("==") for line in lines if not line.startswith("#"))
    for line in PROJECT["dependencies"]:
        name, least = re.match(r"([A-Za-z0-9_-]+)>=([0-9.]+)", line).groups()  # type: ignore[union-attr]
        found, wanted = (tuple(map(int, text.split("."))) for text in (lowest[normal(name)], least))
        assert found[: len(wanted)] >= wanted
        if name != "click":  # huggingface_hub asks for a later one
            assert found[: len(wanted)] == wanted


def resources() -> Iterator[tuple[str, str, str]]:
    text = formula.formula(WHEEL, "a" * 64, lock.packages())
    yield from re.findall(r'resource "(.+?)" do\n    url "(.+?)", using: :nounzip\n    sha256 "(.+?)"', text)


def test_the_formula_s_resources_are_wheels_of_the_lock_for_macs() -> None:
    known = {(file.url, file.sha256) for each in lock.packages() for file in each.files}
    found = list(resources())
    assert {(url, digest) for _, url, digest in found} <= known
    for name, url, _ in found:
        assert url.startswith("https://files.pythonhosted.org/")
        assert re.search(r"-none-any\.whl$|macosx_\d+_\d+_(?:arm64|universal2)\.whl$", url), name
    names = [normal(name) for name, _, _ in found]
    assert len(names) == len(set(names))
    needed = {normal(re.split(r"[^A-Za-z0-9_.-]", line)[0]) for line in PROJECT["dependencies"]}
    assert needed <= set(names)
    assert "setuptools" not in names


def test_the_formula_is_ruby_and_installs_its_wheels(tmp_path: Path) -> None:
    ruby = shutil.which("ruby")
    if ruby is None:
        pytest.skip("ruby is not installed")
    written = tmp_path / "deployfit.rb"
    written.write_text(formula.formula(WHEEL, "a" * 64, lock.packages()), "utf-8")
    stub = """
    require "json"
    require "pathname"
    $said = { "resources" => [], "ran" => [], "linked" => [] }
    module Language; module Python; module Virtualenv; end; end; end
    class Resource
      def url(text, **) = @url = text
      def sha256(text) = @sha256 = text
      def stage = yield
      def to_a = [@url, @sha256]
    end
    class Formula
      class << self
        %i[desc homepage license depends_on test].each { |name| define_method(name) { |*, **, &block| nil } }
        def url(text, **) = $said["url"] = text
        def version(text) = $said["version"] = text
        def sha256(text) = $said["sha256"] = text
        def resource(name, &block)
          made = Resource.new
          made.instance_eval(&block)
          ($all ||= []) << made
          $said["resources"] << [name, *made.to_a]
        end
      end
      def libexec = Pathname.new("/libexec")
      def bin = self
      def resources = $all
      def virtualenv_create(*words) = $said["made"] = words.map(&:to_s)
      def system(*words) = $said["ran"] << words
      def install_symlink(path) = $said["linked"] << path.to_s
    end
    load ARGV[0]
    Deployfit.new.install
    puts JSON.generate($said)
    """
    done = subprocess.run([ruby, "-e", stub, str(written)], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["url"].endswith(f"/v9.8.7/{WHEEL}")
    assert (said["version"], said["sha256"]) == ("9.8.7", "a" * 64)
    assert [tuple(each) for each in said["resources"]] == list(resources())
    assert len(said["ran"]) == len(said["resources"]) + 1
    assert all("--no-index" in words and "--no-deps" in words for words in said["ran"])
    assert said["linked"] == ["/libexec/bin/deployfit"]


def test_the_image_is_built_of_what_lies_beside_its_dockerfile(tmp_path: Path) -> None:
    wheel = tmp_path / WHEEL
    wheel.write_bytes(b"wheel")
    image.write(wheel, tmp_path / "image")
    text = (tmp_path / "image" / "Dockerfile").read_text(encoding="utf-8")
    copied = re.search(r"^COPY (?!--from)(.+) /build/$", text, re.MULTILINE)
    assert copied
    assert all((tmp_path / "image" / name).exists() for name in copied[1].split())
    for line in re.findall(r"^RUN .*pip install.*$", text, re.MULTILINE):
        assert "--require-hashes" in line or "--no-index" in line
    assert "setuptools==" not in (tmp_path / "image" / "requirements.txt").read_text(encoding="utf-8")
    assert re.search(r"^USER (?!0|root)", text, re.MULTILINE)


# The distributions


LEFT_OUT = {".gitignore", "page/"}  # of an sdist: nothing that its tests read


def test_the_sdist_has_the_tests_their_data_and_what_they_read() -> None:
    """packaging/ask_dists.sh builds one and runs tests from it; this says which file was forgotten."""
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout")
    lines = [line.split() for line in (ROOT / "MANIFEST.in").read_text(encoding="utf-8").splitlines() if line]
    grafted = {words[1] + "/" for words in lines if words[0] == "graft"} | {"deployfit/", "data/"}
    included = {pattern for words in lines if words[0] == "include" for pattern in words[1:]}
    always = {"LICENSE", "MANIFEST.in", "README.md", "pyproject.toml", "setup.py"}
    for name in git(ROOT, "ls-files").splitlines():
        top = name.partition("/")[0] + "/" if "/" in name else name
        matched = "/" not in name and any(fnmatchcase(name, pattern) for pattern in included)
        assert top in grafted | LEFT_OUT | always or matched, f"{name}: MANIFEST.in does not name it"


# The extension of the hf command line


def test_hf_deployfit_runs_the_extension_that_the_hf_command_line_installed(tmp_path: Path) -> None:
    """As `hf extensions install` leaves it: a manifest that names the script of that name."""
    from huggingface_hub.cli.extensions import ExtensionManifest

    bin_folder = Path(sys.executable).parent
    if not (bin_folder / "hf-deployfit").exists():
        pytest.skip("deployfit is not installed here")
    short, repo = "deployfit", "hf-deployfit"
    manifest = ExtensionManifest(
        owner="deployfit",
        repo=repo,
        repo_id=f"deployfit/{repo}",
        short_name=short,
        executable_path=str(bin_folder / repo),
        type="python",
        installed_at=datetime.now(UTC),
    )
    manifest.save(tmp_path / ".local/share/hf/extensions" / repo)
    env = {**os.environ, "HOME": str(tmp_path), "HF_HUB_DISABLE_UPDATE_CHECK": "1"}
    words = ["deployfit", "fit", "Qwen3.5-27B", "--quant", "Q8_0", "--mac", "32", "--exit-code", "--format", "json"]
    done = subprocess.run([bin_folder / "hf", *words], capture_output=True, text=True, env=env)
    assert done.returncode == 3, done.stderr
    assert json.loads(done.stdout)["rows"][0]["verdict"] == "does_not_fit"


def test_the_extension_s_repository_has_the_script_of_its_name(tmp_path: Path) -> None:
    script("hf_extension").write(tmp_path)
    project = tomllib.loads((tmp_path / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["name"] == "hf-deployfit"
    assert project["dependencies"] == ["deployfit"]
    assert project["scripts"]["hf-deployfit"] == PROJECT["scripts"]["hf-deployfit"] == PROJECT["scripts"]["deployfit"]
    assert json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8")) == {
        "description": project["description"]
    }


# The workflows


def test_workflows_run_pinned_actions_with_few_rights() -> None:
    assert {"tests", "release", "pypi"} <= set(WORKFLOWS)
    for name in ("release", "pypi"):
        workflow = WORKFLOWS[name]
        assert workflow["permissions"] == {"contents": "read"}
        for job in workflow["jobs"].values():
            for step in job.get("steps", []):
                if "uses" in step:
                    assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", step["uses"]), step["uses"]


def test_only_the_job_that_publishes_may_and_it_does_so_without_a_secret() -> None:
    jobs = WORKFLOWS["pypi"]["jobs"]
    allowed = {name for name, job in jobs.items() if job.get("permissions", {}).get("id-token") == "write"}
    assert allowed == {"publish"}
    publish = jobs["publish"]
    assert publish["environment"] == "pypi"
    text = (ROOT / ".github/workflows/pypi.yml").read_text(encoding="utf-8")
    assert "secrets." not in text
    assert "password" not in text
    (step,) = (step for step in publish["steps"] if "gh-action-pypi-publish" in step["uses"])
    assert step["with"]["attestations"] is True


def test_scripts_that_workflows_run_exist() -> None:
    for path in (ROOT / ".github/workflows").glob("*.yml"):
        for name in re.findall(r"(?:packaging|benchmarks)/\w+\.(?:py|txt|toml|sh)", path.read_text(encoding="utf-8")):
            assert (ROOT / name).exists(), name


# What agents read


def test_the_skill_names_commands_and_options_that_exist() -> None:
    text = (ROOT / "skills" / "deployfit" / "SKILL.md").read_text(encoding="utf-8")
    head = yaml.safe_load(text.split("---")[1])
    assert head["name"] == "deployfit"
    assert len(head["description"]) < 1024
    from deployfit.mcp.tools import parameters_of, question_of
    from deployfit.questions import MODULES

    for line in re.findall(r"`deployfit ([^`]+)`", text):
        name, *words = shlex.split(line)
        assert name in MODULES, line
        known = {"--" + each.name.replace("_", "-") for each in parameters_of(question_of(name))} | {"--exit-code"}
        assert {word for word in words if word.startswith("--")} <= known, line
    for word in re.findall(r"`(\w+)`", text):
        if word in {"fits", "tight", "needs_raised_limit", "does_not_fit", "unknown"}:
            assert Verdict(word)


def test_what_agents_and_people_are_told_to_read_exists() -> None:
    for name in ("AGENTS.md", "SECURITY.md"):
        text = (ROOT / name).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (ROOT / target).exists(), target
        for target in re.findall(r"`((?:packaging|benchmarks|tests|\.github|deployfit)/[\w./-]+)`", text):
            assert (ROOT / target).exists(), target
