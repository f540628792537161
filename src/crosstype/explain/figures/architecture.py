"""Architecture of each network as built: its modules, shapes, weights and connections.

Nothing is written by hand: a network is shown a patient twice over and then three times over, and
what comes out of each module and where it went is read from torch's record of the computation.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor, nn

from crosstype.explain.out_of_fold import HeldOut
from crosstype.io.schema import ARCHITECTURE
from crosstype.models.network import Batch, Network
from crosstype.training.fit import Prepared

MOST_TILES, LEAST_TILES = 64, 8
"""Tiles of the patient who is shown; at least so many that no width is taken for their number."""
SIZES = ((2, 0), (3, 1))
"""Patients, and tiles added, of the two batches: a length that grows is no length of a layer."""
GIVEN = {"tiles": "tile features", "genes": "expression", "covariates": "clinical covariates"}
LOGITS = "logits"


def architecture_of(held: HeldOut) -> pl.DataFrame:
    """Return a model's first network module by module, as `parts_of`, and how many it has."""
    classifier = held.classifier
    prepared = Prepared(held.patients, classifier.preparation, imputed=classifier.imputed)
    found = parts_of(classifier.networks[0], prepared.batch(np.zeros(1, dtype=np.int64)))
    n_networks = len(classifier.networks)
    whole = found.with_columns(model=pl.lit(held.job.model), n_networks=pl.lit(n_networks))
    return whole.select(pl.col(name).cast(kind) for name, kind in ARCHITECTURE.polars().items())


def parts_of(network: Network, batch: Batch) -> pl.DataFrame:
    """Return a network module by module; `n_parameters` add up to all that it has.

    A box is a layer, or a block of ours that holds no further block of ours. Its row comes first;
    rows of the same `box` below it are what it is made of. `inputs` are what feeds the box; a box
    that feeds nothing plays no part in the logits.

    Args:
        network: the network.
        batch: a patient; only how large things are matters.
    """
    first, second = (_Trace(network, one) for one in _batches(batch))
    shapes = {
        name: _in_words(shape, second.shapes[name], first.n_tiles)
        for name, shape in first.shapes.items()
    }
    given = [(name, name, "Input", "", shapes[name], 0) for name in first.given]
    rows = [*given, *_rows(network, shapes), (LOGITS, LOGITS, "Output", "", shapes[LOGITS], 0)]
    feeds = {name: "; ".join(sources) for name, sources in first.feeds().items()}
    whole = [(*row, feeds.get(row[1], "") if row[0] == row[1] else "") for row in rows]
    return ARCHITECTURE.frame([("", *row, None) for row in whole]).drop("model", "n_networks")


def boxes_of(network: nn.Module) -> dict[str, nn.Module]:
    """Return the boxes by name: blocks of ours are opened as long as they hold others of ours."""
    found: dict[str, nn.Module] = {}

    def look_into(parent: nn.Module, prefix: str) -> None:
        for name, child in parent.named_children():
            if _holds_blocks(child):
                look_into(child, f"{prefix}{name}.")
            else:
                found[f"{prefix}{name}"] = child

    look_into(network, "")
    return found


def _holds_blocks(module: nn.Module) -> bool:
    if isinstance(module, (nn.ModuleList, nn.ModuleDict)):
        return True
    return _is_ours(module) and any(_is_ours(child) for child in module.children())


def _is_ours(module: nn.Module) -> bool:
    return type(module).__module__.startswith("crosstype.")


def _rows(
    network: Network, shapes: Mapping[str, str]
) -> Iterator[tuple[str, str, str, str, str, int]]:
    """Give (box, module, kind, settings, shape, parameters of its own) of every part."""
    inside = {id(one) for box in boxes_of(network).values() for one in box.parameters()}
    for name, parameter in network.named_parameters():
        if id(parameter) not in inside:
            shape = " x ".join(str(n) for n in parameter.shape)
            yield name, name, "Parameter", "", shape, parameter.numel()
    for box, module in boxes_of(network).items():
        for inner, part in module.named_modules():
            name = f"{box}.{inner}" if inner else box
            own = sum(one.numel() for one in part.parameters(recurse=False))
            settings = part.extra_repr()
            if not inner or own or not list(part.children()):
                yield box, name, type(part).__name__, settings, shapes.get(name, ""), own


def _batches(batch: Batch) -> Iterator[Batch]:
    """Give the first patient twice over, and three times over with one more tile of padding."""
    for n, more in SIZES:
        parts = {one.name: getattr(batch, one.name) for one in fields(batch)}
        again: dict[str, Any] = {
            name: None if part is None else part[:1].expand(n, *part.shape[1:])
            for name, part in parts.items()
        }
        tiles, mask = again["tiles"][:, :MOST_TILES], again["tile_mask"][:, :MOST_TILES]
        wanted = max(LEAST_TILES, tiles.shape[1]) + more - tiles.shape[1]
        again["tiles"] = nn.functional.pad(tiles, (0, 0, 0, wanted))
        again["tile_mask"] = nn.functional.pad(mask, (0, wanted))
        yield Batch(**again)


