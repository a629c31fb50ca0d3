"""Great Expectations' Data Docs page of one validation, as a file that needs no network.

GX's own template loads styles, scripts and a logo from other hosts. They are removed here, a
short style sheet replaces them, and a Content-Security-Policy forbids loading anything.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

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
        results=list(results),
        suite_name=name,
        statistics={
            "evaluated_expectations": len(results),
            "successful_expectations": met,
            "unsuccessful_expectations": len(results) - met,
            "success_percent": 100 * met / len(results) if results else 100.0,
        },
        meta={
            "run_id": {
                "run_name": run,
                "run_time": datetime.now(UTC).isoformat(timespec="seconds"),
            },
            "great_expectations_version": __version__,
        },
    )
    page = DefaultJinjaPageView().render(ValidationResultsPageRenderer().render(suite))
    return _REMOTE.sub("", str(page)).replace("<head>", f"<head>{_POLICY}{_STYLE}", 1)
