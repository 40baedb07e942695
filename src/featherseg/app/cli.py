"""``featherseg VERB``: finds the verb's file, and turns a user's mistake into one line and exit code 2.

A verb is a module of this package with ``arguments(parser)`` and ``run(args) -> exit code``. Only the asked verb's
module is imported, so help and the verbs of the ground floor start without torch.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.resources
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

from featherseg.runtime.errors import FeathersegError, nearest

VERBS = {
    "predict": "segment pictures: a palette mask and an overlay for each",
    "models": "list the networks and the trained weights",
    "train": "train a network by a recipe; started again, it resumes",
    "val": "score a network on labelled pictures",
    "check-data": "find the faults of a labelled data set, and write a repaired copy",
    "export": "write a trained network as a file that needs no torch, and prove that it says the same",
    "publish": "write trained weights as a small file that travels, scored, with a card that tells all of it",
    "ablate": "the tables of the papers: their rows, our parameters and costs",
    "benchmark": "time networks side by side, the network alone and end to end, beside what the machine can do",
}


EXTRAS = {  # package -> what brings it; the base install has none of them
    **dict.fromkeys(
        ("torch", "torchvision", "timm", "safetensors", "yaml", "rich", "matplotlib", "pycocotools"), "train"
    ),
    **dict.fromkeys(("onnx", "onnxscript", "openvino", "nncf"), "export"),
    **dict.fromkeys(("executorch", "torchao"), "executorch"),
    "av": "video",
    "huggingface_hub": "hub",
}


class Missing(Exception):
    """Some arguments are missing, of which argparse would name the options alone."""


class Parser(argparse.ArgumentParser):
    """argparse, with a mistake answered by one line instead of the usage text."""

    apart = False  # whether options are being parsed without the other arguments

    def error(self, message: str) -> NoReturn:
        """Print one line to stderr and exit with 2."""
        if self.apart and "arguments are required" in message:
            raise Missing
        print(f"{self.prog}: {message}; try {self.prog} --help", file=sys.stderr)
        raise SystemExit(2)

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        """The arguments, with options anywhere among the others; after ``--`` nothing is an option."""
        if "--" in words:
            return self.parse_args(words)
        self.apart = True
        try:
            return self.parse_intermixed_args(words)
        except Missing:
            self.apart = False
            return self.parse_args(words)  # which names all that is missing


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
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a sign that the encoding lacks becomes a question mark
    try:
        try:
            with term_interrupts():
                return run_verb(verb, words[1:])
        finally:
            print(end="", flush=True)
    except BrokenPipeError:  # the reader, as head, has seen enough; what is still to be flushed goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt as error:
        print(f"featherseg {verb}: interrupted", file=sys.stderr)
        return 128 + (signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT)
    except (FeathersegError, ModuleNotFoundError, OSError) as error:
        print(f"featherseg {verb}: {explained(error)}", file=sys.stderr)
        return 2


class Terminated(KeyboardInterrupt):
    """SIGTERM, as `kill` and schedulers send it."""


@contextmanager
def term_interrupts() -> Iterator[None]:
    """Let SIGTERM end a verb as Ctrl-C does, its drafts removed; a worker process, which inherits it, ends at once."""
    own = os.getpid()

    def end(*_: object) -> None:
        if os.getpid() != own:
            os._exit(128 + signal.SIGTERM)
        raise Terminated

    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield  # only the main thread may, and who has called us may have a way of their own
        return
    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def run_verb(verb: str, words: Sequence[str]) -> int:
    """Import the verb's module, read its arguments, run it; returns the exit code."""
    try:
        parser, run = open_verb(verb)
    except ModuleNotFoundError as error:
        if not {"-h", "--help"} & set(words):
            raise
        print(f"usage: featherseg {verb} ...\n\n{about(verb)}\n\nTo see its options: {explained(error)}")
        return 0
    return run(parser.parse(words))


def about(verb: str) -> str:
    """What a verb's module says of itself; the module is only read, for it may need what is not installed."""
    source = (importlib.resources.files("featherseg.app") / f"{verb.replace('-', '_')}.py").read_text("utf-8")
    return ast.get_docstring(ast.parse(source)) or VERBS[verb]


def open_verb(verb: str) -> tuple[Parser, Callable[[argparse.Namespace], int]]:
    """The parser and the function of a verb."""
    module = importlib.import_module(f"featherseg.app.{verb.replace('-', '_')}")
    parser = Parser(
        prog=f"featherseg {verb}", description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    module.arguments(parser)
    return parser, module.run


def explained(error: Exception) -> str:
    """What went wrong, in one line."""
    package = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if package in EXTRAS:
        return f"the package {package!r} is not installed: pip install 'featherseg[{EXTRAS[package]}]'"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


if __name__ == "__main__":
    raise SystemExit(main())
