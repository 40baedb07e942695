"""Write a trained network as a small file that travels, scored as it lies there, with a card that tells all of it.

examples:
  featherseg publish runs/mine                                   weights/MODEL-DATA.safetensors, .md and .jpg
  featherseg publish runs/a runs/b runs/c --name affnet-camvid   seeds of one recipe: the best on val, and the spread
  featherseg publish runs/d weights/affnet-camvid.safetensors    one more seed than were published before
  featherseg publish runs/mine --storage fp16 --out shared --baseline affnet-camvid
  featherseg publish runs/mine --data camvid --root ~/data/camvid --split test
  featherseg publish runs/peer --card-only                       weights that are not yours to ship: NAME.json instead
  featherseg publish runs/mine --hub ORG/NAME                    afterwards put it on the Hugging Face hub

int8 quarters the file, fp16 halves it; read back, the weights are float32 again. The file is written under a temporary
name, scored on labelled pictures beside the run's own weights, and gets its name only then; auto takes int8 where that
costs at most 0.1 mIoU points, else fp16. The score on the card is the file's. No path of this machine is in it.

Seeds published before count with the runs. Where the best of all is one of them, its weights and its score stay what
they are, and its card tells of all seeds.
"""

from __future__ import annotations

import argparse
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featherseg.app.arguments import add_device, require_folder
from featherseg.app.progress import Bar
from featherseg.app.published import name_of, published_card, report_text, seeds_of
from featherseg.data import FORMATS, SegData, open_data
from featherseg.evaluation.sheet import sheet_of, spread
from featherseg.export.card import is_foreign
from featherseg.export.published import published_text
from featherseg.export.weights import Measured, Stored, measure, store, write_final
from featherseg.hub import load, push_to_hub
from featherseg.metrics import json_number
from featherseg.models.checkpoint import rebuilt
from featherseg.models.engine import TorchEngine
from featherseg.runtime.card import shippable
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.hub_files import Repository, require_package
from featherseg.runtime.pixels import write_atomically
from featherseg.runtime.predictor import Predictor
from featherseg.training.seeds import Earlier, Outcome, Seed, read_seeds

NAME = re.compile(r"[A-Za-z0-9][\w.+-]*", re.ASCII)


def arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument(
        "runs",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="run directories: seeds of one recipe; what was published of others",
    )
    parser.add_argument("--name", help="what it is called (default: MODEL-DATA, as affnet-camvid)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: weights; that of a file published before")
    parser.add_argument(
        "--storage", default="auto", choices=("auto", "int8", "fp16"), help="of the weights (default: auto)"
    )
    parser.add_argument("--data", choices=("auto", *FORMATS), help="the layout of the pictures of --root")
    parser.add_argument("--root", type=Path, help="labelled pictures to score on (default: the run's own)")
    parser.add_argument("--split", help="which part of them (default: the run's own val, of --root val)")
    parser.add_argument("--baseline", metavar="NAME|PATH|RUN", help="another network to show beside it in the picture")
    parser.add_argument("--card-only", action="store_true", help="write the card as NAME.json, and no weights")
    parser.add_argument("--hub", metavar="ORG/NAME", help="also put it on the Hugging Face hub")
    add_device(parser, "where it is scored")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of text")


