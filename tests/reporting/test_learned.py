"""Learned likelihoods in reports: labels, what rows are compared with, and the paper's terms."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from logcosh_vae.evaluation.records import FeaturesInfo
from logcosh_vae.experiments.results import ExperimentResults, RowResult, Summary, read_results
from logcosh_vae.losses import LOSSES, make_loss
from logcosh_vae.reporting.latents import latent_table, paper_terms
from logcosh_vae.reporting.narrative import findings, provenance
from logcosh_vae.reporting.tables import table_rows


def learned(
    row: RowResult, likelihood: str, scale: float, shape: float | None = None, factor: float = 1.0
) -> RowResult:
    """The row with a learned likelihood and all metrics times `factor`."""
    objective = {**row.config["objective"], "likelihood": likelihood, "a": None}
    numbers = {"scale": scale, "active_units": 7.0} | ({} if shape is None else {"shape": shape})
    count = len(row.seeds)
    return replace(
        row,
        a=None,
        config={**row.config, "objective": objective},
        metrics={name: Summary.of([factor * each for each in value.values]) for name, value in row.metrics.items()},
        density={name: Summary.of([value] * count) for name, value in numbers.items()},
    )


@pytest.fixture(scope="module")
def fixed() -> ExperimentResults:
    results = read_results(Path(__file__).parents[2] / "results" / "table1-laptop.json")
    return replace(results, rows=tuple(row for row in results.rows if row.model == "vae-mlp"))


def test_a_learned_row_is_told_apart_and_compared_with_the_fixed_baseline(fixed: ExperimentResults) -> None:
    l2, log_cosh, l1 = fixed.rows
    rows = (learned(l2, "scale", 0.2, factor=0.5), l2, log_cosh, learned(log_cosh, "scale+shape", 0.05, 0.5), l1)
    results = replace(fixed, rows=rows)
    shown = table_rows(results)
    labels = ["squared L2, learned scale", "squared L2", "log-cosh, a = 100", "log-cosh, learned scale and shape", "L1"]
    assert [row.loss_text for row in shown] == labels
    assert len({row.short_loss_text for row in shown}) == 5
    assert shown[0].cells["fid"].change == pytest.approx(-50.0)
    assert shown[1].cells["fid"].change is None
    assert shown[2].cells == table_rows(fixed)[1].cells  # as without the learned rows
    sentences = findings(results)
    assert set(findings(fixed)) <= set(sentences)
    assert "learned scale against weight 1: FID" in " ".join(sentences)
    assert "s = 0.05 and k = 0.5, in the paper's terms a = 20 and weight 10; 7 of 8" in " ".join(sentences)


def test_rows_that_all_learn_are_compared_with_the_learned_baseline(fixed: ExperimentResults) -> None:
    l2, log_cosh, _ = fixed.rows
    results = replace(fixed, rows=(learned(l2, "scale", 0.2), learned(log_cosh, "scale", 0.1, 1.0)))
    assert table_rows(results)[1].cells["fid"].change is not None
    assert "Better than squared L2, learned scale in 3 of 3 metrics" in findings(results)[0]
    assert "Changes are relative to squared L2, learned scale with" in provenance(results)
    assert not any("advice" in sentence for sentence in findings(results))  # it is about fixed losses


def test_the_verdict_leaves_out_what_only_helps_to_read(fixed: ExperimentResults) -> None:
    def measured(row: RowResult) -> RowResult:
        more = ("fid_mixture", "fid_codes", "nearest_generated", "nearest_test")
        return replace(row, metrics={**row.metrics, **dict.fromkeys(more, row.metrics["fid"])})

    results = replace(fixed, rows=tuple(map(measured, fixed.rows)))
    assert "Better than squared L2 in 4 of 4 metrics" in findings(results)[0]
    few = replace(results, features=FeaturesInfo("f", "0" * 12, dimension=10**6))
    assert "2 of 2 metrics without the FID" in findings(few)[0]


@pytest.mark.parametrize(("loss", "shape"), [("l2", None), ("l1", None), ("log-cosh", 0.4)])
def test_the_papers_terms_name_the_fixed_loss_with_the_same_gradient(loss: str, shape: float | None) -> None:
    values = {"scale": 0.07} | ({} if shape is None else {"shape": shape})
    terms = paper_terms(loss, values, reconstruction_weight=0.5)
    x, x_hat = torch.rand(2, 50, dtype=torch.float64)
    prediction = x_hat.clone().requires_grad_()
    kind = LOSSES[loss].likelihood
    assert kind is not None
    (0.5 * kind(**values).double().nll(prediction, x).sum()).backward()
    assert prediction.grad is not None
    expected = make_loss(loss, terms.get("a")).grad(x_hat, x, terms["weight"])
    assert torch.allclose(prediction.grad, expected, rtol=1e-6)


def test_a_fixed_loss_is_shown_with_the_likelihood_it_stands_for(fixed: ExperimentResults) -> None:
    _, log_cosh, l1 = fixed.rows
    density = {"active_units": Summary.of([8.0] * len(l1.seeds))}
    rows = (replace(l1, density=density), replace(log_cosh, density=density), learned(l1, "scale", 0.25))
    table = latent_table(replace(fixed, rows=rows))
    assert table is not None
    assert table.headings == ["Run", "Seed", "Scale s", "Shape k", "a", "Weight", "KL", "Active"]
    by_run = {line[0]: line[2:6] for line in table.lines}
    assert by_run["VAE (MLP), L1"] == ["1", "", "", "1"]
    assert by_run["VAE (MLP), log-cosh, a = 100"] == ["0.01", "0.01", "100", "1"]
    assert by_run["VAE (MLP), L1, learned scale"] == ["0.25", "", "", "4"]
    assert len(table.lines) == 3 * len(l1.seeds)
    assert latent_table(replace(fixed, rows=(replace(l1, density=None),))) is None
