"""Files and tables, their schema and their fingerprints."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "files": [
            "HashCache",
            "code_version",
            "hash_of",
            "plain",
            "replacing",
            "sha256_of",
            "statements_version",
            "write_text",
        ],
        "identifiers": ["note_on_ids"],
        "number_table": ["NumberTable", "read_number_table"],
        "schema": ["TableSchema"],
        "tables": [
            "Table",
            "is_missing",
            "open_table",
            "read_stage_table",
            "read_table",
            "write_table",
        ],
    },
)
