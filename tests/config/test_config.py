"""Strict TOML in, the same settings out."""

from __future__ import annotations

import tomllib
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosstype.cohort.spec import ClassSpec
from crosstype.config.draft import UserFiles, draft_config
from crosstype.config.read import RENAMED, read_config
from crosstype.config.run_spec import RunSpec
from crosstype.config.toml import field_docs, resolved_toml, toml
from crosstype.errors import ConfigError
from crosstype.types import bounds_of

SECTIONS = {field.name: type(getattr(RunSpec(), field.name)) for field in fields(RunSpec)}

BOUNDS = {
    (section, key): bounds
    for section, kind in SECTIONS.items()
    for key, bounds in bounds_of(kind).items()
}


def read(folder: Path, text: str) -> RunSpec:
    (folder / "my.toml").write_text(text, encoding="utf-8")
    return read_config(folder / "my.toml")


def refused(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as raised:
        read(folder, text)
    assert raised.value.exit_code == 2
    message = str(raised.value)
    assert "\n" not in message
    assert message.startswith("my.toml")
    return message


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("[training]\nlearning_rat = 1.0", "'learning_rate'"),
        ("[trainning]\n", "'training'"),
        ("[cohort]\nlabelcolumn = 'x'", "'label_column'"),
        ("[[cohort.classes]]\nname = 'x'\nlabel = ['y']", "'labels'"),
        ("[folds]\nzzzz = 1", "Known: protocol"),
        ("seed = 1", "section [seed] is unknown"),
    ],
)
def test_an_unknown_key_names_the_nearest(tmp_path: Path, text: str, wanted: str) -> None:
    assert wanted in refused(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[training]\nbatch_size = 1.5", "training.batch_size"),
        ("[training]\nbatch_size = true", "training.batch_size"),
        ("[training]\nlearning_rate = 'fast'", "training.learning_rate"),
        ("[training]\nlearning_rate = true", "training.learning_rate"),
        ("[training]\nmodels = 'concat'", "training.models"),
        ("[training]\nmodels = [1]", "training.models"),
        ("[training]\nschedule = 'step'", "training.schedule"),
        ("[cohort]\nlabels = 3", "cohort.labels"),
        ("[cohort]\nlabels = ''", "cohort.labels"),
        ("[cohort]\nclasses = 'Luminal'", "cohort.classes"),
        ("[cohort]\nclasses = ['Luminal']", "cohort.classes"),
        ("[[cohort.classes]]\nname = 'x'", "labels"),
        ("[folds]\nprotocol = 'honest'", "folds.protocol"),
        ("[folds]\nn_folds = '5'", "folds.n_folds"),
        ("folds = 5", "[folds]"),
        ("[report]\ntitle = 5", "report.title"),
    ],
)
def test_a_wrong_kind_names_the_key(tmp_path: Path, text: str, key: str) -> None:
    message = refused(tmp_path, text)
    assert key in message
    assert "expected" in message


@pytest.mark.parametrize(("section", "key"), BOUNDS)
def test_out_of_bounds(tmp_path: Path, section: str, key: str) -> None:
    bounds = BOUNDS[section, key]
    whole = get_type_hints(SECTIONS[section])[key] is int
    low, high = bounds.low, bounds.high
    for value in (low - 1, high + 1 if high != float("inf") else low - 2):
        text = f"[{section}]\n{key} = {int(value) if whole else float(value)}"
        assert f"{section}.{key}" in refused(tmp_path, text)
    if not whole:
        assert f"{section}.{key}" in refused(tmp_path, f"[{section}]\n{key} = nan")


def test_every_number_has_bounds_and_a_default_within() -> None:
    numbers = {
        (section, key)
        for section, kind in SECTIONS.items()
        for key, hint in get_type_hints(kind).items()
        if hint in (int, float)
    }
    assert numbers == set(BOUNDS)
    spec = RunSpec()
    for (section, key), bounds in BOUNDS.items():
        assert bounds.low <= getattr(getattr(spec, section), key) <= bounds.high


def test_unknown_models_and_heads_that_do_not_fit(tmp_path: Path) -> None:
    assert "'cross_attention'" in refused(tmp_path, '[training]\nmodels = ["cross_atention"]')
    assert "models.n_heads" in refused(tmp_path, "[models]\nwidth = 10\nn_heads = 4")