def _in_words(shape: tuple[int, ...], grown: tuple[int, ...], n_tiles: int) -> str:
    """Return a shape with the lengths that grew by their name."""
    named = {(SIZES[0][0], SIZES[1][0]): "patients", (n_tiles, n_tiles + 1): "tiles"}
    pairs = zip(shape, grown, strict=True)
    return " x ".join(named.get(pair, str(pair[0])) for pair in pairs)


@dataclass
class _Trace:
    """What one batch did in a network.

    Attributes:
        network: the network.
        batch: what it is shown.
        shapes: of what came out of each module that was called, and of what went in.
        given: names of the inputs that there are.
    """

    network: Network
    batch: Batch
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    given: dict[str, Tensor] = field(default_factory=dict)
    _calls: list[tuple[str, list[Tensor], list[Tensor]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Run the batch through and keep its record."""
        self.network.eval()
        self.n_tiles = self.batch.tiles.shape[1]
        values = {name: getattr(self.batch, name) for name in GIVEN}
        given = {
            name: one.detach().requires_grad_() for name, one in values.items() if one is not None
        }
        self.given = {GIVEN[name]: one for name, one in given.items()}
        self.shapes |= {name: tuple(one.shape) for name, one in self.given.items()}
        boxes = boxes_of(self.network)
        modules = [(name, one) for name, one in self.network.named_modules() if name]
        hooks = [
            one.register_forward_hook(self._hook(name, name in boxes)) for name, one in modules
        ]
        try:
            with torch.enable_grad():
                self._said = self.network(replace(self.batch, **given)).logits
        finally:
            for hook in hooks:
                hook.remove()
        self.shapes[LOGITS] = tuple(self._said.shape)

    def _hook(self, name: str, is_box: bool) -> Any:  # noqa: FBT001  torch calls what it returns
        def keep(_: nn.Module, given: tuple[Any, ...], output: Any) -> None:
            out = list(output) if isinstance(output, tuple) else [output]
            self.shapes.setdefault(name, tuple(out[0].shape))
            if is_box:
                self._calls.append((name, _tensors(given), _tensors(out)))

        return keep

    def feeds(self) -> dict[str, list[str]]:
        """Return what feeds each box, in the order of the network."""
        called = {name for name, _, _ in self._calls}
        walk = _Walk(_leaves(self.network, self.given), _uncalled(self.network, called))
        found: dict[str, set[str]] = {}
        for name, given, output in self._calls:
            found.setdefault(name, set()).update(walk.back_from(given))
            walk.makers |= {one.grad_fn: name for one in output if one.grad_fn is not None}
        found[LOGITS] = walk.back_from([self._said])
        order = [*self.given, *walk.leaves.values(), *boxes_of(self.network)]
        return {
            name: sorted(sources, key=order.index) for name, sources in (found | walk.found).items()
        }


@dataclass
class _Walk:
    """Goes back through torch's record from a tensor to the boxes that made it.

    Attributes:
        leaves: names of inputs and of parameters that stand in no box, by tensor.
        uncalled: boxes whose weights may be used though nobody calls them, by parameter.
        makers: which box a step of the record belongs to.
        found: what feeds the uncalled boxes that were used.
    """

    leaves: Mapping[int, str]
    uncalled: Mapping[int, str]
    makers: dict[Any, str] = field(default_factory=dict)
    found: dict[str, set[str]] = field(default_factory=dict)

    def back_from(self, tensors: list[Tensor]) -> set[str]:
        """Return the boxes and inputs next to these tensors."""
        sources = {self.leaves[id(one)] for one in tensors if id(one) in self.leaves}
        return sources | self._from([one.grad_fn for one in tensors])

    def _from(self, steps: list[Any]) -> set[str]:
        sources: set[str] = set()
        seen: set[Any] = set()
        while steps:
            step = steps.pop()
            if step is None or step in seen:
                continue
            seen.add(step)
            if step in self.makers:
                sources.add(self.makers[step])
            elif hasattr(step, "variable"):
                sources |= {self.leaves[key] for key in (id(step.variable),) if key in self.leaves}
            else:
                before = [one for one, _ in step.next_functions]
                box = self._box_of(before)
                if box:
                    self.makers[step] = box
                    self.found[box] = self._from(before) - {box}
                    sources.add(box)
                else:
                    steps += before
        return sources

    def _box_of(self, before: list[Any]) -> str:
        """Return the uncalled box one of whose parameters goes into this step; empty: none."""
        keys = (id(getattr(one, "variable", None)) for one in before)
        return next((self.uncalled[key] for key in keys if key in self.uncalled), "")


def _leaves(network: Network, given: Mapping[str, Tensor]) -> dict[int, str]:
    inside = {id(one) for box in boxes_of(network).values() for one in box.parameters()}
    named = {id(one): name for name, one in given.items()}
    alone = {id(p): name for name, p in network.named_parameters() if id(p) not in inside}
    return named | alone


def _uncalled(network: Network, called: set[str]) -> dict[int, str]:
    return {
        id(parameter): name
        for name, box in boxes_of(network).items()
        if name not in called
        for parameter in box.parameters()
    }


def _tensors(values: Any) -> list[Tensor]:
    return [one for one in values if isinstance(one, Tensor)]
