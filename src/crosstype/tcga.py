"""Identifiers: TCGA barcodes (patients, sample types, aliquots, sites, sections), and spellings."""

import re
import unicodedata

TCGA_BARCODE = re.compile(r"^TCGA[-._][A-Z0-9]{2}[-._][A-Z0-9]{4}", re.IGNORECASE)
"""Barcodes, also with dots (R's `make.names`) or underscores for hyphens."""
WHOLE_NUMBER = re.compile(r"(0|[1-9]\d*)\.0+")
"""Whole numbers as pandas writes them in a column with missing values, such as `1000.0`."""


def visible_text(text: str) -> str:
    """Return text in Unicode's composed form (NFC), without invisible characters and outer blanks.

    The composed and the decomposed form (NFD, of macOS) of a letter look alike and are different
    strings; so do texts with zero-width characters.
    """
    if not text.isascii():
        shown = (one for one in text if unicodedata.category(one) != "Cf")
        text = unicodedata.normalize("NFC", "".join(shown)).replace("\xa0", " ")
    return text.strip()


def canonical_id(identifier: str) -> str:
    """Return the canonical form of an identifier: visible text, and `1000` for `1000.0`."""
    text = visible_text(identifier)
    return text.partition(".")[0] if WHOLE_NUMBER.fullmatch(text) else text


def patient_of(identifier: str) -> str:
    """Return the patient of a sample or file id: 12 characters of a TCGA barcode, else the id.

    Ids are in canonical form, in which all tables are joined.
    """
    text = canonical_id(identifier)
    return (
        text[:12].upper().replace(".", "-").replace("_", "-") if TCGA_BARCODE.match(text) else text
    )


def comparable(identifier: str) -> str:
    """Return what two spellings of one identifier have in common.

    Beyond the canonical form, case does not count, nor what R's `make.names` changes: a dot for any
    other sign, an X before a digit.
    """
    text = re.sub(r"[^a-z0-9\u0080-\uffff]+", ".", canonical_id(identifier).casefold())
    return re.sub(r"^x(?=\d)", "", text.strip("."))


def sample_type_of(identifier: str) -> str | None:
    """Return the two-digit TCGA sample type (`01` primary, `06` metastasis, `11` normal), or None.

    Slide and sample barcodes hold it in characters 14 and 15.
    """
    match = re.match(TCGA_BARCODE.pattern + r"[-._](\d{2})", identifier.strip(), re.IGNORECASE)
    return match.group(1) if match else None


ALIQUOT = re.compile(
    r"^TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}-(\d{2}[A-Z])-(\d{2})([A-Z])-([A-Z0-9]{4})", re.IGNORECASE
)
ANALYTES = "HRT"
"""RNA analytes in the order in which they are preferred."""


def aliquot_order(identifier: str) -> tuple[object, ...]:
    """Return a sort key by which the preferred sample of a patient is first.

    Lower sample types and vials are preferred (01A to 01B); of replicate aliquots of one vial
    analyte H to R to T, then the highest plate and portion, as in the Broad Institute's GDAC
    Firehose.
    """
    text = identifier.strip().upper()
    if TCGA_BARCODE.match(text):
        text = text.replace(".", "-").replace("_", "-")
    match = ALIQUOT.match(text)
    if match is None:
        return (text[:16], 0, (), text)
    vial, portion, analyte, plate = match.groups()
    rank = ANALYTES.find(analyte) if analyte in ANALYTES else len(ANALYTES)
    latest = tuple(-ord(letter) for letter in plate + portion)
    return (f"{text[:13]}{vial}", rank, latest, text)


def site_of(patient_id: str) -> str | None:
    """Return the tissue source site of a TCGA-like id (`A2` of `TCGA-A2-A04P`), or None."""
    return patient_id[5:7].upper() if TCGA_BARCODE.match(patient_id) else None


METASTASES = frozenset({"06", "07"})


def is_tumour(identifier: str) -> bool:
    """Return whether a sample or slide is a tumour other than a metastasis; True if unknown.

    TCGA sample types 01 to 09 are tumours, of which 06 and 07 are metastases; 10 and more are
    normal tissue or controls.
    """
    kind = sample_type_of(identifier)
    return kind is None or (kind < "10" and kind not in METASTASES)


def tissue_of(identifier: str) -> str:
    """Return the tissue of a sample that is no primary tumour, as text."""
    kind = sample_type_of(identifier)
    return f"{'metastasis' if kind in METASTASES else 'normal tissue'} (sample type {kind})"


SECTION = re.compile(
    r"^TCGA-[A-Z0-9]{2}-[A-Z0-9]{4}-\d{2}[A-Z]-\d{2}-(?P<kind>DX|TS|MS|BS)[A-Z0-9]*", re.IGNORECASE
)
"""Barcode of a slide, up to its section: diagnostic (DX), or top, middle or bottom frozen."""


def section_of(slide_id: str) -> str:
    """Return `diagnostic` or `frozen`, the section of a TCGA slide; empty if its id has none."""
    match = SECTION.match(slide_id)
    if match is None:
        return ""
    return "diagnostic" if match["kind"].upper() == "DX" else "frozen"
