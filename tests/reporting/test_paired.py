"""Paired comparison of two losses, image by image."""

import numpy as np
import pytest

from logcosh_vae.reporting.paired import outcome_sentence, paired


def test_paired_comparison_agrees_with_values_computed_by_hand() -> None:
    # seven of eight differences are positive; by the exact null distribution of the rank sum, W = 1 has p = 4 / 256
    second = np.linspace(0.5, 0.9, 8)
    first = second + np.array([0.02, 0.03, 0.04, 0.05, 0.06, 0.07, 0.08, -0.01])
    result = paired(list(first), list(second))
    assert (result.count, result.wins, result.losses) == (8, 7, 1)
    assert result.difference == pytest.approx(0.0425)
    assert result.p_value == pytest.approx(4 / 256)
    assert 0.01 < result.low < result.difference < result.high < 0.07
    assert outcome_sentence("a", "b", "SSIM", result).startswith("a is better than b: larger SSIM on 7 of 8 images")
    assert paired([0.5, 0.6], [0.5, 0.6]).p_value == 1.0
    assert "a and b are not significantly different:" in outcome_sentence(
        "a", "b", "SSIM", paired([0.5, 0.7] * 4, [0.6] * 8)
    )
    assert outcome_sentence("a", "b", "SSIM", paired([0.7] * 5, [0.6] * 5)).startswith(
        "too few images to compare a with b:"
    )
    # more wins, but very small ones
    small, large = [1e-4 * index for index in range(1, 53)], [-0.1 - 1e-3 * index for index in range(48)]
    assert "a is worse than b:" in outcome_sentence("a", "b", "SSIM", paired(small + large, [0.0] * 100))
    with pytest.raises(ValueError, match="not finite"):
        paired([float("nan")], [0.0])
    # one outlier decides the mean, the others decide the ranks
    outlier = paired([0.5 + 0.001 * index for index in range(1, 20)] + [0.2], [0.5] * 20)
    assert "a compared with b is not significantly different in the mean but better by ranks:" in outcome_sentence(
        "a", "b", "SSIM", outlier
    )
