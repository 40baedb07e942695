"""A trained network to the Hugging Face hub: its files and its card, in one commit."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from featherseg.hub.readme import readme
from featherseg.hub.shipping import packed
from featherseg.runtime import weights
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.hub_files import SECONDS, Repository, first_line, quiet, require_package

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo


def push_to_hub(
    name_or_path: str | os.PathLike[str], repo_id: str, *, private: bool = False, token: str | None = None
) -> str:
    """Put a trained network on the hub, where `load(repo_id)` finds it; returns its address.

    What goes is all there is of the network: the checkpoint (of a run directory its best), the exported files, the card
    NAME.md as the repository's page, and the picture NAME.jpg. They are called as the repository. Paths of this machine
    stay here.

    Args:
        name_or_path: a name, a run directory, or a file; the files beside it with the same name go with it.
        repo_id: ORG/NAME. The repository is made where there is none.
        private: whether only its owners may see it.
        token: one that may write there; None takes that of `hf auth login` or $HF_TOKEN.

    Raises:
        FeathersegError: before anything is sent for what is no file of featherseg, files of different trainings, and a
            repository that would keep files of an earlier network; and where the hub refuses or cannot be reached.
    """
    repository = Repository.of(repo_id)
    if repository is None or repository.revision is not None:
        raise FeathersegError("repo_id", expected="ORG/NAME", got=repr(repo_id))
    require_package("push_to_hub")
    shipment = packed(name_or_path)
    content: dict[str, Path | bytes] = {f"{repository.name}{end}": file for end, file in shipment.files.items()}
    content["README.md"] = readme(shipment, repository).encode()
    with quiet():
        return send(repository, content, private=private, token=token)


def send(repository: Repository, content: dict[str, Path | bytes], *, private: bool, token: str | None) -> str:
    """Commit files, name -> content, to a repository, which is made where there is none; returns its address."""
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(token=token)
    try:
        info = existing(api, repository)
        if info is None:
            api.create_repo(repository.id, private=private, exist_ok=True)
        else:
            refuse_public(repository, info, private=private)
            refuse_leftovers(repository, info, content)
        files = [CommitOperationAdd(name, file) for name, file in content.items()]
        api.create_commit(repository.id, files, commit_message=f"{repository.name}, by featherseg")
    except FeathersegError:
        raise
    except Exception as error:  # the library's errors differ by version, and what they wrap, too
        raise refused(repository, api.endpoint, error) from error
    return f"{api.endpoint}/{repository.id}"


def existing(api: HfApi, repository: Repository) -> ModelInfo | None:
    """What the hub says of a repository; None where there is none."""
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        return api.model_info(repository.id, timeout=SECONDS)
    except RepositoryNotFoundError:
        return None


def refuse_public(repository: Repository, info: ModelInfo, *, private: bool) -> None:
    """Refuse to put before everybody's eyes what was meant to be private."""
    if private and not info.private:
        raise FeathersegError(
            f"{repository}: the repository exists and is public", remedy="make it private there, or take another name"
        )


def refuse_leftovers(repository: Repository, info: ModelInfo, content: dict[str, Path | bytes]) -> None:
    """Refuse to leave a kind of file in the repository that is not sent anew: `load` might prefer it."""
    sent = {Path(name).suffix for name in content}
    there = {file.rfilename for file in info.siblings or ()}
    left = [name for name in repository.wanted(weights.SUFFIXES) if name in there and Path(name).suffix not in sent]
    if left:
        raise FeathersegError(
            f"{repository}: the repository would keep {', '.join(left)} of an earlier network",
            remedy="export that kind of file, too, or delete it there",
        )


def refused(repository: Repository, hub: str, error: Exception) -> FeathersegError:
    """Why a network could not be sent, in one line."""
    from huggingface_hub.errors import HfHubHTTPError

    status = error.response.status_code if isinstance(error, HfHubHTTPError) and error.response is not None else None
    if status in (401, 403):
        return FeathersegError(
            f"{repository}: {hub} does not let you write there ({status})",
            remedy="log in by hf auth login, or give a token that may write",
        )
    said = f"answers with {status}" if status else "cannot be reached"
    return FeathersegError(
        f"{repository}: {hub} {said} ({first_line(error)})", remedy="nothing was published; try again"
    )
