"""Every runtime gives the features of plain torch, or is skipped with a note."""

from __future__ import annotations

import copy
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from crosstype.features.encoders import runtime
from crosstype.features.encoders.runtime import (
    CPU_CANDIDATES,
    EAGER,
    LEAST_COSINE,
    RuntimeCandidate,
    TileNetwork,
    TorchRuntime,
    build_runtime,
    check_tiles,
    folded,
    import_openvino,
    least_cosine,
)
from crosstype.features.encoders.weights import import_timm

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CPU = torch.device("cpu")
SIZE_PX = 64
CANDIDATES = pytest.mark.parametrize("candidate", CPU_CANDIDATES, ids=lambda one: one.name)


def stirred(network: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Give batch norms a past, so that folding them folds more than ones and zeros."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for values in (module.running_mean, module.bias):
                values.data.normal_(0.0, 0.1, generator=generator)
            for values in (module.running_var, module.weight):
                values.data.uniform_(0.3, 0.7, generator=generator)
    return network.eval()


@pytest.fixture(scope="module")
def networks() -> dict[str, TileNetwork]:
    """A ResNet-50 and a small ViT whose class and mean patch tokens are joined."""
    timm = import_timm()
    torch.manual_seed(0)
    resnet = stirred(timm.create_model("resnet50", num_classes=0))
    vit = timm.create_model(
        "vit_tiny_patch16_224",
        img_size=SIZE_PX,
        depth=3,
        reg_tokens=2,
        global_pool="",
        num_classes=0,
    )
    return {
        "resnet": TileNetwork(resnet, MEAN, STD).eval(),
        "vit": TileNetwork(vit.eval(), MEAN, STD, pools_tokens=True).eval(),
    }


def tiles_of(n: int, size_px: int = SIZE_PX, seed: int = 3) -> torch.Tensor:
    shape = (n, size_px, size_px, 3)
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def eager(network: TileNetwork, tiles: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return network(tiles)


def built(candidate: RuntimeCandidate, network: TileNetwork) -> runtime.Runtime:
    if reason := candidate.hindrance():
        pytest.skip(reason)
    return candidate.build(network, candidate.name, SIZE_PX)


def test_bytes_are_normalised_as_everybody_does(networks):
    tiles = tiles_of(2)
    image = (tiles.permute(0, 3, 1, 2) / 255 - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(
        STD
    ).view(1, 3, 1, 1)
    with torch.inference_mode():
        expected = networks["resnet"].network(image)
    assert torch.allclose(eager(networks["resnet"], tiles), expected, atol=1e-5)


def test_class_token_and_mean_patch_token_are_joined_without_registers(networks):
    vit = networks["vit"]
    seen = {}
    hook = vit.network.register_forward_hook(lambda *args: seen.update(tokens=args[2]))
    features = eager(vit, tiles_of(2))
    hook.remove()
    tokens = seen["tokens"]
    assert tokens.shape == (2, 1 + 2 + 16, 192)
    assert torch.equal(features[:, :192], tokens[:, 0])
    assert torch.allclose(features[:, 192:], tokens[:, 3:].mean(dim=1))


@CANDIDATES
@pytest.mark.parametrize("kind", ["resnet", "vit"])
def test_every_runtime_computes_what_plain_torch_computes(networks, candidate, kind):
    network, tiles = networks[kind], tiles_of(5)
    expected = eager(network, tiles)
    found = built(candidate, network).run(tiles)
    assert found.shape == expected.shape
    assert found.dtype == torch.float32
    assert least_cosine(found, expected) >= LEAST_COSINE[candidate.precision]
    if candidate.precision == "fp32":
        assert float((found - expected).abs().max()) < 1e-4


@CANDIDATES
def test_features_of_a_tile_do_not_depend_on_its_neighbours(networks, candidate):
    running = built(candidate, networks["resnet"])
    tiles = tiles_of(19)
    together = running.run(tiles)
    # 16-bit numbers step in units of 1/128 of themselves.
    close = (
        {"atol": 1e-5, "rtol": 1e-5} if candidate.precision == "fp32" else {"atol": 0, "rtol": 0.04}
    )
    for row in (0, 7, 18):
        assert torch.allclose(running.run(tiles[row : row + 1])[0], together[row], **close)
    assert torch.allclose(running.run(tiles.flip(0)).flip(0), together, **close)


@CANDIDATES
def test_tiles_of_another_size_are_taken(networks, candidate):
    running, tiles = built(candidate, networks["resnet"]), tiles_of(2, 96)
    assert least_cosine(running.run(tiles), eager(networks["resnet"], tiles)) > 0.99


@CANDIDATES
def test_threads_may_share_a_runtime(networks, candidate):
    running, tiles = built(candidate, networks["resnet"]), tiles_of(8)
    expected = running.run(tiles)
    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(running.run, [tiles] * 4):
            assert torch.equal(found, expected)


def test_folding_leaves_no_batch_norm_and_the_original_as_it_was(networks):
    network = networks["resnet"]
    before = copy.deepcopy(network.state_dict())
    other = folded(network)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in other.modules())
    tiles = tiles_of(3)
    assert torch.allclose(eager(other, tiles), eager(network, tiles), atol=1e-4)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert folded(networks["vit"]) is networks["vit"]


@pytest.mark.parametrize("precision", ["fp32", "reduced"])
def test_the_first_available_runtime_is_used_and_named(networks, precision):
    running, notes = build_runtime(networks["resnet"], SIZE_PX, precision, CPU)
    usable = [
        candidate for candidate in CPU_CANDIDATES if precision in ("reduced", candidate.precision)
    ]
    hindered = [candidate.name for candidate in usable if candidate.hindrance()]
    assert running.name == next(
        candidate.name for candidate in usable if candidate.name not in hindered
    )
    assert len(notes) == len(
        [candidate for candidate in usable[: len(notes)] if candidate.name in hindered]
    )


def candidate_that(build, hindrance="", precision="fp32") -> RuntimeCandidate:
    return RuntimeCandidate("dubious", precision, lambda: hindrance, build)


class Lying(TorchRuntime):
    def run(self, tiles):
        return super().run(tiles).flip(1)


class Poisoned(TorchRuntime):
    def run(self, tiles):
        return super().run(tiles) * float("nan")


def failing(network, name, size_px):
    raise RuntimeError("no such instruction\nand a long trace")


@pytest.mark.parametrize(
    ("candidate", "note"),
    [
        (candidate_that(lambda network, name, _: Lying(network, name)), "cosine"),
        (candidate_that(lambda network, name, _: Poisoned(network, name)), "cosine -1.0"),
        (candidate_that(failing), "dubious: no such instruction"),
        (candidate_that(failing, "not installed"), "dubious: not installed"),
    ],
)
def test_a_runtime_with_other_features_is_skipped_with_a_note(
    networks, monkeypatch, candidate, note
):
    monkeypatch.setattr(runtime, "CPU_CANDIDATES", (candidate,))
    running, notes = build_runtime(networks["resnet"], SIZE_PX, "fp32", CPU)
    assert running.name == EAGER
    assert len(notes) == 1
    assert note in notes[0]
    assert "\n" not in notes[0]


def test_reduced_without_a_16_bit_runtime_is_float32_with_a_note(networks, monkeypatch):
    last = CPU_CANDIDATES[-1]
    monkeypatch.setattr(
        runtime, "CPU_CANDIDATES", (candidate_that(failing, "no bf16", "reduced"), last)
    )
    running, notes = build_runtime(networks["resnet"], SIZE_PX, "reduced", CPU)
    assert (running.name, notes) == (last.name, ("dubious: no bf16",))


def test_without_openvino_torch_is_used_and_the_notes_say_so(networks, monkeypatch):
    def missing():
        raise ImportError("No module named 'openvino'")

    monkeypatch.setattr(runtime, "import_openvino", missing)
    running, notes = build_runtime(networks["resnet"], SIZE_PX, "fp32", CPU)
    assert running.name == "torch float32, folded, channels_last"
    assert notes == ("openvino f32: openvino is not installed",)
    assert CPU_CANDIDATES[0].hindrance() == "openvino is not installed"


def test_openvino_is_imported_without_its_telemetry():
    if CPU_CANDIDATES[2].hindrance():
        pytest.skip("openvino is not installed")
    code = (
        "import sys\n"
        "from crosstype.features.encoders.runtime import import_openvino\n"
        "import_openvino().convert_model\n"
        "print(sorted(name for name in sys.modules if name.startswith('openvino_telemetry')))\n"
        "print(sys.modules['openvino_telemetry'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["['openvino_telemetry']", "None"]


def test_openvino_reports_whether_the_processor_has_bfloat16(monkeypatch):
    if CPU_CANDIDATES[2].hindrance():
        pytest.skip("openvino is not installed")
    openvino = import_openvino()

    class Old:
        def get_property(self, *_):
            return ["FP32", "INT8"]

    monkeypatch.setattr(openvino, "Core", Old)
    assert CPU_CANDIDATES[0].hindrance() == "this CPU does not compute in bfloat16"


def test_check_tiles_are_noise_and_a_slope_and_always_the_same():
    tiles = check_tiles(32)
    assert tiles.shape == (2, 32, 32, 3)
    assert tiles.dtype == torch.uint8
    assert torch.equal(tiles, check_tiles(32))
    assert (tiles[1].int().diff(dim=0) >= 0).all()
