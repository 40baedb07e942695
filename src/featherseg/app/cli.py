"""``featherseg VERB``: finds the verb's file, and turns a user's mistake into one line and exit code 2.

A verb is a module of this package with ``arguments(parser)`` and ``run(args) -> exit code``. Only the asked verb's
module is imported, so help and the verbs of the ground floor start without torch.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from typing import NoReturn

from featherseg.runtime.errors import FeathersegError, nearest

VERBS = {
    "predict": "segment pictures: a palette mask and an overlay for each",
    "models": "list the networks and the trained weights",
    "train": "train a network by a recipe; started again, it resumes",
    "val": "score a network on labelled pictures",
    "export": "write a trained network as a file that needs no torch, and prove that it says the same",
    "ablate": "the tables of the papers: their rows, our parameters and costs",
}


class Parser(argparse.ArgumentParser):
    """argparse, with a mistake answered by one line instead of the usage text."""

    def error(self, message: str) -> NoReturn:
        """Print one line to stderr and exit with 2."""
        print(f"{self.prog}: {message}; try {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)


def overview() -> str:
    """The text of ``featherseg --help``."""
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {name:<{width}}  {purpose}" for name, purpose in VERBS.items())
    return (
        "usage: featherseg VERB ...\n\n"
        "Feather-light semantic segmentation: from labelled photos to a mask on a small device.\n\n"
        f"{verbs}\n\n"
        "featherseg VERB --help explains a verb. Start with: featherseg predict photo.jpg"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit code: 0 done, 1 done but not everything, 2 the user's mistake."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help"):
        print(overview())
        return 0
    verb = words[0]
    if verb == "--version":
        from importlib.metadata import version

        print(f"featherseg {version('featherseg')}")
        return 0
    if verb not in VERBS:
        hint = nearest(verb, VERBS) or f"the verbs are {', '.join(VERBS)}"
        print(f"featherseg: there is no verb {verb!r}: {hint}", file=sys.stderr)
        return 2
    module = importlib.import_module(f"featherseg.app.{verb}")
    parser = Parser(
        prog=f"featherseg {verb}", description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    module.arguments(parser)
    try:
        return int(module.run(parser.parse_args(words[1:])))
    except FeathersegError as error:
        print(f"featherseg {verb}: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        extra = (
            "train" if (error.name or "").split(".")[0] in ("torch", "torchvision", "timm", "safetensors") else "all"
        )
        print(
            f"featherseg {verb}: the package {error.name!r} is not installed: pip install 'featherseg[{extra}]'",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print(f"featherseg {verb}: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
