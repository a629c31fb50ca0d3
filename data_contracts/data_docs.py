"""Great Expectations' Data Docs page of one validation, as a file that needs no network.

GX's own template loads styles, scripts and a logo from other hosts. They are removed here, a
short style sheet replaces them, and a Content-Security-Policy forbids loading anything.

GX escapes some of what it renders and leaves other places raw, such as headings with the names of
columns and cells with values. Marks of HTML in names and values therefore go through its templates
as characters of Unicode's private use area, and become entities in the finished page: escaped once,
wherever they stand.
"""

import copy
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from data_contracts.engine.gx import GxResult

_POLICY = (
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
)

_STYLE = """<style>
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1.5rem; }
th, td { border: 1px solid #8886; padding: .4rem .6rem; text-align: left; vertical-align: top;
         overflow-wrap: anywhere; }
h1, h2, h3, h4 { line-height: 1.2; margin: 1.5rem 0 .5rem; }
.badge { border: 1px solid #8886; border-radius: .3rem; padding: 0 .4rem; }
.fa-check-circle::before { content: "met"; color: #1a7f37; font-weight: 600; }
.fa-times::before, .fa-times-circle::before { content: "broken"; color: #cf222e; font-weight: 600; }
.fa-exclamation-triangle::before { content: "failed"; color: #9a6700; font-weight: 600; }
nav, button, footer, .modal, .col-lg-2, a[data-toggle] { display: none; }
ul { padding-left: 1.2rem; }
</style>"""

_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;", '"': "&quot;", "'": "&#39;", "$": "$"}
"""What each mark becomes; `$` begins a variable in GX's templates."""

_FIRST_STAND_IN = 0xF700

_STAND_INS = {mark: chr(_FIRST_STAND_IN + index) for index, mark in enumerate(_ENTITIES)}

_TO_STAND_INS = str.maketrans(_STAND_INS)

_TO_ENTITIES = str.maketrans({_STAND_INS[mark]: entity for mark, entity in _ENTITIES.items()})

_REMOTE = re.compile(
    r'<link[^>]*>|<script[^>]*>.*?</script>|<img[^>]*src="https?:[^>]*>', flags=re.DOTALL
)


def render_data_docs(results: Sequence[GxResult], *, name: str, run: str) -> str:
    """Render GX's results as an HTML page.

    Args:
        results: GX's own, one for each expectation.
        name: contract.
        run: identifies what was validated, such as the snapshot's key.
    """
    from great_expectations import __version__
    from great_expectations.core import ExpectationSuiteValidationResult
    from great_expectations.render.renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    met = sum(bool(result.success) for result in results)
    suite = ExpectationSuiteValidationResult(
        success=met == len(results),
        results=[_shield_result(result) for result in results],
        suite_name=_shield(name),
        statistics={
            "evaluated_expectations": len(results),
            "successful_expectations": met,
            "unsuccessful_expectations": len(results) - met,
            "success_percent": 100 * met / len(results) if results else 100.0,
        },
        meta={
            "run_id": {
                "run_name": _shield(run),
                "run_time": datetime.now(UTC).isoformat(timespec="seconds"),
            },
            "great_expectations_version": __version__,
        },
    )
    page = DefaultJinjaPageView().render(ValidationResultsPageRenderer().render(suite))
    page = _REMOTE.sub("", str(page)).replace("<head>", f"<head>{_POLICY}{_STYLE}", 1)
    return page.translate(_TO_ENTITIES)


def _shield_result(result: GxResult) -> GxResult:
    """Return a copy of a result in which stand-ins replace the marks in all texts."""
    shielded = copy.deepcopy(result)
    for values in (shielded.expectation_config.kwargs, shielded.result, shielded.exception_info):
        if isinstance(values, dict):
            values.update({key: _shield(value) for key, value in values.items()})
    return shielded


def _shield(value: Any) -> Any:  # noqa: ANN401 - whatever an expectation holds
    """Replace the marks in all texts of a value by their stand-ins."""
    if isinstance(value, str):
        return value.translate(_TO_STAND_INS)
    if isinstance(value, dict):
        return {_shield(key): _shield(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_shield(each) for each in value]
    return value
