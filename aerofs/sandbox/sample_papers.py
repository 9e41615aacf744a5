"""Papers of the sample company: invoices as PDF (fpdf2), contracts as ODT (odfpy). Same input, same bytes."""

import zipfile
from collections.abc import Sequence
from datetime import datetime
from importlib import import_module
from io import BytesIO
from xml.etree.ElementTree import canonicalize

from fpdf import FPDF
from fpdf.enums import XPos, YPos

# odfpy ships no types; imported like this it is Any throughout.
_opendocument, _style, _text = (import_module(f"odf.{name}") for name in ("opendocument", "style", "text"))

COMPANY = "De Gouden Lepel Catering B.V."
_ZIP_EPOCH = (2026, 1, 1, 0, 0, 0)


def invoice_pdf(
    number: str, customer: str, rows: Sequence[tuple[str, int, float]], *, issued: datetime
) -> bytes:
    """An invoice of one page.

    Args:
        number: Of the invoice.
        customer: Who pays.
        rows: What for: text, count, price of one in euro.
        issued: The day, which is also the file's date of creation.
    """
    pdf = FPDF()
    pdf.set_creation_date(issued)
    pdf.set_title(f"Invoice {number}")
    pdf.add_page()
    pdf.set_font("helvetica", "B", 18)
    _line(pdf, COMPANY, height=12)
    pdf.set_font("helvetica", size=11)
    for text in (f"Invoice {number}", f"Date {issued:%d-%m-%Y}", f"To {customer}", ""):
        _line(pdf, text)
    pdf.set_fill_color(230, 232, 238)
    for text, count, price in rows:
        pdf.cell(110, 9, text, border="B")
        pdf.cell(20, 9, str(count), border="B", align="R")
        pdf.cell(30, 9, f"{price:.2f}", border="B", align="R")
        pdf.cell(30, 9, f"{count * price:.2f}", border="B", align="R", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    total = sum(count * price for _, count, price in rows)
    pdf.set_font("helvetica", "B", 11)
    pdf.cell(160, 10, "Total EUR", fill=True)
    pdf.cell(30, 10, f"{total:.2f}", fill=True, align="R", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
    pdf.set_font("helvetica", size=9)
    _line(pdf, "Payable within 30 days.")
    return bytes(pdf.output())


def _line(pdf: FPDF, text: str, *, height: int = 7) -> None:
    pdf.cell(0, height, text, new_x=XPos.LMARGIN, new_y=YPos.NEXT)


def contract_odt(name: str, role: str, *, since: datetime) -> bytes:
    """A contract of employment that LibreOffice opens."""
    document = _opendocument.OpenDocumentText()
    heading = _style.Style(name="Heading", family="paragraph")
    heading.addElement(_style.TextProperties(fontsize="18pt", fontweight="bold"))
    heading.addElement(_style.ParagraphProperties(marginbottom="0.5cm"))
    document.automaticstyles.addElement(heading)
    document.text.addElement(_text.H(outlinelevel=1, stylename=heading, text="Contract of employment"))
    for text in (
        f"{COMPANY} employs {name} as {role} from {since:%d-%m-%Y}.",
        "The working week has 36 hours. There are 27 days of leave in a year.",
        "The collective agreement for contract catering applies.",
        f"Signed by both parties in Utrecht on {since:%d-%m-%Y}.",
    ):
        document.text.addElement(_text.P(text=text))
    buffer = BytesIO()
    document.write(buffer)
    return _settled(buffer)


def _settled(archive: BytesIO) -> bytes:
    """The same document without the time at which it was made, and without odfpy's stray namespaces."""
    buffer = BytesIO()
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(buffer, "w") as new:
        for entry in old.infolist():
            info = zipfile.ZipInfo(entry.filename, _ZIP_EPOCH)
            info.compress_type = entry.compress_type
            data = old.read(entry)
            new.writestr(info, canonicalize(data) if entry.filename.endswith(".xml") else data)
    return buffer.getvalue()
