"""Reports: text from outside is shown literally, and an FID of too few images is not judged."""

from dataclasses import replace
from pathlib import Path

import pytest

from logcosh_vae.evaluation.records import FeaturesInfo, RealImages
from logcosh_vae.experiments.results import ExperimentResults, read_results
from logcosh_vae.reporting.html import Part, build, write_markdown
from logcosh_vae.reporting.narrative import findings, legend, provenance

HOSTILE = "a|b `c` *d* [e](f) <script>g</script>\x1b[31m\nh\udcff"


@pytest.fixture(scope="module")
def results() -> ExperimentResults:
    return read_results(Path(__file__).parents[2] / "results" / "table1-laptop.json")


def test_a_title_is_shown_literally_in_both_reports(results: ExperimentResults, tmp_path: Path) -> None:
    features = FeaturesInfo(HOSTILE, "0" * 12)
    row = replace(results.rows[0], loss="l1_*x*", data=HOSTILE)
    part = Part(replace(results, title=HOSTILE, features=features, rows=(row, *results.rows[1:])))
    page = build([part], tmp_path / "report.html").read_text(encoding="utf-8")
    text = write_markdown([part], tmp_path / "report.md").read_text(encoding="utf-8")
    for report in (page, text):
        assert "<script>" not in report
        assert "\x1b" not in report
    assert "<h1>a|b `c` *d* [e](f) &lt;script&gt;g&lt;/script&gt;\\x1b[31m\nh\\xff</h1>" in page
    assert text.startswith(
        "# a\\|b \\`c\\` \\*d\\* \\[e\\](f) &lt;script&gt;g&lt;/script&gt;\\\\x1b\\[31m\\\\nh\\\\xff\n"
    )
    assert "| l1\\_\\*x\\* |" in text


def few_images(results: ExperimentResults, dimension: int | None) -> ExperimentResults:
    assert results.features is not None
    features = replace(results.features, dimension=dimension)
    return replace(results, features=features, real=RealImages("test", 1_000, "0" * 12))


@pytest.mark.parametrize("dimension", [None, 128, 1_000])
def test_an_fid_of_enough_images_is_judged(results: ExperimentResults, dimension: int | None) -> None:
    assert few_images(results, dimension).features == results.features  # so that older evaluations are reused
    assert findings(few_images(results, dimension)) == findings(results)
    assert "3 of 3 metrics" in findings(results)[0]


def test_an_fid_of_fewer_images_than_features_is_not_judged(results: ExperimentResults) -> None:
    few = few_images(results, 1_280)
    sentences = findings(few)
    assert "2 of 2 metrics without the FID" in sentences[0]
    assert sentences[-1].startswith(
        "The FID of 10,000 generated and 1,000 test images is strongly biased: there are 1,280"
    )
    assert not any("advice" in sentence for sentence in sentences)
    assert sentences[-1] in legend(few)
    assert sentences[-1] in provenance(few)
