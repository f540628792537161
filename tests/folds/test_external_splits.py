"""Splits of other tools: files written by hand as those tools write them, and our own read back."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from crosstype.cohort.cohort import Cohort
from crosstype.errors import CohortError, ConfigError, CrosstypeError, TableError
from crosstype.expression.matrix import AlignedExpression
from crosstype.folds.external_splits import read_splits, write_splits
from crosstype.folds.folds import fold_cohort
from crosstype.folds.spec import FoldsSpec
from crosstype.protocol import protocol_named

PATIENTS = tuple(f"TCGA-A{i % 4}-{i:04d}" for i in range(12))
STRICT, PAPER = protocol_named("strict"), protocol_named("paper")


def slides_of(patient: str) -> tuple[str, ...]:
    first = f"{patient}-01Z-00-DX1.AB12"
    return (first, f"{patient}-01Z-00-DX2.CD34") if patient.endswith("3") else (first,)


def cohort(patients: tuple[str, ...] = PATIENTS) -> Cohort:
    patients = tuple(sorted(patients))
    return Cohort(
        patient_ids=patients,
        labels=tuple("ab"[int(one[-4:]) // 4 % 2] for one in patients),
        sites=tuple(one[5:7] for one in patients),
        slide_ids=tuple(slides_of(one) for one in patients),
        n_tiles=(1,) * len(patients),
        expression=AlignedExpression(
            np.arange(len(patients), dtype=np.float32)[:, None], patients, ("G",), "linear"
        ),
        notes=(),
        left_out=(),
        provenance="",
    )


def outer_tests(table: pl.DataFrame) -> list[set[str]]:
    rows = table.filter(pl.col("role") == "test").sort("repeat", "fold")
    return [set(part["patient_id"]) for part in rows.partition_by("repeat", "fold")]


def stamp(folder: Path, parts: list[set[str]]) -> Path:
    """Write what STAMP writes: pydantic's model_dump_json(indent=4) of two sets per split."""
    blocks = []
    for part in parts:
        lists = []
        for key, ids in (
            ("train_patients", [one for one in PATIENTS if one not in part]),
            ("test_patients", sorted(part)),
        ):
            rows = ",\n".join(f'                "{one}"' for one in ids)
            lists.append(f'            "{key}": [\n{rows}\n            ]')
        blocks.append("        {\n" + ",\n".join(lists) + "\n        }")
    text = '{\n    "splits": [\n' + ",\n".join(blocks) + "\n    ]\n}"
    (folder / "splits.json").write_text(text)
    return folder / "splits.json"


def columns(names: str, *lists: list[str]) -> str:
    """Return what pandas writes of columns of unequal length, with its index."""
    rows = [
        ",".join([str(i), *(one[i] if i < len(one) else "" for one in lists)])
        for i in range(max(map(len, lists)))
    ]
    return "\n".join([names, *rows]) + "\n"


def clam(folder: Path, parts: list[set[str]]) -> Path:
    for number, part in enumerate(parts):
        rest = [one for one in PATIENTS if one not in part]
        lists = [
            [slide for one in ids for slide in slides_of(one)]
            for ids in (rest[2:], rest[:2], sorted(part))
        ]
        (folder / f"splits_{number}.csv").write_text(columns(",train,val,test", *lists))
        bools = "".join(
            f"{slide},{i == 0},{i == 1},{i == 2}\n" for i, ids in enumerate(lists) for slide in ids
        )
        (folder / f"splits_{number}_bool.csv").write_text(",train,val,test\n" + bools)
        (folder / f"splits_{number}_descriptor.csv").write_text(",train,val,test\na,4,1,2\n")
    return folder


def clam_bool(folder: Path, parts: list[set[str]]) -> Path:
    clam(folder, parts)
    for number in range(len(parts)):
        (folder / f"splits_{number}.csv").unlink()
    return folder


def survpath(folder: Path, parts: list[set[str]]) -> Path:
    for number, part in enumerate(parts):
        rest = [one for one in PATIENTS if one not in part]
        text = columns(",train,val", rest, sorted(part))
        (folder / f"splits_{number}.csv").write_text(text)
    return folder


def patho_bench(folder: Path, parts: list[set[str]]) -> Path:
    names = "\t".join(f"fold_{number}" for number in range(len(parts)))
    lines = [f"case_id\tslide_id\tPAM50\t{names}"]
    for i, one in enumerate(PATIENTS):
        roles = "\t".join("test" if one in part else "train" for part in parts)
        lines += [f"{one}\t{slide}\t{i % 2}\t{roles}" for slide in slides_of(one)]
    (folder / "k=all.tsv").write_text("\n".join(lines) + "\n")
    (folder / "config.yaml").write_text("task_col: PAM50\nsample_col: case_id\n")
    return folder


