"""Runtimes of encoders: selection of the fastest one on this machine whose features agree.

Runtimes are tried in order. The first is selected that is available and whose features of test
tiles have a high cosine similarity with those of float32 torch. Notes report the others.
"""

from __future__ import annotations

import copy
import importlib
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from types import ModuleType
from typing import Any, Literal, Protocol

import numpy as np
import torch


class TileNetwork(torch.nn.Module):
    """A network from uint8 tiles to features: normalisation, network, pooling.

    Args:
        network: takes float (n, 3, size, size); gives (n, n_features), or tokens (n, 1 + n_prefix
            + n_patches, width) where the pooling is `cls+mean`.
        mean: per channel, of values between 0 and 1.
        std: the same.
        pools_tokens: whether to concatenate the class token and the mean patch token.
    """

    def __init__(
        self,
        network: torch.nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        *,
        pools_tokens: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.pools_tokens = pools_tokens
        self.n_prefix = int(getattr(network, "num_prefix_tokens", 1))
        self.dtype = torch.float32
        self.shift: torch.Tensor
        self.scale: torch.Tensor
        self.register_buffer("shift", 255.0 * torch.tensor(mean).reshape(1, 3, 1, 1))
        self.register_buffer("scale", 1.0 / (255.0 * torch.tensor(std)).reshape(1, 3, 1, 1))

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        """Return (n, n_features) of uint8 (n, size, size, 3) tiles."""
        # The permutation alone makes a channels_last image, without a copy.
        image = (tiles.permute(0, 3, 1, 2).to(torch.float32) - self.shift) * self.scale
        output: torch.Tensor = self.network(image.to(self.dtype))
        if not self.pools_tokens:
            return output
        return torch.cat([output[:, 0], output[:, self.n_prefix :].mean(dim=1)], dim=-1)

    def reduced(self, dtype: torch.dtype) -> TileNetwork:
        """Return a copy whose network computes in `dtype`; normalisation stays in float32."""
        other = copy.deepcopy(self)
        other.network.to(dtype)
        other.dtype = dtype
        return other


def folded(network: TileNetwork) -> TileNetwork:
    """Return the network with each batch norm folded into the convolution registered before it.

    The check of the runtime confirms that they also follow one another in use. A network without
    batch norms is returned unchanged.
    """
    if not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules()):
        return network
    network = copy.deepcopy(network)
    for parent in list(network.modules()):
        children = list(parent.named_children())
        for (name, first), (next_name, second) in pairwise(children):
            if isinstance(first, torch.nn.Conv2d) and isinstance(second, torch.nn.BatchNorm2d):
                setattr(parent, name, torch.nn.utils.fusion.fuse_conv_bn_eval(first, second))
                setattr(parent, next_name, torch.nn.Identity())
    return network


Precision = Literal["fp32", "reduced"]

LEAST_COSINE: dict[Precision, float] = {"fp32": 0.99999, "reduced": 0.99}
"""Lowest cosine similarity, over test tiles, of a runtime's features and those of float32 torch."""

CPU_BATCH = 16
"""Batch size of torch on a CPU; more is not faster and takes memory."""

CUDA_BATCH = 256
"""Initial batch size on a GPU; halved until it fits into memory."""


class Runtime(Protocol):
    """Interface of runtimes."""

    name: str

    def run(self, tiles: torch.Tensor) -> torch.Tensor:
        """Return float32 (n, n_features) of uint8 (n, size, size, 3) tiles."""
        ...


class TorchRuntime:
    """Runtime by torch on a CPU."""

    def __init__(self, network: TileNetwork, name: str) -> None:
        self.name = name
        self._network = network

    def run(self, tiles: torch.Tensor) -> torch.Tensor:
        """Return float32 (n, n_features) of uint8 (n, size, size, 3) tiles."""
        with torch.inference_mode():
            parts = [self._network(part).float() for part in tiles.split(CPU_BATCH)]  # type: ignore[no-untyped-call]
        return torch.cat(parts)


