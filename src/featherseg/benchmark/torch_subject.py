"""A network in torch: eager, channels last, compiled or as a CUDA graph; fp32 or bf16; on the CPU or a GPU."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from featherseg.benchmark.cases import Case
from featherseg.benchmark.plan import Size
from featherseg.benchmark.subjects import Subject
from featherseg.benchmark.tails import Labels, Scores
from featherseg.benchmark.workshop import Network
from featherseg.models.base import SegNetwork
from featherseg.models.checkpoint import load_checkpoint
from featherseg.models.engine import Normalise, choose_device, stripped
from featherseg.runtime.artefact import Artefact, Preprocessing
from featherseg.runtime.pixels import Pixels

GEMM_SIDE = 8192
COPY_BYTES = 1 << 30
WARM_UPS = 3  # before a CUDA graph is captured
MOST_COMPILED = 64  # subjects of one run


class PicturesToScores(nn.Module):
    """uint8 (N,H,W,3) -> float32 (N,C,h,w)."""

    def __init__(self, network: SegNetwork, preprocessing: Preprocessing, layout: torch.memory_format) -> None:
        super().__init__()
        self.normalise, self.network, self.layout = Normalise(preprocessing), network, layout

    def forward(self, images: Tensor) -> Tensor:
        """Normalise and run."""
        nchw = self.normalise(images.permute(0, 3, 1, 2)).contiguous(memory_format=self.layout)
        return self.network(nchw).logits.float()  # type: ignore[no-any-return]


class TorchSubject(Subject):
    """See the module."""

    given: Tensor | None = None  # the scores that stand in, on the device

    def __init__(self, case: Case) -> None:
        self.device = choose_device(case.device)
        network, artefact = as_run(case.network, case.file, case.device)
        super().__init__(case, artefact)
        torch.backends.cudnn.benchmark = case.device == "cuda"  # sizes stay the same
        layout = torch.contiguous_format if case.mode == "eager" else torch.channels_last
        network = network.to(memory_format=layout)
        module = PicturesToScores(network, artefact.preprocessing, layout).to(self.device).eval()
        self.forward: Callable[[Tensor], Tensor] = module
        if case.mode == "compiled":
            logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)  # it misses CUDA where there is none
            torch._dynamo.config.recompile_limit = MOST_COMPILED  # all subjects share one code object
            torch._dynamo.config.fail_on_recompile_limit_hit = True  # else the rest would run eagerly, unsaid
            freezing = case.device == "cpu"  # folds weights into what oneDNN likes best
            self.forward = torch.compile(module, dynamic=False, options={"freezing": freezing})
        if case.mode == "cudagraph":
            self.forward = self.captured(module)

    def prepare(self, picture: Pixels) -> Tensor:
        """uint8 (N,H,W,3), the picture as many times as the batch is large; still in the host's memory."""
        framed = torch.from_numpy(super().prepare(picture))
        return framed.expand(self.case.batch, -1, -1, -1).contiguous()

    def network(self, value: Tensor) -> Tensor:
        """To the device, normalised, run, waited for."""
        torch.set_num_threads(self.case.threads)
        if self.device.type != "cuda":
            return self.run(self.forward, value.to(self.device))
        images = value.to(self.device)
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        begin.record()
        scores = self.run(self.forward, images)
        end.record()
        torch.cuda.synchronize(self.device)
        self.device_ms = begin.elapsed_time(end)
        return scores

    def labels(self, result: Tensor, size: Size) -> Labels:
        """Of the whole batch, in the host's memory; returned are the first picture's."""
        if self.stand_in is not None:
            self.given = torch.from_numpy(self.stand_in).to(result.device) if self.given is None else self.given
            result = self.given.expand(len(result), -1, -1, -1)
        if self.case.tail == "exact":
            each = [self.exact_labels(scores, size) for scores in result.cpu().numpy()]
            return each[0]
        with torch.no_grad():
            full = torch.nn.functional.interpolate(result, size=size, mode="bilinear", align_corners=self.align_corners)
            labels: Labels = full.argmax(dim=1).to(torch.uint8).cpu().numpy()[0]
            return labels

    def scores_of(self, result: Tensor) -> Scores | None:
        """The first picture's, in the host's memory."""
        return result[0].cpu().numpy()

    def run(self, forward: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """In the case's precision, without gradients."""
        half = self.case.precision == "bf16"
        with torch.no_grad(), torch.autocast(self.device.type, torch.bfloat16, enabled=half, cache_enabled=False):
            return forward(images)

    def captured(self, module: nn.Module) -> Callable[[Tensor], Tensor]:
        """The module as one CUDA graph over pictures of the case's size."""
        images = torch.zeros((self.case.batch, *self.case.size, 3), dtype=torch.uint8, device=self.device)
        stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(stream):
            for _ in range(WARM_UPS):
                self.run(module, images)
        torch.cuda.current_stream(self.device).wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            scores = self.run(module, images)

        def replayed(new: Tensor) -> Tensor:
            images.copy_(new)
            graph.replay()
            return scores

        return replayed


def first_use() -> None:
    """A convolution in bf16: what torch hands to oneDNN on every processor."""
    one = torch.zeros(1, 1, 1, 1, dtype=torch.bfloat16)
    torch.nn.functional.conv2d(one, one)


def as_run(network: Network | None, file: str, device: str) -> tuple[SegNetwork, Artefact]:
    """What runs on "cpu" or "cuda", and what it says of itself: the network in the form in which a Predictor runs it.

    A library's by name stays as the library has it: that is what one would run instead.
    """
    built, artefact = load_checkpoint(Path(file)) if network is None else network.build()
    if network is not None and network.is_of_a_library:
        return built, artefact
    return stripped(built, torch.device(device)), artefact


def macs_of(case: Case) -> int:
    """Multiply-accumulates of one picture."""
    return _macs(case.network, case.file, case.size, case.device)


@lru_cache(maxsize=64)
def _macs(network: Network | None, file: str, size: Size, device: str) -> int:
    from featherseg.models.costs import count_macs

    return count_macs(as_run(network, file, device)[0], size)


def bytes_moved_by(case: Case) -> int:
    """Bytes moved for one picture, as torch calls the operations of a case one by one."""
    return _bytes_moved(case.network, case.file, case.size, case.device, case.precision == "bf16")


@lru_cache(maxsize=64)
def _bytes_moved(network: Network | None, file: str, size: Size, device: str, bf16: bool) -> int:
    from featherseg.models.costs import count_bytes_moved

    return count_bytes_moved(as_run(network, file, device)[0], size, bf16=bf16)


def gpu_limits(precisions: set[str]) -> list[dict[str, Any]]:
    """GEMM and copying on the GPU; fp32 products may round to TF32 where torch's convolutions do."""
    kinds = {"fp32": torch.float32, "bf16": torch.bfloat16}
    source = torch.empty(COPY_BYTES, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    copy = fastest(lambda: target.copy_(source))
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32
    limits = []
    for precision in sorted(precisions & kinds.keys()):
        left, right = (torch.randn(GEMM_SIDE, GEMM_SIDE, device="cuda", dtype=kinds[precision]) for _ in range(2))
        gemm = fastest(partial(torch.matmul, left, right))
        limits.append(
            {
                "device": "cuda",
                "threads": None,
                "precision": precision,
                "gemm_gflops": round(2 * GEMM_SIDE**3 / gemm / 1e9, 1),
                "copy_gbytes": round(2 * COPY_BYTES / copy / 1e9, 1),
            }
        )
    torch.backends.cuda.matmul.allow_tf32 = before
    return limits


def fastest(call: Callable[[], object], repeats: int = 10) -> float:
    """Seconds of the fastest of several calls on the GPU."""
    times = []
    for _ in range(repeats):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        call()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - begin)
    return min(times)
