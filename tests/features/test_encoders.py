"""Encoders equal timm's, check their weights, and report what is missing."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import huggingface_hub.errors
import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from crosstype.errors import ConfigError, EncoderError
from crosstype.features.encoders import encoder as encoders
from crosstype.features.encoders.catalog import ENCODERS, encoder_card
from crosstype.features.encoders.encoder import (
    build_network,
    fitted_tiles,
    load_encoder,
    transform_of,
)
from crosstype.features.encoders.weights import (
    as_timm,
    download_weights,
    fill,
    import_timm,
    read_weights,
)
from crosstype.io.files import sha256_of

MEAN, STD = torch.tensor((0.485, 0.456, 0.406)), torch.tensor((0.229, 0.224, 0.225))
RNG_TILES = np.random.default_rng(5).integers(0, 256, (5, 96, 96, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ResNet-50 with random weights, its classifier included, as torchvision names it."""
    torch.manual_seed(0)
    network = import_timm().create_model("resnet50")
    for name, value in network.state_dict().items():
        if name.endswith("bn3.weight"):
            value.fill_(0.3)
    path = tmp_path_factory.mktemp("weights") / "resnet50.safetensors"
    save_file(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def encoder(weights: Path) -> encoders.Encoder:
    return load_encoder("resnet50", weights, "fp32", device="cpu")


@pytest.fixture(scope="module")
def real_weights() -> Path:
    """Real ImageNet weights; skips where there are none."""
    data = os.environ.get("CROSSTYPE_DATA")
    folder = os.environ.get("CROSSTYPE_WEIGHTS", str(Path(data).parent / "weights") if data else "")
    files = sorted(Path(folder).glob("resnet50*.safetensors")) if folder else []
    if not files:
        pytest.skip("neither CROSSTYPE_WEIGHTS nor CROSSTYPE_DATA leads to a ResNet-50's weights")
    return files[0]


def by_timm(path: Path, tiles: np.ndarray) -> np.ndarray:
    """Return what timm's own forward pass gives, (n, 2048)."""
    network = import_timm().create_model("resnet50").eval()
    given = {key: value.float() for key, value in load_file(path).items()}
    network.load_state_dict(given, strict=False)
    image = (torch.from_numpy(tiles).permute(0, 3, 1, 2).float() / 255 - MEAN.view(1, 3, 1, 1)) / (
        STD.view(1, 3, 1, 1)
    )
    with torch.inference_mode():
        return network.global_pool(network.forward_features(image)).numpy()


def test_features_are_those_of_timm(encoder, weights):
    features = encoder.encode(RNG_TILES)
    assert features.shape == (5, 2048)
    assert features.dtype == np.float32
    assert np.abs(features - by_timm(weights, RNG_TILES)).max() < 1e-4


def test_features_of_a_tile_do_not_depend_on_the_batch(encoder):
    together = encoder.encode(RNG_TILES)
    for row in range(5):
        assert np.abs(encoder.encode(RNG_TILES[row : row + 1])[0] - together[row]).max() < 1e-5


def test_reduced_precision_points_the_same_way(encoder, weights):
    reduced = load_encoder("resnet50", weights, "reduced", device="cpu")
    found, expected = reduced.encode(RNG_TILES), encoder.encode(RNG_TILES)
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(expected, axis=1)
    assert ((found * expected).sum(axis=1) / lengths).min() >= 0.99
    assert reduced.transform != encoder.transform
    assert reduced.weights_sha256 == encoder.weights_sha256


def test_an_encoder_describes_itself(encoder, weights):
    assert encoder.card is ENCODERS["resnet50"]
    assert encoder.weights_sha256 == sha256_of(weights)
    assert encoder.runtime.startswith(("openvino f32", "torch float32"))
    assert json.loads(encoder.transform) == {
        "centre_crop_px": None,
        "interpolation": None,
        "mean": [0.485, 0.456, 0.406],
        "pooling": "pool",
        "precision": "fp32",
        "resize_px": None,
        "std": [0.229, 0.224, 0.225],
    }


def test_no_tiles_give_no_features(encoder):
    assert encoder.encode(np.zeros((0, 256, 256, 3), dtype=np.uint8)).shape == (0, 2048)


@pytest.mark.parametrize(
    "tiles",
    [
        np.zeros((1, 96, 96, 3), dtype=np.float32),
        np.zeros((96, 96, 3), dtype=np.uint8),
        np.zeros((1, 96, 64, 3), dtype=np.uint8),
        np.zeros((1, 96, 96, 4), dtype=np.uint8),
    ],
)
def test_what_is_no_tile_is_refused(encoder, tiles):
    with pytest.raises(ValueError, match="expected uint8"):
        encoder.encode(tiles)


def test_a_feature_that_is_no_number_is_never_handed_on(encoder, monkeypatch):
    monkeypatch.setattr(encoder._runtime, "run", lambda tiles: torch.full((5, 2048), torch.nan))
    with pytest.raises(EncoderError, match="NaN or infinite features"):
        encoder.encode(RNG_TILES)


# Weights


@pytest.mark.parametrize("kind", ["half", "pth", "wrapped"])
def test_the_same_weights_in_another_file_give_the_same_network(weights, tmp_path, kind):
    given = load_file(weights)
    expected = as_timm(read_weights(weights))
    if kind == "half":
        path = tmp_path / "half.safetensors"
        save_file({key: v.half() if v.is_floating_point() else v for key, v in given.items()}, path)
    else:
        path = tmp_path / "resnet50.pth"
        module = {f"module.{key}": value for key, value in given.items()}
        torch.save({"state_dict": module, "epoch": 3} if kind == "wrapped" else given, path)
    found = as_timm(read_weights(path))
    assert found.keys() == expected.keys()
    assert not any(key.startswith("fc.") for key in found)
    assert {value.dtype for value in found.values()} == {torch.float32, torch.int64}
    for key, value in found.items():
        assert torch.allclose(value, expected[key], atol=1e-3 if kind == "half" else 0)


def change(given: dict[str, torch.Tensor], kind: str) -> None:
    if kind == "lacks":
        del given["layer4.2.conv3.weight"]
    elif kind == "unknown":
        given["layer5.conv1.weight"] = torch.zeros(3)
    elif kind == "both":
        given |= {f"blocks.{i}.weight": torch.zeros(1) for i in range(9)}
        for key in [key for key in given if key.startswith("layer3")]:
            del given[key]
    elif kind == "shape":
        given["conv1.weight"] = torch.zeros(64, 4, 7, 7)
    elif kind == "nan":
        given["bn1.bias"][3] = torch.nan
    else:
        given.clear()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("lacks", r"lacks layer4\.2\.conv3\.weight\. These are another"),
        ("unknown", r"has the unknown layer5\.conv1\.weight\."),
        ("both", r"lacks layer3.* and \d+ more and has the unknown blocks.* and 6 more"),
        ("shape", r"conv1\.weight has shape \(64, 4, 7, 7\), expected \(64, 3, 7, 7\)"),
        ("nan", r"NaN or infinite numbers in bn1\.bias"),
        ("empty", "holds no weights"),
    ],
)
def test_weights_of_another_network_are_one_line(weights, tmp_path, kind, words):
    given = load_file(weights)
    change(given, kind)
    path = tmp_path / "other.safetensors"
    save_file(given, path)
    with pytest.raises(EncoderError, match=words) as caught:
        load_encoder("resnet50", path, "fp32", device="cpu")
    assert "other.safetensors" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("gone.safetensors", None, "there is no such file"),
        ("weights.txt", b"hello", "expected a .safetensors or .pth file"),
        ("damaged.safetensors", b"hello, this is no safetensors file", "is damaged"),
        ("damaged.pth", b"hello, this is no torch file", "holds more than weights, or is damaged"),
        ("empty.pth", b"", "holds more than weights, or is damaged"),
    ],
)
def test_what_is_no_file_of_weights_is_one_line(tmp_path, name, content, words):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EncoderError, match=words):
        load_encoder("resnet50", path, "fp32", device="cpu")