class OpenVinoRuntime:
    """Runtime by OpenVINO, with one tile per asynchronous request.

    Single tiles are as fast as batches, and a tile's features do not depend on other tiles.
    """

    def __init__(self, network: TileNetwork, name: str, precision: str, size_px: int) -> None:
        self.name = name
        self._settings = {
            "INFERENCE_PRECISION_HINT": precision,
            "PERFORMANCE_HINT": "THROUGHPUT",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        self._openvino = import_openvino()
        self._queues: dict[int, Any] = {}
        self._lock = threading.Lock()
        example = torch.zeros((1, size_px, size_px, 3), dtype=torch.uint8)
        with torch.inference_mode(), warnings.catch_warnings():
            # torch deprecates tracing; OpenVINO's converter is built on it.
            warnings.filterwarnings("ignore", "`?torch.jit", DeprecationWarning)
            warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)  # type: ignore[attr-defined]
            traced = torch.jit.trace(network, example, check_trace=False)  # type: ignore[no-untyped-call]
        shape = self._openvino.PartialShape([1, -1, -1, 3])
        self._model = self._openvino.convert_model(traced, example_input=example, input=[shape])
        self._queue(size_px)

    def run(self, tiles: torch.Tensor) -> torch.Tensor:
        """Return float32 (n, n_features) of uint8 (n, size, size, 3) tiles."""
        array = np.ascontiguousarray(tiles.numpy())
        rows: list[Any] = [None] * len(array)
        with self._lock:
            queue = self._queue(array.shape[1])
            for row in range(len(array)):
                queue.start_async({0: array[row : row + 1]}, (rows, row))
            queue.wait_all()
        return torch.from_numpy(np.concatenate(rows))

    def _queue(self, size_px: int) -> Any:
        """Return the queue for tiles of one size, compiled at first use."""
        if size_px not in self._queues:
            model = self._model.clone()
            model.reshape([1, size_px, size_px, 3])
            compiled = self._openvino.Core().compile_model(model, "CPU", self._settings)
            queue = self._openvino.AsyncInferQueue(compiled)
            queue.set_callback(_keep)
            self._queues[size_px] = queue
        return self._queues[size_px]


def _keep(request: Any, target: tuple[list[Any], int]) -> None:
    """Store a finished request's features in their row."""
    rows, row = target
    rows[row] = request.get_output_tensor(0).data.astype(np.float32)


class CudaRuntime:  # pragma: no cover  needs a GPU
    """Runtime by torch on a GPU, with pinned, overlapped copies and an adaptive batch size."""

    def __init__(self, network: TileNetwork, name: str, dtype: torch.dtype) -> None:
        self.name = name
        self._network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._device = network.shift.device
        self._dtype = dtype
        self._batch = CUDA_BATCH
        self._copying = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]

    def run(self, tiles: torch.Tensor) -> torch.Tensor:
        """Return float32 (n, n_features) of uint8 (n, size, size, 3) tiles."""
        while True:
            try:
                return self._run(tiles)
            except torch.cuda.OutOfMemoryError:
                if self._batch == 1:
                    raise
                self._batch //= 2
                torch.cuda.empty_cache()

    def _run(self, tiles: torch.Tensor) -> torch.Tensor:
        features = []
        waiting = self._to_device(tiles[: self._batch])
        for start in range(0, len(tiles), self._batch):
            current = torch.cuda.current_stream(self._device)
            current.wait_stream(self._copying)
            now = waiting
            now.record_stream(current)
            if start + self._batch < len(tiles):
                waiting = self._to_device(tiles[start + self._batch :][: self._batch])
            autocast = torch.autocast("cuda", self._dtype, enabled=self._dtype != torch.float32)
            exact = torch.backends.cudnn.flags(allow_tf32=False)
            with torch.inference_mode(), autocast, exact:
                features.append(self._network(now).float())
        return torch.cat(features).cpu()

    def _to_device(self, tiles: torch.Tensor) -> torch.Tensor:
        pinned = tiles.contiguous().pin_memory()
        with torch.cuda.stream(self._copying):
            return pinned.to(self._device, non_blocking=True)


def import_openvino() -> ModuleType:
    """Import OpenVINO with its telemetry disabled.

    Raises:
        ImportError: OpenVINO is not installed.
    """
    # OpenVINO replaces the package by a stub where it cannot be imported.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return importlib.import_module("openvino")


@dataclass(frozen=True)
class RuntimeCandidate:
    """A candidate runtime.

    Attributes:
        name: as in `Encoder.runtime`.
        precision: of its computation.
        hindrance: returns why it is not available; empty if it is.
        build: makes it from the network, the name and the tile size.
    """

    name: str
    precision: Precision
    hindrance: Callable[[], str]
    build: Callable[[TileNetwork, str, int], Runtime]


def _no_openvino() -> str:
    try:
        import_openvino()
    except ImportError:
        return "openvino is not installed"
    return ""


