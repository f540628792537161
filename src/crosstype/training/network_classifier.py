"""A network as a classifier: a line, several copies of the network that correct it, and trust."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from crosstype.cohort.genesets import MatchedSets
from crosstype.errors import TrainingError
from crosstype.models.catalog import NETWORKS, make_network
from crosstype.models.interface import Network, Sizes
from crosstype.models.spec import ModelSpec
from crosstype.terms import Modality
from crosstype.training.bags import Patients
from crosstype.training.classifiers import (
    Arrays,
    Classifier,
    Probabilities,
    Recipe,
    Split,
    below,
    training_patients,
)
from crosstype.training.fit import (
    Member,
    Prepared,
    fit_members,
    make_loss,
    predict_logits,
    probabilities_of,
)
from crosstype.training.linear_start import LinearStart, choose_trust, fit_line
from crosstype.training.preparation import Preparation

MEMBERSHIP = "gene_sets.membership"


class NetworkClassifier(Classifier):
    """A line, and several copies of one network that correct it; their logits are averaged.

    Each copy learns from all inner folds but one and is validated on that one; they stop together.

    Attributes:
        preparation: fitted on all training patients.
        start: the line, fitted on all training patients; None if networks start from zero.
        networks: one per split.
        trust: share of the networks' mean correction that is added to the line, 0 to 1.
        inner_logits: for each split, the logits of its validation patients, none of which taught
            the line or the network that said them.
        set_names: names of the gene sets that are the network's first gene tokens, in their order.
        membership: gene sets x kept genes, what each of those tokens sees; None: learned programs.
    """

    preparation: Preparation

    def __init__(self, name: str) -> None:
        """Make an unfitted classifier."""
        super().__init__(name)
        self.start: LinearStart | None = None
        self.networks: list[Network] = []
        self.inner_logits: list[Tensor] = []
        self.set_names: tuple[str, ...] = ()
        self.membership: Bool[np.ndarray, "sets genes"] | None = None

    @property
    def sees_genes(self) -> bool:
        """Whether expression can change a prediction."""
        return Modality.GENES in NETWORKS[self.name].uses

    def fit(self, splits: Sequence[Split], recipe: Recipe) -> None:
        """Fit line and networks, then decide how far the networks are trusted."""
        patients = training_patients(splits, recipe)
        self.preparation = recipe.preparing.fit(splits[0].everyone or patients)
        kind = NETWORKS[self.name]
        if kind.sees_gene_sets and recipe.gene_sets is not None:
            self._match(recipe.gene_sets, recipe.model)
        starts: list[LinearStart | None] = [None] * len(splits)
        if recipe.training.start == "linear" and kind.corrects_line:
            self.start = fit_line(patients, self.preparation, kind.uses)
            starts = [fit_line(split.train, self.preparation, kind.uses) for split in splits]
        held = [
            Prepared(split.validation, self.preparation, self._line(start, split.validation))
            for split, start in zip(splits, starts, strict=True)
        ]
        honest = {
            patient: row
            for one in held
            for patient, row in zip(one.patients.ids, one.start.numpy(), strict=True)
        }
        members = []
        for number, split in enumerate(splits):
            known = np.stack([honest[one] for one in split.train.ids]) if self.start else None
            train = Prepared(split.train, self.preparation, known)
            members.append(self._member(number, train, held[number], recipe))
        fit_members(members, recipe.training)
        self._keep(members)
        said = [predict_logits(net, one) for net, one in zip(self.networks, held, strict=True)]
        if self.start:
            self._choose_trust(held, said, recipe)
        self.inner_logits = [
            one.start + self.trust * (logits - one.start)
            for one, logits in zip(held, said, strict=True)
        ]

    def logits(self, patients: Patients) -> Float[Tensor, "patients logits"]:
        """Return the line's logits plus the trusted share of the networks' mean correction.

        Trust was decided on whole expression, so it fades with the share of genes measured.
        """
        prepared = Prepared(patients, self.preparation, self._line(self.start, patients))
        if self.start and not self.trust:
            return prepared.start
        each = torch.stack([predict_logits(network, prepared) for network in self.networks])
        trust = self.trust * self._measured_share(prepared)
        return prepared.start + trust * (each.mean(dim=0) - prepared.start)

    def predict(self, patients: Patients) -> Probabilities:
        """Return probabilities."""
        return probabilities_of(self.logits(patients))

    def state(self) -> tuple[Arrays, dict[str, Any]]:
        """Return preparation, line and every network's weights."""
        arrays, steps = self.preparation.state()
        if self.start:
            arrays |= {f"start.{key}": value for key, value in self.start.arrays().items()}
        for number, network in enumerate(self.networks):
            weights = {f"{number}.{k}": v.numpy() for k, v in network.state_dict().items()}
            arrays |= weights
            arrays[f"inner_logits.{number}"] = self.inner_logits[number].numpy()
        settings = {"preparation": steps, "sizes": _sizes(self.networks[0]), "trust": self.trust}
        if self.membership is not None:
            arrays[MEMBERSHIP] = self.membership
            settings["gene_sets"] = list(self.set_names)
        return arrays, settings | {"n_networks": len(self.networks)}

    def restore(self, arrays: Arrays, settings: dict[str, Any], model: ModelSpec) -> None:
        """Become what `state` described."""
        self.preparation = Preparation.from_state(arrays, settings["preparation"])
        self.trust = float(settings["trust"])
        uses = NETWORKS[self.name].uses
        if "start.weight" in arrays:
            self.start = LinearStart.from_arrays(uses, below(arrays, "start."))
        self.set_names = tuple(settings.get("gene_sets", ()))
        self.membership = arrays.get(MEMBERSHIP)
        sizes = Sizes(**settings["sizes"], membership=_tensor(self.membership))
        for number in range(int(settings["n_networks"])):
            network = make_network(self.name, sizes, model)
            weights = below(arrays, f"{number}.")
            network.load_state_dict({key: torch.from_numpy(v) for key, v in weights.items()})
            network.eval()
            self.networks.append(network)
            self.inner_logits.append(torch.from_numpy(arrays[f"inner_logits.{number}"]))

    def _measured_share(self, prepared: Prepared) -> Tensor:
        """Return which share of a patient's genes was measured, patients x 1; 1 if none is used."""
        if not self.sees_genes or self.start is None:
            return torch.ones(len(prepared), 1)
        share = (~np.isnan(prepared.genes)).mean(axis=1, keepdims=True)
        return torch.from_numpy(share.astype(np.float32))

    def _line(
        self, start: LinearStart | None, patients: Patients
    ) -> Float[np.ndarray, "patients logits"] | None:
        return start.logits(patients, self.preparation) if start else None

    def _match(self, gene_sets: MatchedSets, model: ModelSpec) -> None:
        """Keep the gene sets that still have enough genes after this fold's choice of genes."""
        kept = self.preparation.kept
        names, membership = gene_sets.restricted(kept, model.least_genes)
        if len(names) < 2:
            raise TrainingError(
                f"{self.name}: {len(names)} of {len(gene_sets.names)} gene sets keep at least "
                f"{model.least_genes} of the {int(kept.sum())} genes that this fold chose; "
                "expected two or more. Lower [models] least_genes, or raise [expression] n_genes."
            )
        self.set_names, self.membership = names, membership

    def _member(self, number: int, train: Prepared, validation: Prepared, recipe: Recipe) -> Member:
        """Return a freshly initialised network with its patients and its own chance."""
        seeds = recipe.seeds(self.name, number)
        torch.manual_seed(int(seeds.generate_state(1)[0]))
        n_features, n_genes = len(self.preparation.feature_mean), train.genes.shape[1]
        membership = _tensor(self.membership)
        n_covariates = 0 if train.covariates is None else train.covariates.shape[1]
        n_classes = len(train.patients.classes)
        sizes = Sizes(n_features, n_genes, n_classes, membership, n_covariates)
        network = make_network(self.name, sizes, recipe.model)
        return Member(network, train, validation, np.random.default_rng(seeds))

    def _keep(self, members: Sequence[Member]) -> None:
        """Keep the fitted networks and their curves; raise if a loss is no number."""
        for member in members:
            last = member.curve[-1]
            if not math.isfinite(last.train_loss):
                raise TrainingError(
                    f"{self.name}: the loss became {last.train_loss} in epoch {last.epoch}. Lower "
                    "[training] learning_rate, or look for extreme values in the expression table."
                )
            self.networks.append(member.network)
            self.curves.append(member.curve)

    def _choose_trust(
        self, held: Sequence[Prepared], said: Sequence[Tensor], recipe: Recipe
    ) -> None:
        targets = torch.cat([one.targets for one in held])
        loss = make_loss(targets, len(held[0].patients.classes), recipe.training)
        start = torch.cat([one.start for one in held])
        correction = torch.cat(list(said)) - start
        self.trust = choose_trust(start, correction, lambda logits: loss.each(logits, targets))


def _sizes(network: Network) -> dict[str, int]:
    """Return the network's sizes as JSON holds them; membership is an array of its own."""
    names = [one.name for one in fields(network.sizes) if one.name != "membership"]
    sizes = {name: getattr(network.sizes, name) for name in names}
    # Files of models without covariates stay what they were before there were any.
    return {name: size for name, size in sizes.items() if size or name != "n_covariates"}


def _tensor(membership: Bool[np.ndarray, "sets genes"] | None) -> Bool[Tensor, "sets genes"] | None:
    return None if membership is None else torch.from_numpy(membership)