Write = Callable[[Path, list[set[str]]], Path]
LAYOUTS: list[Write] = [stamp, clam, clam_bool, survpath, patho_bench]
THIRDS = [set(PATIENTS[i::3]) for i in range(3)]


@pytest.mark.parametrize("write", LAYOUTS)
def test_other_tools_splits_are_the_outer_folds(write: Write, tmp_path: Path) -> None:
    spec = FoldsSpec(file=write(tmp_path, THIRDS), n_inner_folds=2)
    held, table, notes = fold_cohort(cohort(), spec, STRICT)
    assert held.patient_ids == PATIENTS_SORTED
    assert outer_tests(table) == THIRDS
    rest = table.filter(pl.col("role") != "test")
    assert (
        rest.group_by("fold").agg(pl.col("inner_fold").n_unique())["inner_fold"].to_list()
        == [2] * 3
    )
    assert rest.height == 24
    assert "splits: 3, repeats: 1" in notes[0]
    _, leaking, _ = fold_cohort(cohort(), spec, PAPER)
    assert outer_tests(leaking) == THIRDS
    assert leaking["inner_fold"].null_count() == leaking.height


PATIENTS_SORTED = tuple(sorted(PATIENTS))


@pytest.mark.parametrize("kind", ["stamp", "clam", "patho_bench"])
def test_what_is_written_reads_back_as_the_same_folds(kind: str, tmp_path: Path) -> None:
    spec = FoldsSpec(n_folds=3, n_inner_folds=2, repeats=2, seed=5)
    held, table, _ = fold_cohort(cohort(), spec, STRICT)
    write_splits(tmp_path, table, held, [kind])
    for repeat in (0, 1):
        own = table.filter(pl.col("repeat") == repeat)
        file = tmp_path / kind / f"repeat_{repeat}"
        _, again, _ = fold_cohort(cohort(), FoldsSpec(file=file, n_inner_folds=2), STRICT)
        assert outer_tests(again) == outer_tests(own)
        for number, split in enumerate(read_splits(file)):
            rows = own.filter(pl.col("fold") == number)
            validation = {one[:12] for one in split.val}
            stopped = set(rows.filter(pl.col("role") == "validation")["patient_id"])
            assert validation == (set() if kind == "stamp" else stopped)
    assert not (tmp_path / "other").exists()


def test_the_files_look_as_their_tools_write_them(tmp_path: Path) -> None:
    held, table, _ = fold_cohort(cohort(), FoldsSpec(n_folds=2, n_inner_folds=2), STRICT)
    write_splits(tmp_path, table, held, ["stamp", "clam", "patho_bench"])
    splits = json.loads((tmp_path / "stamp/repeat_0/splits.json").read_text())
    assert [sorted(one) for one in splits["splits"]] == [["test_patients", "train_patients"]] * 2
    lines = (tmp_path / "clam/repeat_0/splits_0.csv").read_text().splitlines()
    assert lines[0] == ",train,val,test"
    assert lines[1].split(",")[0] == "0"
    assert all(
        re.fullmatch(r"\d+(,(TCGA-A\d-\d{4}-01Z-00-DX\d\.\w+)?){3}", one) for one in lines[1:]
    )
    rows = (tmp_path / "patho_bench/repeat_0/k=all.tsv").read_text().splitlines()
    assert rows[0].split("\t") == ["case_id", "slide_id", "label", "fold_0", "fold_1"]
    assert len(rows) == 1 + sum(len(slides_of(one)) for one in PATIENTS)
    assert '  1: "b"' in (tmp_path / "patho_bench/repeat_0/config.yaml").read_text()


def test_a_patient_of_no_split_is_left_out_and_strangers_are_noted(tmp_path: Path) -> None:
    file = stamp(tmp_path, THIRDS)
    more = cohort((*PATIENTS, "TCGA-A9-9999"))
    held, table, notes = fold_cohort(more, FoldsSpec(file=file, n_inner_folds=2), STRICT)
    assert held.patient_ids == held.expression.patient_ids == PATIENTS_SORTED
    assert held.expression.values[:, 0].tolist() == list(range(12))
    assert [(one.patient_id, one.step) for one in held.left_out] == [("TCGA-A9-9999", "folds")]
    assert "splits.json" in held.left_out[0].reason
    assert "TCGA-A9-9999" not in set(table["patient_id"])
    fewer = cohort(PATIENTS[:10])
    _, _, notes = fold_cohort(fewer, FoldsSpec(file=file, n_inner_folds=2), STRICT)
    assert any("not in the cohort: 2 (TCGA-A2-0010, TCGA-A3-0011)" in one for one in notes)