def test_a_truncated_file_is_refused(weights, tmp_path):
    path = tmp_path / "short.safetensors"
    path.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(EncoderError, match="is damaged"):
        read_weights(path)


class Harm:
    def __reduce__(self):
        return Path.touch, (Path(os.environ["HARM"]),)


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin"])
def test_code_in_a_file_of_weights_is_not_run(tmp_path, monkeypatch, suffix):
    monkeypatch.setenv("HARM", str(tmp_path / "harm"))
    torch.save({"conv1.weight": Harm()}, tmp_path / f"zip{suffix}")
    (tmp_path / f"plain{suffix}").write_bytes(pickle.dumps({"conv1.weight": Harm()}))
    for name in ("zip", "plain"):
        with pytest.raises(EncoderError, match="code in it was not run"):
            read_weights(tmp_path / f"{name}{suffix}")
    assert not (tmp_path / "harm").exists()


def test_unknown_devices_are_refused(weights):
    for device in ("tpu", "cuda:7" if torch.cuda.is_available() else "cuda"):
        if device.startswith("cuda") and torch.cuda.is_available():
            continue
        with pytest.raises(EncoderError, match="torch sees no such device"):
            load_encoder("resnet50", weights, "fp32", device=device)


# Other tools' names. The expected numbers are those of transformers 4.57.6 (Dinov2Model and
# Dinov2WithRegistersModel, the class token of last_hidden_state) with the same weights and image.

