"""A small catering company to look at: four definitions, some dozens of documents, and the awkward ones.

Seeded: the same ids, names, times and bytes every time. This module and its siblings are the only ones that
need fpdf2, odfpy and Pillow to fill a platform, so they are loaded only when a sample is asked for.
"""

import unicodedata
from datetime import UTC, datetime, timedelta
from random import Random

from aerofs.sandbox.definitions import FieldSpec
from aerofs.sandbox.ids import Ids
from aerofs.sandbox.platform import Platform
from aerofs.sandbox.sample_papers import contract_odt, invoice_pdf
from aerofs.sandbox.sample_pictures import jpeg, landscape, plate, png, portrait, scan

_START = datetime(2026, 1, 12, 8, 30, tzinfo=UTC)
_CUSTOMERS = ("Bakkerij Van Dijk", "Gemeente Utrecht", "Hotel De Zwaan", "Museum Noord", "Sportclub Vooruit")
_GOODS = (
    ("Lunch buffet", 14.5),
    ("Coffee and cake", 6.25),
    ("Dinner, 3 courses", 38.0),
    ("Staff, hours", 42.0),
)
_PEOPLE = (
    ("Anna de Vries", "chef"),
    ("Bram Jansen", "driver"),
    ("Chloë Peeters", "planner"),
    ("Daan Smit", "cook"),
    ("Elif Şahin", "bookkeeper"),
    ("Fatima El Amrani", "host"),
    ("Gijs Bakker", "cook"),
    ("Hanna Öberg", "buyer"),
)
_DISHES = (
    "Tomato soup", "Asparagus with ham", "Pumpkin risotto", "Beetroot salad", "Sea bass with fennel",
    "Mushroom pie", "Apple crumble", "Chocolate tart", "Cheese board", "Lentil curry", "Poffertjes",
)  # fmt: skip
_JOBS = (
    "Wedding Kasteel Zuid",
    "Conference day",
    "Summer party",
    "Opening night",
    "Farewell",
    "Harvest dinner",
)


def fill(platform: Platform) -> None:
    """Add the sample company to an empty platform."""
    random = Random("aero sample")  # noqa: S311 - it shall be predictable
    usual, platform.ids = platform.ids, Ids(random)
    try:
        with platform.transaction():
            _definitions(platform)
            company = _Company(platform, random)
            company.invoices()
            company.work_orders()
            company.employees()
            company.menu()
            company.awkward_invoices()
            company.awkward_work_order()
    finally:
        platform.ids = usual


def _definitions(platform: Platform) -> None:
    add = platform.add_definition
    text = FieldSpec("number", "Number", "text")
    add(
        "invoice",
        label="Invoice",
        fields=[
            text,
            FieldSpec("customer", "Customer", "text"),
            FieldSpec("attachments.invoiceFiles", "Invoice files"),
            FieldSpec("scan", "Signed copy", maximum_attachments=1),
        ],
        definition_id="5d0000000000000000000001",
    )
    add(
        "work-order",
        label="Work order",
        fields=[text, FieldSpec("photos", "Photos", maximum_megabytes=25)],
        lines={
            "orderLines": [
                FieldSpec("description", "Description", "text"),
                FieldSpec("photo", "Photo", maximum_attachments=3),
            ]
        },
        definition_id="5d0000000000000000000002",
    )
    add(
        "employee",
        label="Employee",
        fields=[
            FieldSpec("name", "Name", "text"),
            FieldSpec("contract", "Contract", required=True),
            FieldSpec("picture", "Picture", maximum_attachments=1, maximum_image_width=800),
        ],
        definition_id="5d0000000000000000000003",
    )
    add(
        "menu-item",
        label="Menu item",
        fields=[FieldSpec("title", "Title", "text"), FieldSpec("picture", "Picture")],
        definition_id="5d0000000000000000000004",
    )


