"""Files of the Hugging Face hub: from its cache, else downloaded, else one line at once (the library retries for 40 s).

A network on the hub is a repository ORG/NAME with the files NAME.onnx, NAME.xml and NAME.bin, NAME.safetensors, or the
same called model. Only those that are needed are fetched, and nothing that is pickled.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from featherseg.runtime.engines import BACKENDS
from featherseg.runtime.errors import FeathersegError

SECONDS = 5.0  # within which the hub must answer
LISTED = 12  # files of a repository that an error names
LETTERS = 200  # of the library's own words

HALF = r"\b[\w.-]{1,96}\b"  # of an id, as the hub has it
ID = re.compile(rf"(?P<id>{HALF}/(?P<name>{HALF}))(@(?P<revision>[\w./-]+))?", re.ASCII)
FILE_ENDING = re.compile(r"\.[A-Za-z]\w*$")  # as .onnx; v1.5 ends a name

GENERAL = "model"
"""What a network's files may be called in any repository."""

PICKLED = (".pth", ".pt", ".bin", ".ckpt", ".pkl")


class Repository(NamedTuple):
    """A repository of networks.

    Attributes:
        id: ORG/NAME.
        name: NAME.
        revision: a branch, tag or commit; None for the hub's own choice.
    """

    id: str
    name: str
    revision: str | None = None

    @classmethod
    def of(cls, text: str) -> Repository | None:
        """What ORG/NAME or ORG/NAME@REVISION names; None for a text that is no hub id, or ends as a file's name."""
        match = ID.fullmatch(text)
        if match is None or "--" in match["id"] or ".." in text or match["id"].endswith(".git"):
            return None
        if match["revision"] is None and FILE_ENDING.search(match["name"]):
            return None
        return cls(match["id"], match["name"], match["revision"])

    def __str__(self) -> str:
        return self.id if self.revision is None else f"{self.id}@{self.revision}"

    def wanted(self, suffixes: Sequence[str]) -> list[str]:
        """The names of files that will do, the preferred one first."""
        return [f"{stem}{suffix}" for suffix in suffixes for stem in (self.name, GENERAL)]


def find(repository: Repository, suffixes: Sequence[str]) -> Path:
    """The file of a network on the hub.

    A cached file of the preferred kind is taken as it is. Otherwise the hub is asked what there is, and where it cannot
    be reached, a cached file of another kind will do.

    Args:
        repository: whose network.
        suffixes: which kinds of file will do, the preferred one first.

    Raises:
        FeathersegError: without huggingface_hub, network, repository, revision or fitting file.
    """
    require_package(f"{repository}: no such file or folder, and to look for it on the hub")
    wanted = repository.wanted(suffixes)
    there = [path for name in wanted if (path := whole(repository, name)) is not None]
    if there and there[0].suffix in suffixes[:1]:
        return there[0]
    try:
        names = listing(repository)
    except Exception as error:  # the library's errors differ by version, and what they wrap, too
        if there and not is_missing(error):
            return there[0]
        raise unreachable(repository, wanted[0], error) from error
    for name in wanted:
        if name in names and parts_of(name) <= names:
            return whole(repository, name) or download_whole(repository, name)
    raise no_file(repository, wanted, names)


def listing(repository: Repository) -> set[str]:
    """The names of a repository's files."""
    from huggingface_hub import HfApi

    with quiet():
        info = HfApi().model_info(repository.id, revision=repository.revision, timeout=SECONDS)
    return {file.rfilename for file in info.siblings or ()}


def parts_of(name: str) -> set[str]:
    """The files that a network in the file `name` consists of: OpenVINO's .xml has its weights in a .bin."""
    return {name, f"{name.removesuffix('.xml')}.bin"} if name.endswith(".xml") else {name}


def whole(repository: Repository, name: str) -> Path | None:
    """The file from the cache; None where it or a part that belongs to it is not there."""
    path = cached(repository.id, name, repository.revision)
    if path is None or not all(path.with_name(part).is_file() for part in parts_of(name)):
        return None
    return path


