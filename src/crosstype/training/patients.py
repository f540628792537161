"""Inputs and targets of patients for training: lazily read bags, expression, and batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int, Shaped
from torch import Tensor

from crosstype.features.formats.open import read_views
from crosstype.features.store import bag_length, read_bag
from crosstype.models.network import Batch

KEPT_BYTES = 1 << 30
"""Bytes of bags that are kept in memory; further bags are read again at each use."""


class Bags:
    """Bags (all tile features of a patient), read at first use."""

    def __init__(
        self,
        paths: Mapping[str, Sequence[Path]],
        width: int | None = None,
        views: str = "drawn",
    ) -> None:
        """Set each patient's feature files; nothing is read yet.

        `width` is the number of features, if known in advance, since there may be no slide to read
        it from. With `views="plain"` augmented views are not used.
        """
        self._paths = paths
        self._width = width
        self._plain = views == "plain"
        self._kept: dict[str, np.ndarray] = {}
        self._bytes = 0
        self._views: dict[str, np.ndarray | None] = {}
        self._summaries: dict[str, np.ndarray] = {}
        self._lengths: dict[str, int] = {}

    def summary(self, patient_id: str) -> Float32[np.ndarray, " twice_features"]:
        """Return mean and standard deviation over a patient's tiles, concatenated; cached."""
        if patient_id not in self._summaries:
            bag = self.read(patient_id)
            mean = bag.mean(axis=0, dtype=np.float64)
            spread = bag.std(axis=0, dtype=np.float64)
            self._summaries[patient_id] = np.concatenate([mean, spread]).astype(np.float32)
        return self._summaries[patient_id]

    @cached_property
    def n_features(self) -> int:
        """Return the number of features of a tile."""
        if self._width is not None:
            return self._width
        return int(self.read(min(self._paths)).shape[1])

    def length(self, patient_id: str) -> int:
        """Return a patient's number of tiles."""
        if patient_id not in self._lengths:
            kept = self._kept.get(patient_id)
            paths = self._paths[patient_id]
            self._lengths[patient_id] = bag_length(paths) if kept is None else len(kept)
        return self._lengths[patient_id]

    def read(self, patient_id: str) -> Float32[np.ndarray, "tiles features"]:
        """Return all tiles of a patient."""
        if patient_id in self._kept:
            return self._kept[patient_id]
        bag = read_bag(self._paths[patient_id])
        if self._bytes + bag.nbytes <= KEPT_BYTES:
            self._kept[patient_id] = bag
            self._bytes += bag.nbytes
        return bag

    def draw(
        self, patient_id: str, most: int, rng: np.random.Generator
    ) -> Float32[np.ndarray, "tiles features"]:
        """Sample at most `most` tiles of a patient in a random view, for training only.

        The plain tiles and each augmented view are equally likely. Without views: `sample`.
        """
        views = self._views_of(patient_id)
        number = 0 if views is None else int(rng.integers(len(views) + 1))
        if views is None or number == 0:
            return self.sample(patient_id, most, rng)
        view: np.ndarray = views[number - 1]
        return view if len(view) <= most else view[_draw(len(view), most, rng)]

    def _views_of(self, patient_id: str) -> Float32[np.ndarray, "views tiles features"] | None:
        """Return a patient's views, joined as in `read`; None unless all slides have views."""
        if self._plain:
            return None
        if patient_id not in self._views:
            paths = sorted(self._paths[patient_id], key=lambda path: path.stem)
            parts = [read_views(path) for path in paths]
            found = [part for part in parts if part is not None]
            n_views = min((len(part) for part in found), default=0)
            whole = len(found) == len(parts) and n_views
            views = np.concatenate([p[:n_views] for p in found], axis=1) if whole else None
            if views is not None and self._bytes + views.nbytes > KEPT_BYTES:
                return views
            self._bytes += 0 if views is None else views.nbytes
            self._views[patient_id] = views
        return self._views[patient_id]

    def sample(
        self, patient_id: str, most: int, rng: np.random.Generator
    ) -> Float32[np.ndarray, "tiles features"]:
        """Sample at most `most` tiles of a patient without replacement, in order."""
        if patient_id in self._kept:
            bag = self._kept[patient_id]
            return bag if len(bag) <= most else bag[_draw(len(bag), most, rng)]
        n_tiles = self.length(patient_id)
        if n_tiles <= most:
            return self.read(patient_id)
        return read_bag(self._paths[patient_id], _draw(n_tiles, most, rng))


def _draw(n: int, most: int, rng: np.random.Generator) -> Int[np.ndarray, " drawn"]:
    return np.sort(rng.choice(n, size=most, replace=False))