class _Company:
    """Adds the documents one after the other, each at its own moment of the year."""

    def __init__(self, platform: Platform, random: Random) -> None:
        self._platform = platform
        self._random = random
        self._now = _START

    def _document(
        self,
        definition: str,
        external_id: str | None,
        values: dict[str, str],
        lines: dict[str, list[dict[str, str]]] | None = None,
    ) -> str:
        self._now += timedelta(hours=self._random.randint(20, 160), seconds=self._random.randint(0, 3599))
        return self._platform.add_document(
            definition,
            external_id=external_id,
            values=values,
            lines=lines,
            document_id=f"{int(self._now.timestamp()):08x}{self._random.randbytes(8).hex()}",
            created=self._now,
        )

    def _files(self, definition: str, document: str, *files: tuple[str, str, bytes]) -> None:
        for path, name, data in files:
            self._platform.add_attachment(definition, document, path, name, data)
        self._platform.touch(document, at=self._now + timedelta(minutes=self._random.randint(3, 600)))

    def _invoice_pdf(self, number: str, customer: str) -> bytes:
        goods = self._random.sample(_GOODS, 3)
        rows = [(text, self._random.randint(4, 60), price) for text, price in goods]
        return invoice_pdf(number, customer, rows, issued=self._now)

    def invoices(self) -> None:
        """Invoices of the year, some with a signed copy, some without a number of ours."""
        for count in range(1, 15):
            number = f"2026-{count:04}"
            customer = self._random.choice(_CUSTOMERS)
            external_id = number if count % 5 else None
            document = self._document("invoice", external_id, {"number": number, "customer": customer})
            files = [
                ("attachments.invoiceFiles", f"Invoice {number}.pdf", self._invoice_pdf(number, customer)),
                ("attachments.invoiceFiles", "Notes.txt", f"Called {customer}: all well.\n".encode()),
            ]
            if count % 3 == 0:
                page = scan(
                    self._random, [f"Invoice {number}", f"To {customer}", "", "Received in good order."]
                )
                files.append(("scan", f"Signed {number}.png", png(page)))
            self._files("invoice", document, *files)

    def work_orders(self) -> None:
        """Jobs with photos, of a line too."""
        for count, job in enumerate(_JOBS * 2, start=1):
            rows = [{"description": text} for text, _ in self._random.sample(_GOODS, 2)]
            document = self._document("work-order", f"WO-{count:03}", {"number": job}, {"orderLines": rows})
            files = [
                ("photos", f"IMG_{count:02}{shot:02}.jpg", jpeg(landscape(self._random)))
                for shot in range(self._random.randint(1, 4))
            ]
            line = self._platform.line_ids("work-order", document, "orderLines")[0]
            files.append((f"orderLines.{line}.photo", "delivered.jpg", jpeg(landscape(self._random))))
            self._files("work-order", document, *files)

    def employees(self) -> None:
        """Everyone's contract and picture."""
        for name, role in _PEOPLE:
            key = name.lower().replace(" ", ".")
            document = self._document("employee", key, {"name": name})
            files = [
                ("contract", f"Contract {name}.odt", contract_odt(name, role, since=self._now)),
                ("picture", "portrait.jpg", jpeg(portrait(self._random))),
            ]
            self._files("employee", document, *files)

    def menu(self) -> None:
        """The dishes."""
        for dish in _DISHES:
            document = self._document("menu-item", dish, {"title": dish})
            self._files("menu-item", document, ("picture", f"{dish}.jpg", jpeg(plate(self._random))))

    def awkward_invoices(self) -> None:
        """External ids and names that a file system cannot take as they are."""
        pdf = self._invoice_pdf("2026-0200", "Projectbureau")
        twice = self._document("invoice", "bdr:200¡adm:05¡prj:6", {"number": "2026-0200"})
        files = "attachments.invoiceFiles"
        other = self._invoice_pdf("2026-0200", "Projectbureau, corrected")
        self._files("invoice", twice, (files, "factuur.pdf", pdf), (files, "factuur.pdf", other))
        slash = self._document("invoice", "2026/0201 100% korting", {"number": "2026-0201"})
        self._files(
            "invoice", slash, (files, "a/b.pdf", pdf), (files, "..", b"dots\n"), (files, ".hidden", b"\n")
        )
        self._document("invoice", "empty", {"number": "2026-0202"})

    def awkward_work_order(self) -> None:
        """File names that programs stumble over, and an empty file."""
        document = self._document("work-order", None, {"number": "Names"}, {"orderLines": []})
        composed = "Überweisung Zürich.txt"
        names = (
            "long " + "é" * 150 + ".txt",
            composed,
            unicodedata.normalize("NFD", composed),
            "写真 🍰.txt",
            ' "quoted" & spaced .txt',
            "two\nlines.txt",
            "back\\slash.txt",
            "100%25.txt",
        )
        files = [("photos", name, f"{name}\n".encode()) for name in names]
        self._files("work-order", document, *files, ("photos", "empty.txt", b""))
