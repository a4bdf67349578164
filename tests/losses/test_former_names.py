"""Former names of the losses still work."""

import warnings

import pytest


@pytest.mark.parametrize("module", ["logcosh_vae", "logcosh_vae.losses"])
def test_a_former_name_warns_once(module: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        exec(f"from {module} import log_cosh_gradient_only")
    assert [str(each.message) for each in caught] == ["log_cosh_gradient_only is now called log_cosh_surrogate"]
