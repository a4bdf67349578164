"""The studies of learned likelihoods compare what they say they compare."""

from collections import Counter

import pytest

from logcosh_vae.paper.likelihood import STUDIES, experiment
from logcosh_vae.training.config import resolve


@pytest.mark.parametrize("name", STUDIES)
def test_losses_are_treated_alike(name: str) -> None:
    """All losses have the same weights, the paper's setting is among them, and nothing but the objective differs."""
    configs = [resolve(row.config) for row in experiment(name, "paper").rows]
    objectives = [config.objective for config in configs]
    fixed = [objective for objective in objectives if objective.likelihood is None]
    grids: dict[tuple[str, float | None], set[float | None]] = {}
    for each in fixed:
        grids.setdefault((each.loss, each.a), set()).add(each.reconstruction_weight)
    assert {loss for loss, _ in grids} == {"l2", "l1", "log-cosh"}
    assert len({frozenset(weights) for weights in grids.values()}) == 1
    assert all(1.0 in weights for weights in grids.values())
    assert ("log-cosh", 100.0) in grids
    learned = [o for o in objectives if o.likelihood is not None and (o.warmup, o.free_bits) == (None, None)]
    assert Counter((o.loss, o.likelihood) for o in learned) == Counter(
        [("l2", "scale"), ("l1", "scale"), ("log-cosh", "scale"), ("log-cosh", "scale+shape")]
    )
    assert len({(c.data, c.model, c.optimizer, c.epochs, c.batch_size) for c in configs}) == 1


@pytest.mark.parametrize("name", STUDIES)
def test_settings_are_chosen_on_images_that_no_run_has_seen(name: str) -> None:
    study, comparison = STUDIES[name], experiment(name, "laptop")
    assert comparison.evaluation.validation == study.validation_images
    assert {row.config.data.limit for row in comparison.rows} == {study.train_images}