DINOV2 = [-0.23232, 0.40088, 0.16943, 0.40028, 0.23071, 0.28514, 0.2773, -0.36522]
DINOV2_WITH_REGISTERS = [0.16443, 0.22781, 0.00672, -0.62579, 0.01661, -0.08793, -0.29035, -0.01147]


def dinov2_weights(*, registers: bool) -> dict[str, torch.Tensor]:
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.cls_token": (1, 1, 8),
        "embeddings.mask_token": (1, 8),
        "embeddings.patch_embeddings.projection.bias": (8,),
        "embeddings.patch_embeddings.projection.weight": (8, 3, 8, 8),
        "embeddings.position_embeddings": (1, 17, 8),
        "layernorm.bias": (8,),
        "layernorm.weight": (8,),
    }
    if registers:
        shapes["embeddings.register_tokens"] = (1, 2, 8)
    linear = ("attention.attention.key", "attention.attention.query", "attention.attention.value")
    for layer in ("encoder.layer.0", "encoder.layer.1"):
        for name in (*linear, "attention.output.dense"):
            shapes |= {f"{layer}.{name}.weight": (8, 8), f"{layer}.{name}.bias": (8,)}
        for name in ("layer_scale1.lambda1", "layer_scale2.lambda1", "norm1.bias", "norm1.weight"):
            shapes |= {f"{layer}.{name}": (8,), f"{layer}.{name.replace('norm1', 'norm2')}": (8,)}
        first, second = ("weights_in", "weights_out") if registers else ("fc1", "fc2")
        wide, narrow = (48, 24) if registers else (32, 32)
        shapes |= {f"{layer}.mlp.{first}.weight": (wide, 8), f"{layer}.mlp.{first}.bias": (wide,)}
        shapes |= {f"{layer}.mlp.{second}.weight": (8, narrow), f"{layer}.mlp.{second}.bias": (8,)}
    rng = np.random.default_rng(0)
    return {
        key: torch.from_numpy(rng.normal(0, 0.3, shapes[key]).astype(np.float32))
        for key in sorted(shapes)
    }


@pytest.mark.parametrize("registers", [False, True])
def test_dinov2_of_the_transformers_library_gives_its_numbers_in_timm(registers):
    timm = import_timm()
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 8, "depth": 2, "num_heads": 2}
    if registers:
        swiglu = {"mlp_layer": timm.layers.SwiGLUPacked, "act_layer": torch.nn.SiLU}
        sizes |= {"mlp_ratio": 48 / 8, "reg_tokens": 2, **swiglu}
        network = timm.create_model("vit_base_patch14_reg4_dinov2", num_classes=0, **sizes)
    else:
        network = timm.create_model(
            "vit_large_patch16_224", init_values=1e-5, num_classes=0, **sizes
        )
    fill(network, as_timm(dinov2_weights(registers=registers)), "test")
    image = torch.from_numpy(np.random.default_rng(1).normal(size=(1, 3, 32, 32))).float()
    with torch.inference_mode():
        found = network.eval()(image)[0].tolist()
    assert found == pytest.approx(DINOV2_WITH_REGISTERS if registers else DINOV2, abs=2e-5)