def _no_openvino_bf16() -> str:
    if hindrance := _no_openvino():
        return hindrance
    capable = import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return "" if "BF16" in capable else "this CPU does not compute in bfloat16"


def _no_torch_bf16() -> str:
    capable = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return "" if capable else "this CPU does not compute in bfloat16"


def _nothing() -> str:
    return ""


def _torch_folded(network: TileNetwork, name: str, _: int) -> Runtime:
    return TorchRuntime(folded(network).to(memory_format=torch.channels_last), name)  # type: ignore[call-overload]


def _torch_bf16(network: TileNetwork, name: str, _: int) -> Runtime:
    reduced = folded(network).reduced(torch.bfloat16)
    return TorchRuntime(reduced.to(memory_format=torch.channels_last), name)  # type: ignore[call-overload]


def _openvino(precision: str) -> Callable[[TileNetwork, str, int], Runtime]:
    return lambda network, name, size_px: OpenVinoRuntime(network, name, precision, size_px)


def _cuda(dtype: torch.dtype) -> Callable[[TileNetwork, str, int], Runtime]:  # pragma: no cover
    return lambda network, name, _: CudaRuntime(network, name, dtype)


CPU_CANDIDATES = (
    RuntimeCandidate("openvino bf16", "reduced", _no_openvino_bf16, _openvino("bf16")),
    RuntimeCandidate("torch bf16, folded, channels_last", "reduced", _no_torch_bf16, _torch_bf16),
    RuntimeCandidate("openvino f32", "fp32", _no_openvino, _openvino("f32")),
    RuntimeCandidate("torch float32, folded, channels_last", "fp32", _nothing, _torch_folded),
)
CUDA_CANDIDATES = (
    RuntimeCandidate(
        "cuda float16 autocast, channels_last", "reduced", _nothing, _cuda(torch.float16)
    ),
    RuntimeCandidate(
        "cuda bfloat16 autocast, channels_last", "reduced", _nothing, _cuda(torch.bfloat16)
    ),
    RuntimeCandidate("cuda float32, channels_last", "fp32", _nothing, _cuda(torch.float32)),
)
EAGER = "torch float32, eager"
"""Fallback on the CPU."""


def build_runtime(
    network: TileNetwork, size_px: int, precision: Precision, device: torch.device
) -> tuple[Runtime, tuple[str, ...]]:
    """Return the fastest runtime whose features agree with float32 torch, and notes.

    Args:
        network: in float32, on the device.
        size_px: usual width and height of tiles.
        precision: `fp32`, or `reduced` for 16-bit numbers if they are faster; float32 with a note
            if no 16-bit runtime can be used.
        device: of the computation.

    Returns:
        The runtime, and a note on each faster runtime that could not be used.
    """
    network = network.eval().requires_grad_(requires_grad=False)
    tiles = check_tiles(size_px)
    with torch.inference_mode():
        expected = network(tiles.to(device)).float().cpu()
    notes: list[str] = []
    for candidate in CPU_CANDIDATES if device.type == "cpu" else CUDA_CANDIDATES:
        if precision == "fp32" and candidate.precision == "reduced":
            continue
        if reason := candidate.hindrance():
            notes.append(f"{candidate.name}: {reason}")
            continue
        try:
            runtime = candidate.build(network, candidate.name, size_px)
            cosine = least_cosine(runtime.run(tiles), expected)
        except (RuntimeError, NotImplementedError) as error:
            notes.append(f"{candidate.name}: {''.join(str(error).splitlines()[:1])[:160]}")
            continue
        if cosine >= LEAST_COSINE[candidate.precision]:
            return runtime, tuple(notes)
        notes.append(f"{candidate.name}: cosine {cosine:.6f} to plain float32 torch")
    return TorchRuntime(network.cpu(), EAGER), tuple(notes)


def check_tiles(size_px: int) -> torch.Tensor:
    """Return two test tiles, uint8 (2, size, size, 3): noise and a gradient."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (size_px, size_px, 3), dtype=np.uint8)
    slope = np.linspace(0, 255, size_px)[:, None, None] * np.array([1.0, 0.5, 0.8])
    smooth = np.broadcast_to(slope, noise.shape).astype(np.uint8)
    return torch.from_numpy(np.stack([noise, smooth]))


def least_cosine(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Return the lowest cosine similarity of rows of (n, n_features); -1 if any is not finite."""
    if not bool(torch.isfinite(found).all()):
        return -1.0
    cosines = torch.nn.functional.cosine_similarity(found.double(), expected.double(), dim=1)
    return float(cosines.min())
