"""A network's page on the hub: what the hub reads of it, how it is used, and its card."""

from __future__ import annotations

import re
from typing import Any

from featherseg.hub.shipping import Shipment
from featherseg.runtime.card import part_of
from featherseg.runtime.hub_files import Repository

CREATIVE_COMMONS = re.compile(r"\bCC[ -](BY(?:-NC)?(?:-SA|-ND)?)[ -](\d\.\d)\b", re.IGNORECASE)
COMMENT = re.compile(r"\A<!--.*?-->\s*", re.DOTALL)  # who wrote a card and who replaces it: of no use there


def readme(shipment: Shipment, repository: Repository) -> str:
    """The text of README.md: YAML between two lines of dashes, then Markdown."""
    text = COMMENT.sub("", shipment.card) or f"# {repository.name}\n"
    for ending, name in shipment.names.items():
        text = re.sub(rf"(?<![\w.-]){re.escape(name)}(?!\w)", f"{repository.name}{ending}", text)
    title, _, rest = text.partition("\n")
    picture = f"{repository.name}.jpg"
    shown = f"\n![what it sees]({picture})\n" if ".jpg" in shipment.files and picture not in text else ""
    return f"---\n{front_matter(shipment, repository)}\n---\n\n{title}\n{shown}{usage(shipment, repository)}{rest}"


def usage(shipment: Shipment, repository: Repository) -> str:
    """How it is run; a checkpoint alone needs torch."""
    extra = "train" if {".onnx", ".xml"}.isdisjoint(shipment.files) else "hub"
    return f"""
A semantic segmentation network of featherseg, which is installed from a clone of its repository:

    pip install '.[{extra}]'
    featherseg predict photo.jpg --model {repository.id}

```python
import featherseg

prediction = featherseg.load("{repository.id}")("photo.jpg")
prediction.mask  # uint8 (H,W), one class id per pixel
```
"""


def front_matter(shipment: Shipment, repository: Repository) -> str:
    """YAML of the keys that the hub knows."""
    from huggingface_hub import EvalResult, ModelCardData

    card = shipment.artefact.card
    results = [
        EvalResult(
            task_type="image-segmentation",
            dataset_type=where.partition(" ")[0],
            dataset_name=where,
            metric_type=metric,
            metric_name=words,
            metric_value=scores[key],
        )
        for where, scores in scored(card).items()
        for metric, key, words in (("mean_iou", "miou", "mIoU"), ("accuracy", "pixel_accuracy", "pixel accuracy"))
        if isinstance(scores.get(key), int | float)
    ]
    return ModelCardData(
        **licence(part_of(card, ["data"]).get("terms")),
        library_name="featherseg",
        pipeline_tag="image-segmentation",
        tags=["semantic-segmentation", *filter(None, [part_of(card, ["model"]).get("name")])],
        metrics=list(dict.fromkeys(str(result.metric_type) for result in results)) or None,
        model_name=repository.name,
        eval_results=results or None,
    ).to_yaml()


def licence(terms: object) -> dict[str, Any]:
    """The hub's words for the terms of the data, which bind what was learned from them."""
    if not isinstance(terms, str) or not terms:
        return {"license": "unknown"}
    found = CREATIVE_COMMONS.search(terms)
    if found is not None:
        return {"license": f"cc-{found[1]}-{found[2]}".lower()}
    return {"license": "other", "license_name": "terms-of-the-training-data", "license_link": "README.md"}


def scored(card: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What it was scored on -> scores; a run says only which split, so the data's name goes before it."""
    scores = {where: values for where, values in part_of(card, ["scores"]).items() if isinstance(values, dict)}
    data = part_of(card, ["data"]).get("format", "")
    return {where if " " in where else f"{data} {where}".strip(): values for where, values in scores.items()}