@dataclass(frozen=True, kw_only=True)
class Publication:
    """What is published and how.

    Attributes:
        folder: where the files go.
        name: what they are called: NAME.safetensors or NAME.json, NAME.md, NAME.jpg.
        outcomes: runs of one recipe, the best first.
        earlier: seeds of this recipe that were published before; None where there are none.
        data: what is scored on.
        baselines: title -> a network shown beside it; none or one.
        storage: of the weights; None where they are not written.
        device: where the networks run.
    """

    folder: Path
    name: str
    outcomes: Sequence[Outcome]
    earlier: Earlier | None
    data: SegData
    baselines: Mapping[str, Predictor]
    storage: str | None
    device: str

    def file(self, suffix: str) -> Path:
        """NAME and a suffix; a name may have dots in it."""
        return self.folder / f"{self.name}{suffix}"

    @property
    def target(self) -> Path:
        """The weights, or the card where they are not written."""
        return self.file(".safetensors" if self.storage else ".json")

    @property
    def seeds(self) -> list[Seed]:
        """All that are known of the recipe."""
        return [*(self.earlier.seeds if self.earlier else ()), *(outcome.of_seed for outcome in self.outcomes)]

    def score(self, predictor: Predictor, label: str) -> Measured:
        """What a predictor scores."""
        with Bar(label, len(self.data)) as bar:
            return measure(predictor, self.data, keep=spread(len(self.data)), progress=bar.show)

    def sheet(self, measured: Measured) -> tuple[bytes, dict[str, Any]]:
        """The pictures, and what is on them."""
        kept = measured.judged
        masks = {
            f"{title}, baseline" if title == self.name else title: [predictor(each.sample.image).mask for each in kept]
            for title, predictor in self.baselines.items()
        }
        masks[self.name] = [each.mask for each in kept]
        said = {"file": f"{self.name}.jpg", "columns": ["photo", "truth", *masks]}
        return sheet_of(kept, self.data.classes, masks), {**said, "of": [each.sample.name for each in kept]}

    def card(self, measured: Measured, stored: Stored | None, picture: dict[str, Any]) -> dict[str, Any]:
        """The card."""
        best = self.outcomes[0]
        return published_card(self.name, best, self.seeds, self.data, measured, stored=stored, picture=picture)


def run(args: argparse.Namespace) -> int:
    """Refuse what cannot be, score, write, report."""
    publication = opened(args)
    best, earlier = publication.outcomes[0], publication.earlier
    if earlier and earlier.miou >= best.miou:
        card, miou = publish_seeds(publication, earlier), earlier.miou
    else:
        network = rebuilt(best.weights, best.run.model.to_json(), best.artefact, source=str(best.folder))
        predictor = Predictor(TorchEngine(network, best.artefact, device=args.device), best.artefact)
        reference = publication.score(predictor, "run")
        publish = publish_weights if publication.storage else publish_card
        card, miou = publish(publication, reference), reference.scores.miou
    report = {
        "files": [str(path) for path in (publication.file(".md"), publication.file(".jpg"), publication.target)],
        "network_miou": json_number(miou),
        "hub": push_to_hub(publication.file(".safetensors"), args.hub) if args.hub else None,
        "card": card,
    }
    print(json.dumps(report) if args.json else report_text(report))
    return 0


def publish_seeds(publication: Publication, earlier: Earlier) -> dict[str, Any]:
    """Tell of more seeds on the card of what was published before, which is still the best; it is scored already."""
    interval = next(iter(earlier.card["scores"].values()))["interval"]
    card = {**earlier.card, **seeds_of(publication.seeds, interval)}
    if publication.storage:
        card["bytes"] = write_final(earlier.path, card)
    else:
        write_text(earlier.path, json.dumps(card, indent=2) + "\n")
    write_text(publication.file(".md"), published_text(card))
    return card


def publish_weights(publication: Publication, reference: Measured) -> dict[str, Any]:
    """Write the weights under a temporary name, prove them, add the card, and only then give the name."""
    best = publication.outcomes[0]
    model = shippable({"model": best.run.model.to_json()})["model"]
    publication.folder.mkdir(parents=True, exist_ok=True)
    draft = publication.folder / f".{secrets.token_hex(8)}.tmp"
    try:
        stored = store(
            draft, best.weights, model, best.artefact, storage=publication.storage or "auto",
            reference=reference, device=publication.device, score=publication.score,
        )  # fmt: skip
        content, picture = publication.sheet(stored.measured)
        card = publication.card(stored.measured, stored, picture)
        card["bytes"] = write_final(draft, card)
        write_beside(publication, card, content)
        draft.replace(publication.file(".safetensors"))
    finally:
        draft.unlink(missing_ok=True)
    return card


def publish_card(publication: Publication, reference: Measured) -> dict[str, Any]:
    """Write the card of a network whose weights stay where they are."""
    content, picture = publication.sheet(reference)
    card = publication.card(reference, None, picture)
    publication.folder.mkdir(parents=True, exist_ok=True)
    write_beside(publication, card, content)
    write_text(publication.file(".json"), json.dumps(card, indent=2) + "\n")
    return card


