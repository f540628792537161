"""Any classes the user names, end to end, with temperatures, thresholds and abstention."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from tests.conftest import NO_MAPS

from crosstype.config.read import read_config
from crosstype.errors import ConfigError
from crosstype.features.formats.open import write_features
from crosstype.models.catalog import BASELINES

NAMES = ("red", "green", "blue, dark")
CLASSES = "".join(f'[[cohort.classes]]\nname = "{name}"\nlabels = ["{name}"]\n' for name in NAMES)


def rewrite_as_three_classes(tiny: Any) -> None:
    """Write 60 patients of three classes of unequal size, and a config that uses everything."""
    rng = np.random.default_rng(5)
    of = np.repeat([0, 1, 2], [30, 18, 12])
    ids = [f"Q{i:03d}" for i in range(60)]
    genes = rng.gamma(3.0, 100.0, (20, 60)) * (1 + 2 * np.eye(20)[:, :3][:, of])
    table = pl.DataFrame(
        {"gene": [f"GENE{i}" for i in range(20)]} | dict(zip(ids, genes.T, strict=True))
    )
    table.write_csv(tiny.folder / "expression.tsv", separator="\t")
    labels = pl.DataFrame({"PATIENT": ids, "Subtype": [NAMES[one] for one in of]})
    labels.write_csv(tiny.folder / "labels.csv")
    pl.DataFrame({"PATIENT": ids, "FILENAME": [f"{one}.svs" for one in ids]}).write_csv(
        tiny.folder / "slides.csv"
    )
    for patient in ids:
        tiles = rng.normal(size=(3, 6)).astype(np.float32)
        write_features(tiny.folder / "features" / f"{patient}.h5", tiles)
    tiny.change(models=("gene_only", "late"), n_shuffles=1, more=NO_MAPS)
    text = tiny.config.read_text()
    start, end = text.index("[[cohort.classes]]"), text.index("[features]")
    text = text[:start] + CLASSES + text[end:]
    text = text.replace("[training]", '[training]\ncalibration = "temperature"\nthreshold = "f1"')
    tiny.config.write_text(text.replace("[evaluation]", "[evaluation]\nabstain_below = 0.6"))


def test_three_classes_run_end_to_end(tiny: Any, tmp_path: Path) -> None:
    rewrite_as_three_classes(tiny)
    out = tmp_path / "out"
    tiny.run(out, last="report")
    table = pl.read_csv(out / "predictions.csv")
    probability = table.select(f"probability_{name}" for name in NAMES).to_numpy()
    np.testing.assert_allclose(probability.sum(axis=1), 1, atol=1e-9)

    learned = pl.read_csv(out / "calibration.csv", schema_overrides={"threshold": pl.Float64})
    assert set(learned["model"]) == {"gene_only", "late"}
    assert set(learned["class"]) == set(NAMES)
    assert learned["n"].unique().to_list() == [30]
    assert learned["threshold"].null_count() == len(learned)

    # The called class is that of the highest log-probability plus offset; a baseline's is argmax.
    offsets = {
        key: [part.filter(pl.col("class") == name)["offset"].item() for name in NAMES]
        for key, part in learned.partition_by(["model", "fold"], as_dict=True).items()
    }
    moved = np.array(
        [offsets.get(key, [0.0] * 3) for key in table.select("model", "fold").iter_rows()]
    )
    called = (np.log(np.maximum(probability, 1e-12)) + moved).argmax(axis=1)
    assert table["predicted"].to_list() == [NAMES[one] for one in called]
    own = table["model"].is_in(list(BASELINES)).not_().to_numpy()
    assert (called != probability.argmax(axis=1))[own].any()

    # Metrics follow the called class, and abstention its confidence.
    metrics = pl.read_csv(out / "metrics.csv")
    late = table.filter(pl.col("model") == "late")
    chosen = (pl.col("model") == "late") & (pl.col("metric") == "accuracy")
    value = metrics.filter(chosen & (pl.col("class") == "all"))["value"].item()
    assert value == pytest.approx((late["predicted"] == late["label"]).mean())
    sure = late.filter(pl.max_horizontal(f"probability_{name}" for name in NAMES) >= 0.6)
    coverage = pl.read_csv(out / "coverage.csv")
    assert set(coverage["model"]) == set(table["model"])
    row = coverage.filter((pl.col("model") == "late") & (pl.col("rule") == "confidence"))
    assert row["n"].item() == len(sure)
    assert row["accuracy"].item() == pytest.approx((sure["predicted"] == sure["label"]).mean())

    page = (out / "report.html").read_text()
    assert "thresholds chosen on inner validation patients" in page
    assert "Patients of a confidence below 0.6 are not called" in page


def test_probabilities_do_not_depend_on_the_threshold(tiny: Any, tmp_path: Path) -> None:
    rewrite_as_three_classes(tiny)
    text = tiny.config.read_text()
    found = []
    for kind in ("argmax", "youden"):
        tiny.config.write_text(text.replace('threshold = "f1"', f'threshold = "{kind}"'))
        tiny.run(tmp_path / kind, "train")
        found.append(pl.read_csv(tmp_path / kind / "predictions.csv"))
    assert found[0].drop("predicted").equals(found[1].drop("predicted"))
    assert not found[0].equals(found[1])


@pytest.mark.parametrize(
    "line",
    [
        '[training]\ncalibration = "platt"',
        '[training]\nthreshold = "0.4"',
        "[evaluation]\nabstain_below = 1.5",
    ],
)
def test_what_is_no_setting_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(line + "\n")
    with pytest.raises(ConfigError, match=line.split("\n")[1].split(" ", maxsplit=1)[0]):
        read_config(path)
