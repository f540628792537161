"""Skipped files are reported once per fault and counted."""

from crosstype.cli.progress_bars import MOST_NAMED, gather

WHAT = "nobody states its mpp. Give it in the slides table."


def test_one_fault_of_many_files_is_one_line():
    files = [f"{i}.jpg" for i in range(20)]
    damaged = "odd.svs: truncated: expected 9 bytes, found 3. Copy it again."
    lines = gather([*(f"{file}: {WHAT}" for file in files[:10]), damaged, f"{files[10]}: {WHAT}"])
    assert lines == [f"{', '.join(files[:MOST_NAMED])} and 6 more: {WHAT}", damaged]


def test_few_files_are_all_named():
    assert gather([f"a.jpg: {WHAT}", f"b.jpg: {WHAT}"]) == [f"a.jpg, b.jpg: {WHAT}"]
    assert gather([]) == []