def write_beside(publication: Publication, card: dict[str, Any], picture: bytes) -> None:
    """Write NAME.md and NAME.jpg."""
    write_text(publication.file(".md"), published_text(card))
    write_atomically(publication.file(".jpg"), lambda file: file.write(picture))


def write_text(path: Path, text: str) -> None:
    """Write a text whole or not at all."""
    write_atomically(path, lambda file: file.write(text.encode()))


def opened(args: argparse.Namespace) -> Publication:
    """The runs and the data, after everything that cannot be has been refused; nothing is written or scored yet."""
    if args.out is not None:
        require_folder("--out", args.out)
    if args.hub:
        repository = Repository.of(args.hub)
        if repository is None or repository.revision is not None:
            raise FeathersegError("--hub", expected="ORG/NAME", got=repr(args.hub))
        require_package("--hub")
    outcomes, earlier = read_seeds(args.runs)
    card_only = args.card_only or (earlier is not None and earlier.path.suffix == ".json")
    if args.hub and card_only:
        raise FeathersegError("--hub puts weights on the hub, and --card-only writes none", remedy="leave one out")
    data = labelled(args, outcomes[0])
    publication = Publication(
        folder=args.out or (earlier.path.parent if earlier else Path("weights")),
        name=args.name or (earlier.path.stem if earlier else name_of(outcomes[0])),
        outcomes=outcomes,
        earlier=earlier,
        data=data,
        baselines=opened_baseline(args, data),
        storage=None if card_only else args.storage,
        device=args.device,
    )
    refuse_place(publication)
    return publication


def refuse_place(publication: Publication) -> None:
    """Refuse a name that is none, and to write over what publish did not write, or over a run's own weights."""
    if not NAME.fullmatch(publication.name):
        raise FeathersegError("--name", expected="letters, digits and . _ + -", got=repr(publication.name))
    target, earlier = publication.target, publication.earlier
    if earlier and target.resolve() != earlier.path.resolve():
        raise FeathersegError(
            f"{earlier.path} would go on telling of other seeds of this recipe alone, beside {target}",
            remedy="leave out --name, --out and --card-only",
        )
    twin = publication.file(".json" if publication.storage else ".safetensors")
    if twin.exists():
        raise FeathersegError(
            f"{twin}: {publication.name} would be published both with its weights and without",
            remedy="remove that file first, or choose another --name or --out",
        )
    card = publication.file(".md")
    others = [publication.file(".jpg"), *([] if publication.storage else [target])]
    foreign = [card] if is_foreign(card) else [path for path in others if path.exists() and not card.exists()]
    if target.is_dir() or (publication.name in ("best", "last") and (publication.folder / "run.json").exists()):
        foreign.append(target)
    if foreign:
        raise FeathersegError(
            f"{foreign[0]}: would be written over, and was not written by featherseg publish",
            remedy="choose another --name or --out",
        )


def labelled(args: argparse.Namespace, outcome: Outcome) -> SegData:
    """The pictures of --root, else the run's own; always with the classes that the run chose."""
    own = outcome.run.data
    if args.root is not None:
        return open_data(args.root, args.data or "auto", args.split or "val", classes=own.classes)
    if args.data is not None:
        raise FeathersegError("--data is the layout of --root", remedy="add --root DIR, or leave it out")
    if not Path(own.root).expanduser().is_dir():
        raise FeathersegError(
            f"the file is scored on labelled pictures, and the run's own, {own.root}, are not at hand",
            remedy="start it where the run was started, or name them by --data FORMAT --root DIR",
        )
    return open_data(own.root, outcome.artefact.card["data"]["format"], args.split or own.val, classes=own.classes)


def opened_baseline(args: argparse.Namespace, data: SegData) -> dict[str, Predictor]:
    """Title -> the network of --baseline; empty without one."""
    if args.baseline is None:
        return {}
    predictor = load(args.baseline, device=args.device)
    if predictor.classes.names != data.classes.names:
        raise FeathersegError(
            f"--baseline {args.baseline}",
            expected=f"a network with the classes {', '.join(data.classes.names)}",
            got=", ".join(predictor.classes.names),
        )
    return {str(predictor.artefact.card.get("name") or Path(args.baseline).stem): predictor}