def test_swin_weights_that_count_stages_the_old_way_are_understood():
    torch.manual_seed(0)
    network = build_network(encoder_card("ctranspath")).network
    given = network.state_dict()
    old = {"head.weight": torch.zeros(1), "layers.0.blocks.1.attn_mask": torch.zeros(1)}
    for name, value in given.items():
        parts = name.split(".")
        if "downsample" in name:
            parts[1] = str(int(parts[1]) - 1)
        old[".".join(parts)] = value
    found = as_timm(old)
    assert found.keys() == given.keys()
    assert all(torch.equal(value, given[name]) for name, value in found.items())
    assert as_timm(dict(given)).keys() == given.keys()


# Cards


@pytest.mark.parametrize("name", sorted(ENCODERS))
def test_every_card_builds_a_network_of_its_width(name):
    card = encoder_card(name)
    with torch.device("meta"):
        network = build_network(card).to("meta")
    size_px = card.input_px or 256
    tiles = torch.zeros((2, size_px, size_px, 3), dtype=torch.uint8, device="meta")
    with torch.no_grad():
        assert network(tiles).shape == (2, card.n_features)


@pytest.mark.parametrize("card", ENCODERS.values(), ids=ENCODERS)
def test_every_card_has_the_required_facts(card):
    assert card.licence
    assert card.pretraining_cohorts
    assert (card.input_px is None) == (card.resize_px is None)
    assert json.loads(transform_of(card, "fp32"))["mean"] == list(card.mean)
    assert hash(card) == hash(ENCODERS[card.name])


@pytest.mark.parametrize(
    ("name", "near"), [("resnet5", "'resnet50'"), ("UNI2_h", "'uni2-h'"), ("virchow", "'virchow2'")]
)
def test_an_unknown_encoder_is_answered_with_the_nearest(name, near):
    with pytest.raises(ConfigError, match=f"found '{name}', expected one of .* mean {near}"):
        load_encoder(name, None, "fp32")


def test_cards_are_read_without_torch():
    code = "import sys; import crosstype.features.encoders.catalog; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("name", ["uni", "virchow2"])
def test_tiles_are_resized_as_pillow_does(name):
    card = encoder_card(name)
    smooth = np.asarray(Image.fromarray(RNG_TILES[0]).resize((256, 256), Image.Resampling.BICUBIC))
    how = Image.Resampling[card.interpolation.upper()]
    expected = np.asarray(Image.fromarray(smooth).resize((224, 224), how)).astype(int)
    found = fitted_tiles(torch.from_numpy(smooth[None].copy()), card)[0].numpy().astype(int)
    assert found.shape == (224, 224, 3)
    assert np.abs(found - expected).max() <= 1


def test_a_tile_of_the_right_size_is_not_resampled_and_the_middle_is_cut():
    tiles = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 256, 256, 3), np.uint8))
    middle = tiles[:, 16:240, 16:240]
    assert torch.equal(fitted_tiles(tiles, encoder_card("prov-gigapath")), middle)
    assert torch.equal(fitted_tiles(middle, encoder_card("uni")), middle)
    assert fitted_tiles(tiles, encoder_card("resnet50")) is tiles


# The hub


LACKING = {
    ("paige-ai/Virchow2", "model.safetensors"),
    ("owkin/phikon-v2", "model.safetensors"),
    ("owkin/phikon-v2", "pytorch_model.bin"),
}


class Hub(BaseHTTPRequestHandler):
    """Answers as the Hugging Face hub does, for four repositories."""

    def do_GET(self) -> None:
        repository, _, file_name = self.path.lstrip("/").partition("/resolve/main/")
        content = b"weights of " + repository.encode()
        code, error = 200, ""
        if repository == "MahmoodLab/UNI":
            code, error, content = 403, "GatedRepo", b""
        elif (repository, file_name) in LACKING:
            code, error, content = 404, "EntryNotFound", b""
        self.send_response(code)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{repository}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        if error:
            self.send_header("X-Error-Code", error)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


ASK = """\
import sys
from crosstype.errors import EncoderError
from crosstype.features.encoders.catalog import encoder_card
from crosstype.features.encoders.weights import download_weights
for name in sys.argv[1:]:
    try:
        path = download_weights(encoder_card(name))
        print(name, "|", path.name, "|", path.read_text())
    except EncoderError as error:
        print(name, "|", error)
"""


