"""JUnit's XML: a test case per case of a document, for CI that reads such reports."""

from __future__ import annotations

from typing import IO
from xml.etree import ElementTree

from deployfit.errors import InputError
from deployfit.parameters import param
from deployfit.printable import printable
from deployfit.report.document import Bullets, Document
from deployfit.report.formats import Screen


def render(document: Document, out: IO[str], screen: Screen) -> None:
    """Write the report; raise InputError for a document that has no cases."""
    if not document.cases:
        raise InputError(
            f"{param('format')}: junit is for answers that pass or fail: deployfit check, deployfit verify"
        )
    failed = sum(bool(case.failure) for case in document.cases)
    name = "deployfit " + document.schema.split("/")[1]
    suite = ElementTree.Element(
        "testsuite", name=name, tests=str(len(document.cases)), failures=str(failed), errors="0"
    )
    for case in document.cases:
        entry = ElementTree.SubElement(suite, "testcase", classname=printable(case.group), name=printable(case.name))
        if case.failure:
            ElementTree.SubElement(entry, "failure", message=printable(case.failure))
    lines = [printable(item) for block in document.blocks if isinstance(block, Bullets) for item in block.items]
    if lines:
        ElementTree.SubElement(suite, "system-out").text = "\n".join(lines)
    ElementTree.indent(suite)
    out.write(ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n")