def download_whole(repository: Repository, name: str) -> Path:
    """The file from the hub, with its other part from the same commit."""
    try:
        path = download(repository.id, name, repository.revision)
        for part in sorted(parts_of(name) - {name}):
            download(repository.id, part, path.parent.name)  # the cache calls a folder by its commit
    except Exception as error:  # see `find`
        raise unreachable(repository, name, error) from error
    return path


def cached(repository: str, name: str, revision: str | None = None) -> Path | None:
    """A file of the hub's cache."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(repository, name, revision=revision)
    return Path(path) if isinstance(path, str) else None


def download(repository: str, name: str, revision: str | None = None) -> Path:
    """A file of the hub, with a bar on a terminal; whoever calls has seen that the hub answers."""
    from huggingface_hub import hf_hub_download

    with quiet():
        return Path(hf_hub_download(repository, name, revision=revision))


def require_package(what_for: str) -> None:
    """Raise unless huggingface_hub is installed."""
    if find_spec("huggingface_hub") is None:
        raise FeathersegError(f"{what_for} needs the package huggingface_hub", remedy="pip install 'featherseg[hub]'")


@contextmanager
def quiet() -> Iterator[None]:
    """The library's notes are left out, and its bars where nobody watches a terminal."""
    from huggingface_hub.utils.logging import get_verbosity, set_verbosity
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    bars = not sys.stderr.isatty() and not are_progress_bars_disabled()
    level = get_verbosity()
    set_verbosity(logging.ERROR)
    if bars:
        disable_progress_bars()
    try:
        yield
    finally:
        set_verbosity(level)
        if bars:
            enable_progress_bars()


def is_missing(error: Exception) -> bool:
    """Whether the hub has answered that there is no such repository or revision."""
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    return isinstance(error, RepositoryNotFoundError | RevisionNotFoundError)


def unreachable(repository: Repository, name: str, error: Exception) -> FeathersegError:
    """Why a network of the hub cannot be had, in one line."""
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    hub = constants.ENDPOINT
    if isinstance(error, GatedRepoError):
        return FeathersegError(
            f"{repository}: its owners grant access one by one",
            remedy=f"ask for it at {hub}/{repository.id}, then log in by hf auth login",
        )
    if isinstance(error, RevisionNotFoundError):
        return FeathersegError(f"{repository}: the repository has no revision {repository.revision!r}")
    if isinstance(error, RepositoryNotFoundError):
        return FeathersegError(
            f"{repository}: no such file or folder, and no such repository on {hub}",
            remedy="check the name; a private one needs hf auth login",
        )
    if isinstance(error, HfHubHTTPError) and error.response is not None:
        return FeathersegError(f"{repository}: {hub} answers with {error.response.status_code}", remedy="try later")
    revision = "" if repository.revision is None else f" --revision {repository.revision}"
    return FeathersegError(
        f"{repository}: no such file or folder, not in the cache {constants.HF_HUB_CACHE}, and {hub} cannot be reached "
        f"({first_line(error)})",
        remedy=f"where there is a network, hf download {repository.id} {name}{revision} fetches it; give the path of "
        "the file, or copy that cache here",
    )


def no_file(repository: Repository, wanted: Sequence[str], names: set[str]) -> FeathersegError:
    """The refusal of a repository that holds nothing to be run, with what it holds."""
    others = [name for name, item in BACKENDS.items() if names & set(repository.wanted([item.suffix]))]
    remedy = ""
    if others:
        backend = BACKENDS[others[0]]
        install = "" if backend.installed() else f", after pip install {backend.package}"
        remedy = f"backend {others[0]} runs its {backend.suffix} file{install}"
    elif any(name.endswith(PICKLED) for name in names):
        remedy = f"pickled files ({', '.join(PICKLED)}) are never fetched"
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return FeathersegError(
        f"{repository}: the repository has no file that can be run here",
        expected=" or ".join(wanted),
        got=(", ".join(sorted(names)[:LISTED]) or "none") + more,
        remedy=remedy,
    )


def first_line(error: Exception) -> str:
    """What an error is and says, briefly."""
    said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {said[:LETTERS]}" if said else type(error).__name__