def ask(names: list[str], **environment: str) -> list[str]:
    plain = {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "*"}
    done = subprocess.run(
        [sys.executable, "-c", ASK, *names],
        capture_output=True,
        text=True,
        env=dict(os.environ) | plain | environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_weights_come_from_the_hub_and_then_from_its_cache(hub, tmp_path):
    names = ["resnet50", "virchow2", "uni", "phikon-v2"]
    found = ask(names, HF_ENDPOINT=hub, HF_HOME=str(tmp_path))
    assert found[0] == "resnet50 | model.safetensors | weights of timm/resnet50.tv_in1k"
    assert found[1] == "virchow2 | pytorch_model.bin | weights of paige-ai/Virchow2"
    assert "Accept its licence (CC-BY-NC-ND-4.0) at https://huggingface.co/Mahm" in found[2]
    assert "set HF_TOKEN" in found[2]
    assert '[features] weights = "FILE"' in found[2]
    assert "holds none of model.safetensors, pytorch_model.bin" in found[3]
    offline = ask(["resnet50", "hibou-b"], HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path))
    assert offline[0] == found[0]
    assert "no connection" in offline[1]


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            huggingface_hub.errors.LocalEntryNotFoundError("cannot find the requested files"),
            r"no weights were given.*no connection.*Connect once, or set \[features\] weights",
        ),
        (OSError("No space left on device\nmore"), r"\(No space left on device\)\. Try again, or"),
    ],
)
def test_without_weights_and_connection_both_ways_out_are_named(monkeypatch, error, words):
    def failing(*_: object) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", failing)
    with pytest.raises(EncoderError, match=words) as caught:
        load_encoder("resnet50", None, "fp32", device="cpu")
    assert "\n" not in str(caught.value)


def test_downloaded_weights_are_those_of_a_file(monkeypatch, weights, encoder):
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_: str(weights))
    assert download_weights(encoder.card) == weights
    downloaded = load_encoder("resnet50", None, "fp32", device="auto")
    assert downloaded.weights_sha256 == encoder.weights_sha256
    assert np.array_equal(downloaded.encode(RNG_TILES), encoder.encode(RNG_TILES))


# Real weights


@pytest.mark.long
@pytest.mark.real
def test_real_features_of_smooth_and_textured_tiles_are_those_of_timm(real_weights):
    x, y = np.meshgrid(np.linspace(0, 1, 256), np.linspace(0, 1, 256))
    smooth = np.stack([200 - 60 * x, 120 + 60 * y, 180 - 40 * x * y], axis=-1)
    ripples = 60 * np.sin(40 * x + 9 * np.sin(7 * y))[..., None]
    grain = np.random.default_rng(0).normal(0, 20, smooth.shape)
    textured = np.clip(smooth + ripples + grain, 0, 255)
    tiles = np.stack([smooth, textured]).astype(np.uint8)
    found = load_encoder("resnet50", real_weights, "fp32", device="cpu").encode(tiles)
    assert np.abs(found - by_timm(real_weights, tiles)).max() < 1e-4
    reduced = load_encoder("resnet50", real_weights, "reduced", device="cpu").encode(tiles)
    lengths = np.linalg.norm(found, axis=1) * np.linalg.norm(reduced, axis=1)
    assert ((found * reduced).sum(axis=1) / lengths).min() >= 0.99


@pytest.mark.real
@pytest.mark.parametrize(
    ("photograph", "classes"),
    [
        ("chelsea", {281, 282, 285}),  # tabby, tiger cat, Egyptian cat
        pytest.param("coffee", {967, 968}, marks=pytest.mark.long),  # espresso, cup
        pytest.param("rocket", {657, 744, 812}, marks=pytest.mark.long),  # missile, shuttle
    ],
)
def test_real_weights_recognise_a_photograph(real_weights, photograph, classes):
    image = Image.fromarray(getattr(skimage.data, photograph)())
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side)).resize((256, 256))
    tile = np.asarray(square)[16:240, 16:240]
    encoder = load_encoder("resnet50", real_weights, "fp32", device="cpu")
    given = read_weights(real_weights)
    logits = given["fc.weight"].numpy() @ encoder.encode(tile[None])[0] + given["fc.bias"].numpy()
    assert classes & set(np.argsort(-logits)[:5].tolist())
