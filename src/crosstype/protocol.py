"""Evaluation protocols: `strict` and `site` without leakage, `paper` as published, with leakage."""

from dataclasses import dataclass

from crosstype.errors import ConfigError


@dataclass(frozen=True)
class Protocol:
    """Rules of a cross-validation."""

    name: str
    """Name in the config."""

    stratified: bool = True
    """Folds are stratified by class."""

    grouped_by_site: bool = False
    """No tissue source site is in two folds."""

    preprocessing_on_everyone: bool = False
    """Expression preprocessing is fitted on all patients, test patients included: a leak."""

    validation_is_test: bool = False
    """Early stopping uses the test fold: a leak."""

    remove_outliers: bool = False
    """Values outside the interquartile fences are set to missing."""

    log_again: bool = False
    """The logarithm is also taken of logarithms and z-scores."""

    published_training: bool = False
    """Optimiser, schedule, batches and weights as in the published notebook."""

    @property
    def leaks(self) -> tuple[str, ...]:
        """Return descriptions of leaks from test to training patients; empty without leaks."""
        found = []
        if self.preprocessing_on_everyone:
            found.append("preprocessing is fitted on all patients, test patients included")
        if self.validation_is_test:
            found.append("early stopping uses the test fold")
            found.append("late fusion is stacked on the test fold")
        return tuple(found)


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("strict"),
        Protocol("site", grouped_by_site=True),
        Protocol(
            "paper",
            stratified=False,
            preprocessing_on_everyone=True,
            validation_is_test=True,
            remove_outliers=True,
            log_again=True,
            published_training=True,
        ),
    )
}


def protocol_named(name: str) -> Protocol:
    """Return a protocol by name; raises ConfigError for an unknown name."""
    if name not in PROTOCOLS:
        known = ", ".join(PROTOCOLS)
        raise ConfigError(f"[folds] protocol: found {name!r}, expected one of {known}.")
    return PROTOCOLS[name]
