"""What became of a check as JUnit XML, which CI services show beside the tests."""

from collections.abc import Collection
from xml.etree import ElementTree

from ..analysis.checks import CheckResult
from ..analysis.thresholds import Gate
from .check_report import describe_change
from .numbers import plain


def junit_xml(result: CheckResult, title: str, required: Collection[Gate] = ()) -> bytes:
    """Returns one test case a check, in the form that Jenkins and GitLab read.

    A broken gate is a failure, and so is a new run that failed. What could not be told is skipped, or an
    error where its gate is required or nothing at all was told; runs without counterpart are skipped too.

    Args:
        result: What to tell.
        title: What was held against what; names the suite.
        required: The gates that had to be told.
    """
    suite = ElementTree.Element("testsuite", name=plain(title))
    counts = {"failure": 0, "error": 0, "skipped": 0}

    def add(classname: str, name: str, outcome: str | None, message: str) -> None:
        case = ElementTree.SubElement(suite, "testcase", classname=plain(classname), name=plain(name))
        if outcome:
            counts[outcome] += 1
            ElementTree.SubElement(case, outcome, message=plain(message))

    nothing_told = result.exit_code() == 2
    for check in result.checks:
        untold = "error" if nothing_told or check.gate in required else "skipped"
        outcome = {"holds": None, "broken": "failure", "not told": untold}[check.verdict]
        message = f"{check.verdict}: {describe_change(check)}"
        add(check.scenario, f"{check.gate}: {check.what}, {check.of}", outcome, message)
    for one in result.left_out:
        add(one.scenario, one.what, "failure" if one.failed else "skipped", one.why)
    for gate in required:
        if all(check.gate != gate for check in result.checks):
            add("required", gate, "error", "required, but nothing on both sides told it")
    for strategy in result.lost if required else ():
        add(
            "required", strategy, "error", "the baseline has runs under this strategy, and here there is none"
        )
    names = {"failure": "failures", "error": "errors", "skipped": "skipped"}
    suite.set("tests", str(len(suite)))
    for outcome, count in counts.items():
        suite.set(names[outcome], str(count))
    ElementTree.indent(suite)
    text: bytes = ElementTree.tostring(suite, encoding="utf-8", xml_declaration=True)
    return text + b"\n"