@dataclass(frozen=True)
class Patients:
    """Inputs and targets of some patients.

    Attributes:
        ids: patient ids.
        targets: class numbers, one per patient.
        classes: names of the classes, in the order of their numbers.
        genes: expression, patients x genes, NaN where missing; raw or preprocessed.
        bags: tile features.
        bag_of: id of each patient's bag, None without an image; differs from `ids` only where
            images are shuffled.
        covariates: clinical covariates as strings, patients x covariates; None: none.
    """

    ids: tuple[str, ...]
    targets: Int[np.ndarray, " patients"]
    classes: tuple[str, ...]
    genes: Float32[np.ndarray, "patients genes"]
    bags: Bags
    bag_of: tuple[str | None, ...]
    covariates: Shaped[np.ndarray, "patients covariates"] | None = None

    def __len__(self) -> int:
        """Return the number of patients."""
        return len(self.ids)

    def select(self, wanted: Sequence[str]) -> Patients:
        """Return these patients, in this order; raises KeyError for an unknown id."""
        position = {patient: i for i, patient in enumerate(self.ids)}
        rows = [position[patient] for patient in wanted]
        return self.take(np.array(rows, dtype=np.int64))

    def take(self, rows: Int[np.ndarray, " rows"]) -> Patients:
        """Return the patients at these positions."""
        return Patients(
            tuple(self.ids[i] for i in rows),
            self.targets[rows],
            self.classes,
            self.genes[rows],
            self.bags,
            tuple(self.bag_of[i] for i in rows),
            None if self.covariates is None else self.covariates[rows],
        )

    def with_genes(self, genes: Float32[np.ndarray, "patients genes"]) -> Patients:
        """Return the same patients with other expression."""
        return replace(self, genes=genes)

    def without_images(self) -> Patients:
        """Return the same patients without images."""
        return replace(self, bag_of=(None,) * len(self))

    def summaries(self) -> Float32[np.ndarray, "patients twice_features"]:
        """Return mean and standard deviation of each patient's tiles; NaN without an image."""
        found = [None if one is None else self.bags.summary(one) for one in self.bag_of]
        width = 2 * self.bags.n_features
        absent = np.full(width, np.nan, dtype=np.float32)
        return np.stack([absent if one is None else one for one in found])

    def shuffled_images(self, order: Int[np.ndarray, " patients"]) -> Patients:
        """Return the same patients, each with the tiles of another."""
        return replace(self, bag_of=tuple(self.bag_of[i] for i in order))

    def shuffled_genes(self, order: Int[np.ndarray, " patients"]) -> Patients:
        """Return the same patients, each with the expression of another."""
        return replace(self, genes=self.genes[order])

    def shuffled_clinical(self, order: Int[np.ndarray, " patients"]) -> Patients:
        """Return the same patients, each with the clinical covariates of another."""
        return replace(self, covariates=None if self.covariates is None else self.covariates[order])


def make_batch(
    tiles: Sequence[np.ndarray],
    genes: Float32[np.ndarray, "patients genes"],
    covariates: Float32[np.ndarray, "patients columns"] | None = None,
) -> Batch:
    """Pad bags to the longest and return them with masks; NaN is masked as missing."""
    longest = max(1, *(len(bag) for bag in tiles))
    padded = np.zeros((len(tiles), longest, tiles[0].shape[1]), dtype=np.float32)
    mask = np.zeros((len(tiles), longest), dtype=bool)
    for row, bag in enumerate(tiles):
        padded[row, : len(bag)] = bag
        mask[row, : len(bag)] = True
    clinical = (None, None) if covariates is None else _masked(covariates)
    return Batch(torch.from_numpy(padded), torch.from_numpy(mask), *_masked(genes), *clinical)


def _masked(
    values: Float32[np.ndarray, "patients columns"],
) -> tuple[Float[Tensor, "patients columns"], Bool[Tensor, "patients columns"]]:
    """Return values with 0 for NaN, and the mask of values that are not NaN."""
    known = ~np.isnan(values)
    return torch.from_numpy(np.where(known, values, 0).astype(np.float32)), torch.from_numpy(known)


def shuffled_batches(
    n: int, batch_size: int, rng: np.random.Generator
) -> Iterator[Int[np.ndarray, " patients"]]:
    """Yield batches of shuffled positions, of nearly equal size.

    A last batch of one patient would break batch normalisation.
    """
    n_batches = max(1, round(n / batch_size))
    yield from np.array_split(rng.permutation(n), n_batches)


def part_by_size(
    rows: Int[np.ndarray, " rows"], n_tiles: Int[np.ndarray, " rows"], most_tiles: int
) -> list[Int[np.ndarray, " _"]]:
    """Split rows, in order, into batches of at most `most_tiles` padded tiles.

    A larger bag is a batch of its own.
    """
    batches: list[list[int]] = []
    longest = 0
    for row, n in zip(rows.tolist(), n_tiles.tolist(), strict=True):
        longest = max(longest, n)
        if not batches or longest * (len(batches[-1]) + 1) > most_tiles:
            batches.append([])
            longest = n
        batches[-1].append(row)
    return [np.array(batch, dtype=np.int64) for batch in batches]
