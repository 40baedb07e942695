"""AFFNet against what one would pick instead, from picture to labels at 1024x2048, all in one run.

    python benchmarks/end_to_end.py [any option of featherseg benchmark]

AFFNet ends with label_scores; DeepLabV3+ (segmentation_models_pytorch) and LR-ASPP (torchvision) end both ways that
are usual: resize and argmax outside the graph, and inside it. All have 19 classes, random weights and the same scores
to make labels from. int8 is static QDQ in onnxruntime and NNCF's in OpenVINO, calibrated on one picture: the speed is
that of a trained file. bf16 is OpenVINO's, where the processor has it. The report goes to
benchmarks/results/end_to_end, or where --out says.
"""

from __future__ import annotations

import sys
from pathlib import Path

from featherseg.app.cli import main

CANDIDATES = (
    "affnet",
    "smp_deeplabv3plus,tail=plain",
    "smp_deeplabv3plus,tail=graph",
    "lraspp,tail=plain",
    "lraspp,tail=graph",
)
OPTIONS = (
    *("--size", "1024x2048", "--backend", "onnxruntime", "openvino", "--precision", "fp32", "bf16", "int8"),
    *("--seconds", "240", "--memory"),
)
OUT = Path(__file__).parent / "results" / "end_to_end"

if __name__ == "__main__":
    sys.exit(main(["benchmark", *CANDIDATES, *OPTIONS, "--out", str(OUT), *sys.argv[1:]]))
