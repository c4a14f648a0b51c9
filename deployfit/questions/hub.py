"""`hub`: what is in a repository of the Hugging Face Hub."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deployfit.parameters import Parameter
from deployfit.questions import parameters as common
from deployfit.questions.question import Answered, Question, shown_progress

if TYPE_CHECKING:
    from deployfit.report.document import Document
    from deployfit.sources.hub.model import Found


class Repository(Answered):
    """A repository, its model files, and the one that was looked into."""

    def __init__(self, found: Found) -> None:
        self.found = found

    def document(self) -> Document:
        """Return a row per model file, in bytes."""
        from deployfit.report.hub import hub_document

        return hub_document(self.found)


def hub(repo: str, *, revision: str | None = None, file: str | None = None, offline: bool = False) -> Repository:
    """Return what is in a repository of the Hub; `file` is a pattern of the model file whose header is read."""
    from deployfit.sources.hub.model import look
    from deployfit.sources.kinds.hub import read, takes

    named = read(repo if takes(repo) else f"hub:{repo}")
    return Repository(
        look(
            named.repo_id,
            revision=revision or named.revision,
            pattern=file or named.file,
            offline=offline,
            progress=shown_progress(),
        )
    )


QUESTION = Question(
    name="hub",
    summary="Show what is in REPO of the Hub. REPO is owner/name; model files, shards, sizes.",
    ask=hub,
    parameters=(
        Parameter("repo", "owner/name.", "REPO"),
        common.REVISION._replace(help="A branch, tag or commit."),
        common.FILE._replace(help="Read the header of this model file: '*Q4_K_M*'."),
        common.OFFLINE._replace(help="Ask the cache only, as HF_HUB_OFFLINE=1 does."),
    ),
    arguments=("repo",),
)
