"""Trained networks: from a name, a path or the Hugging Face hub to something that runs; and to the hub."""

from featherseg.hub.loading import CHECKPOINTS, from_pretrained, load, locate, repository_of
from featherseg.hub.push import push_to_hub

__all__ = ["CHECKPOINTS", "from_pretrained", "load", "locate", "push_to_hub", "repository_of"]