def test_no_toml_no_text_and_no_file(tmp_path: Path) -> None:
    assert "not valid TOML" in refused(tmp_path, "[folds\n")
    (tmp_path / "my.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="UTF-8"):
        read_config(tmp_path / "my.toml")
    for absent in (tmp_path / "absent.toml", tmp_path):
        with pytest.raises(ConfigError, match="crosstype init"):
            read_config(absent)


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_bytes(b"\xef\xbb\xbf[folds]\r\nn_folds = 3\r\n")
    assert read_config(tmp_path / "my.toml").folds.n_folds == 3


def test_an_empty_config_is_all_defaults(tmp_path: Path) -> None:
    assert read(tmp_path, "") == RunSpec()


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path)
    text = '[cohort]\nlabels = "../x.csv"\nslides = "/abs/y.csv"\n[features]\nfolder = "f"'
    (tmp_path / "deep" / "my.toml").write_text(text)
    for way in (Path("deep/my.toml"), tmp_path / "deep" / "my.toml"):
        spec = read_config(way)
        assert spec.cohort.labels == tmp_path.resolve() / "x.csv"
        assert spec.cohort.slides == Path("/abs/y.csv")
        assert spec.features.folder == tmp_path.resolve() / "deep" / "f"


def test_a_resolved_config_reads_back_as_the_same_settings(tmp_path: Path) -> None:
    spec = read(
        tmp_path,
        '[cohort]\nlabels = "l \\" x.csv"\nsites = ["A2", "B"]\n[folds]\nseed = 7\n'
        "[training]\nlearning_rate = 1e-5\n[features]\nfolder = 'f'\n"
        "[[cohort.classes]]\nname = 'Lum ü/\"A\"'\nlabels = ['a', 'b']\n"
        "[[cohort.classes]]\nname = 'Basal'\nlabels = ['c']\n",
    )
    text = resolved_toml(spec)
    assert read(tmp_path, text) == spec
    assert resolved_toml(read(tmp_path, text)) == text


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@given(st.lists(st.tuples(names, st.lists(names, max_size=3)), max_size=3))
def test_any_class_name_survives(classes: list[tuple[str, list[str]]]) -> None:
    kept = tuple(ClassSpec(name, tuple(labels)) for name, labels in classes)
    spec = replace(RunSpec(), cohort=replace(RunSpec().cohort, classes=kept))
    values = tomllib.loads(resolved_toml(spec))["cohort"].get("classes", [])
    assert [(one["name"], one["labels"]) for one in values] == classes


@given(st.floats(allow_nan=False) | st.integers(-(2**53), 2**53) | st.booleans() | names)
def test_values_are_written_as_toml_reads_them(value: Any) -> None:
    back = tomllib.loads(f"x = {toml(value)}")["x"]
    assert back == value
    assert type(back) is type(value)


def test_the_commented_config_explains_every_key_and_reads_as_the_defaults(
    tmp_path: Path,
) -> None:
    text = draft_config(UserFiles(), Path())[0]
    spec = read(tmp_path, text)
    default = RunSpec()
    for section in SECTIONS:
        if section not in ("cohort", "features"):
            assert getattr(spec, section) == getattr(default, section)
    assert [one.name for one in spec.cohort.classes] == ["Luminal", "Basal/Her2"]
    # With every `#` before a setting removed the settings are still the defaults.
    lines = [
        line.removeprefix("# ") if line.startswith("# ") and " = " in line else line
        for line in text.splitlines()
        if not line.endswith('= ""')
    ]
    filled = read(tmp_path, "\n".join(lines))
    assert filled.training == default.training
    assert filled.models == default.models
    assert filled.folds == default.folds


def spec_kinds() -> list[type[Any]]:
    return [RunSpec, *SECTIONS.values(), ClassSpec]


@pytest.mark.parametrize("kind", spec_kinds(), ids=lambda kind: kind.__name__)
def test_every_spec_is_frozen_and_every_field_has_a_docstring(kind: type[Any]) -> None:
    assert is_dataclass(kind)
    assert kind.__dataclass_params__.frozen
    assert kind.__doc__
    if kind is not RunSpec:
        docs = field_docs(kind)
        assert {field.name for field in fields(kind)} == set(docs)
        assert all(text.endswith(".") for text in docs.values())


@pytest.mark.parametrize(("section", "key"), sorted(RENAMED))
def test_a_key_of_an_earlier_version_names_the_new_one(
    section: str, key: str, tmp_path: Path
) -> None:
    path = tmp_path / "old.toml"
    path.write_text(f"[{section}]\n{key} = 1\n")
    with pytest.raises(ConfigError, match=f"is now called '{RENAMED[section, key]}'"):
        read_config(path)
