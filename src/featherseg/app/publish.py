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
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from featherseg.app.arguments import add_device, require_folder
from featherseg.app.progress import Bar
from featherseg.app.publish_place import Place
from featherseg.app.published import name_of, published_card, report_text, seeds_of
from featherseg.data import FORMATS, SegData, open_data
from featherseg.evaluation.sheet import sheet_of, spread
from featherseg.export.weights import Measured, Stored, measure, store, write_final
from featherseg.hub import load, push_to_hub
from featherseg.metrics import json_number
from featherseg.models.checkpoint import rebuilt
from featherseg.models.engine import TorchEngine
from featherseg.runtime.card import shippable
from featherseg.runtime.errors import FeathersegError
from featherseg.runtime.hub_files import Repository, require_package
from featherseg.runtime.predictor import Predictor
from featherseg.training.seeds import Earlier, Outcome, Seed, read_seeds


def arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's arguments."""
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="run directories, seeds of one recipe; a file of others"
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
        place: where the files go.
        outcome: the run that is published.
        seeds: all that are known of its recipe.
        data: what is scored on.
        baselines: title -> a network shown beside it; none or one.
        storage: of the weights.
        device: where the networks run.
    """

    place: Place
    outcome: Outcome
    seeds: Sequence[Seed]
    data: SegData
    baselines: Mapping[str, Predictor]
    storage: str
    device: str

    def score(self, predictor: Predictor, label: str) -> Measured:
        """What a predictor scores."""
        with Bar(label, len(self.data)) as bar:
            return measure(predictor, self.data, keep=spread(len(self.data)), progress=bar.show)

    def sheet(self, measured: Measured) -> tuple[bytes, dict[str, Any]]:
        """The pictures, and what is on them."""
        kept, name = measured.judged, self.place.name
        masks = {
            f"{title}, baseline" if title == name else title: [predictor(each.sample.image).mask for each in kept]
            for title, predictor in self.baselines.items()
        }
        masks[name] = [each.mask for each in kept]
        said = {"file": self.place.file(".jpg").name, "columns": ["photo", "truth", *masks]}
        return sheet_of(kept, self.data.classes, masks), {**said, "of": [each.sample.name for each in kept]}

    def card(self, measured: Measured, stored: Stored | None, picture: dict[str, Any]) -> dict[str, Any]:
        """The card."""
        return published_card(
            self.place.name, self.outcome, self.seeds, self.data, measured, stored=stored, picture=picture
        )


def run(args: argparse.Namespace) -> int:
    """Refuse what cannot be, score, write, report."""
    refuse_hub(args)
    outcomes, earlier = read_seeds(args.runs)
    best, seeds = outcomes[0], [*(earlier.seeds if earlier else ()), *(outcome.of_seed for outcome in outcomes)]
    place = chosen_place(args, best, earlier)
    if earlier and earlier.miou >= best.miou:
        tell_unused(args, earlier)
        card, miou = publish_seeds(place, earlier, seeds), earlier.network_miou
    else:
        data = labelled(args, best)
        publication = Publication(
            place=place, outcome=best, seeds=seeds, data=data, baselines=opened_baseline(args, data),
            storage=args.storage, device=args.device,
        )  # fmt: skip
        card, miou = publish_run(publication)
    report = {
        "files": [str(path) for path in place.files],
        "network_miou": json_number(miou),
        "hub": push_to_hub(place.target, args.hub) if args.hub else None,
        "card": card,
    }
    print(json.dumps(report) if args.json else report_text(report))
    return 0


def tell_unused(args: argparse.Namespace, earlier: Earlier) -> None:
    """Say which options change nothing, where what was published before is still the best."""
    given = {
        "--storage": args.storage != "auto", "--root": args.root, "--split": args.split, "--baseline": args.baseline
    }  # fmt: skip
    unused = [option for option, value in given.items() if value]
    if unused:
        print(f"{earlier.path} is the best, and stays: {', '.join(unused)} changed nothing", file=sys.stderr)


def refuse_hub(args: argparse.Namespace) -> None:
    """Refuse a hub that cannot be: it has another kind of name, or nothing would be put there."""
    if not args.hub:
        return
    repository = Repository.of(args.hub)
    if repository is None or repository.revision is not None:
        raise FeathersegError("--hub", expected="ORG/NAME", got=repr(args.hub))
    require_package("--hub")
    if args.card_only or any(path.suffix == ".json" and path.is_file() for path in args.runs):
        raise FeathersegError("--hub puts weights on the hub, and --card-only writes none", remedy="leave out --hub")


def chosen_place(args: argparse.Namespace, best: Outcome, earlier: Earlier | None) -> Place:
    """Where the files go: as the options say, else where those of other seeds are."""
    place = Place(
        folder=args.out or (earlier.path.parent if earlier else Path("weights")),
        name=args.name or (earlier.path.stem if earlier else name_of(best)),
        with_weights=not (args.card_only or (earlier is not None and earlier.path.suffix == ".json")),
    )
    require_folder("--out", place.folder)
    if earlier and place.target.resolve() != earlier.path.resolve():
        raise FeathersegError(
            f"{earlier.path} would go on telling of other seeds of this recipe alone, beside {place.target}",
            remedy="leave out --name, --out and --card-only",
        )
    place.refuse()
    return place


def publish_run(publication: Publication) -> tuple[dict[str, Any], float]:
    """Score a run and write what came of it; returns the card, and the score of the run's own weights."""
    best = publication.outcome
    network = rebuilt(best.weights, best.run.model.to_json(), best.artefact, source=str(best.folder))
    predictor = Predictor(TorchEngine(network, best.artefact, device=publication.device), best.artefact)
    reference = publication.score(predictor, "run")
    publication.place.folder.mkdir(parents=True, exist_ok=True)
    publish = publish_weights if publication.place.with_weights else publish_card
    return publish(publication, reference), reference.scores.miou


