"""Published weights: from the cache, else by network, else one line at once (the libraries retry for 40 s)."""

from __future__ import annotations

from pathlib import Path

from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.hub_files import SECONDS, cached, download


def from_hub(repository: str, filename: str = "model.safetensors") -> Path:
    """A file of the Hugging Face hub, from its cache where it lies there already."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url

    path = cached(repository, filename)
    if path is not None:
        return path
    try:
        get_hf_file_metadata(hf_hub_url(repository, filename), timeout=SECONDS)
        return download(repository, filename)
    except Exception as error:  # any reason means the same to the user: the file cannot be had
        raise _unavailable(f"{repository}/{filename}", error) from error


def from_url(url: str) -> Path:
    """A file by its address, from torch's own cache where it lies there already."""
    import urllib.request

    import torch

    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if path.is_file():
        return path
    try:
        urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=SECONDS).close()
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), progress=False)
    except Exception as error:  # see above
        raise _unavailable(url, error) from error
    return path


def _unavailable(what: str, error: Exception) -> FeathersegError:
    return FeathersegError(
        f'model.pretrained="imagenet": {what} is not in the cache and cannot be downloaded ({type(error).__name__})',
        remedy="set model.pretrained=PATH (a .safetensors or .pth file), or none, as where init= brings the weights",
    )