def test_repeats_follow_from_the_file(tmp_path: Path) -> None:
    halves = [set(PATIENTS[i::2]) for i in range(2)]
    file = stamp(tmp_path, THIRDS + halves)
    _, table, _ = fold_cohort(cohort(), FoldsSpec(file=file, n_inner_folds=2), STRICT)
    assert table.select("repeat", "fold").unique().sort("repeat", "fold").rows() == [
        (0, 0), (0, 1), (0, 2), (1, 0), (1, 1),
    ]  # fmt: skip
    with pytest.raises(ConfigError, match=r"n_folds: found 4, but splits\.json has 3"):
        fold_cohort(cohort(), FoldsSpec(file=file, n_folds=4), STRICT)
    one = [THIRDS[0]]
    _, table, notes = fold_cohort(
        cohort(), FoldsSpec(file=stamp(tmp_path, one), n_inner_folds=2), STRICT
    )
    assert outer_tests(table) == one
    assert any("patients tested by no split: 8" in note for note in notes)


def refused(path: Path, **settings: object) -> str:
    with pytest.raises(CrosstypeError) as raised:
        spec = FoldsSpec(file=path, n_inner_folds=2, **settings)  # type: ignore[arg-type]
        fold_cohort(cohort(), spec, STRICT)
    message = str(raised.value)
    assert "\n" not in message
    assert path.name in message
    return message


def test_contradictions_are_named(tmp_path: Path) -> None:
    leak = columns(
        ",train,val,test", [slides_of(PATIENTS[3])[0]], [PATIENTS[0]], [slides_of(PATIENTS[3])[1]]
    )
    (tmp_path / "splits_0.csv").write_text(leak)
    assert f"patients in test and in training at once: 1 ({PATIENTS[3]})" in refused(
        tmp_path / "splits_0.csv"
    )
    overlapping = [set(PATIENTS[:4]), set(PATIENTS[3:6])]
    assert "again before all are tested" in refused(stamp(tmp_path, overlapping))
    (tmp_path / "s.json").write_text(
        '{"splits": [{"train_patients": ["X"], "test_patients": ["Y"]}]}'
    )
    assert "none of its 2 ids is in the cohort. Found 'X'" in refused(tmp_path / "s.json")
    stranger = {"train_patients": list(PATIENTS), "test_patients": ["Y"]}
    (tmp_path / "s.json").write_text(json.dumps({"splits": [stranger]}))
    assert "no patient of the cohort is left for test" in refused(tmp_path / "s.json")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"splits": [', "not valid JSON"),
        ('{"split": []}', "no list called splits"),
        ('[{"train_patients": []}]', "no list called splits"),
        ('{"splits": []}', "no split"),
        ('{"splits": [{"train_patients": ["a"]}]}', "split 0"),
        ('{"splits": [{"train_patients": ["a"], "test_patients": []}]}', "no id for"),
        ("a,b\n1,2\n", "columns 'a', 'b'"),
        ("train\tfold_0\nx\ttest\n", "neither case_id nor slide_id"),
        ("case_id\tfold_0\nx\tTraining\n", "line 2, column 'fold_0': 'Training'"),
    ],
)
def test_what_is_no_split_is_refused_with_what_was_expected(
    text: str, found: str, tmp_path: Path
) -> None:
    path = tmp_path / "file.txt"
    path.write_text(text)
    with pytest.raises(TableError) as raised:
        read_splits(path)
    assert found in str(raised.value)
    assert "Expected" in str(raised.value)


def test_folders_that_hold_nothing_or_two_kinds(tmp_path: Path) -> None:
    assert "no splits are in this folder" in refused(tmp_path)
    clam(tmp_path, THIRDS)
    stamp(tmp_path, THIRDS)
    assert "more than one set of splits" in refused(tmp_path)
    with pytest.raises(TableError, match="cannot be read"):
        read_splits(tmp_path / "absent.json")


def test_numbers_that_pandas_made_floats_are_ids_still(tmp_path: Path) -> None:
    numbered = cohort()
    names = tuple(f"{i}" for i in range(10, 22))
    table = columns(",train,val,test", list(names[4:]), [], [f"{one}.0" for one in names[:4]])
    (tmp_path / "splits_0.csv").write_text(table)
    held = Cohort(**{**vars(numbered), "patient_ids": names, "labels": tuple("ab" * 6)})
    _, folds, _ = fold_cohort(held, FoldsSpec(file=tmp_path, n_inner_folds=2), STRICT)
    assert outer_tests(folds) == [set(names[:4])]


def test_protocol_site_refuses_splits_that_share_a_site(tmp_path: Path) -> None:
    file = stamp(tmp_path, THIRDS)
    with pytest.raises(CohortError, match="which protocol site rules out"):
        fold_cohort(cohort(), FoldsSpec(file=file, n_inner_folds=2), protocol_named("site"))