def publish_weights(publication: Publication, reference: Measured) -> dict[str, Any]:
    """Write the weights under a temporary name, prove them, add the card, and only then give the name."""
    place, best = publication.place, publication.outcome
    model = shippable({"model": best.run.model.to_json()})["model"]
    with draft_in(place) as draft:
        stored = store(
            draft, best.weights, model, best.artefact, storage=publication.storage,
            reference=reference, device=publication.device, score=publication.score,
        )  # fmt: skip
        content, picture = publication.sheet(stored.measured)
        card = publication.card(stored.measured, stored, picture)
        card["bytes"] = write_final(draft, card)
        place.write_text(card)
        place.write_picture(content)
        draft.replace(place.target)
    return card


def publish_card(publication: Publication, reference: Measured) -> dict[str, Any]:
    """Write the card of a network whose weights stay where they are."""
    content, picture = publication.sheet(reference)
    card = publication.card(reference, None, picture)
    publication.place.write_text(card)
    publication.place.write_picture(content)
    publication.place.write_card(card)
    return card


def publish_seeds(place: Place, earlier: Earlier, seeds: Sequence[Seed]) -> dict[str, Any]:
    """Tell of more seeds on the card of what was published before, which is still the best; it is scored already."""
    card = {**earlier.card, **seeds_of(seeds, earlier.scores["interval"])}
    if not place.with_weights:
        place.write_text(card)
        place.write_card(card)
        return card
    with draft_in(place) as draft:
        shutil.copyfile(earlier.path, draft)
        card["bytes"] = write_final(draft, card)
        place.write_text(card)
        draft.replace(place.target)
    return card


@contextmanager
def draft_in(place: Place) -> Iterator[Path]:
    """A temporary name beside the target; nothing stays under it."""
    draft = place.folder / f".{secrets.token_hex(8)}.tmp"
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)


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
