"""Identifiers: TCGA barcodes (patients, sample types, aliquots, sites), and spellings of others."""

import re
import unicodedata

TCGA_BARCODE = re.compile(r"^TCGA[-.][A-Z0-9]{2}[-.][A-Z0-9]{4}", re.IGNORECASE)
"""Barcodes, also with the dots that R's `make.names` puts for hyphens."""


def patient_of(identifier: str) -> str:
    """Return the patient of a sample or file id: 12 characters of a TCGA barcode, else the id."""
    text = visible(identifier)
    return text[:12].upper().replace(".", "-") if TCGA_BARCODE.match(text) else text


def visible(text: str) -> str:
    """Return a text in Unicode's composed form, without blanks around and invisible characters."""
    if text.isascii():
        return text.strip()
    shown = (one for one in unicodedata.normalize("NFC", text) if unicodedata.category(one) != "Cf")
    return "".join(shown).replace("\xa0", " ").strip()


def comparable(identifier: str) -> str:
    """Return what two spellings of one identifier have in common.

    Case, blanks, invisible characters, the Unicode form, `.0` after a whole number (pandas), and
    what R's `make.names` changes (a dot for any other sign, an X before a digit) do not count.
    """
    text = re.sub(r"^(\d+)\.0$", r"\1", visible(identifier)).casefold()
    return re.sub(r"^x(?=\d)", "", re.sub(r"[^a-z0-9\u0080-\uffff]+", ".", text).strip("."))


def sample_type_of(identifier: str) -> str | None:
    """Return the two-digit TCGA sample type (`01` primary, `06` metastasis, `11` normal), or None.

    Slide and sample barcodes hold it in characters 14 and 15.
    """
    match = re.match(TCGA_BARCODE.pattern + r"[-.](\d{2})", identifier.strip(), re.IGNORECASE)
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
        text = text.replace(".", "-")
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
