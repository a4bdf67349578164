"""The coefficients in `losses/autograd.py` and `log_cosh.c`; `python tools/log_cosh_coefficients.py` prints them.

For `|x| <= BRANCH`, `log(cosh(x)) / x^2` is an even, smooth function, so a polynomial in `s = x^2 - CENTRE`,
where `CENTRE` is the middle of `[0, BRANCH^2]`. How many coefficients are needed follows from the nearest singularity,
`x^2 = -(pi/2)^2`. Beyond, `log(1 + e)` with `e <= exp(-2 BRANCH)` is a polynomial too, and `exp` is one on half of
`log(2)` to each side. All interpolate at Chebyshev nodes, in 60-digit arithmetic.
"""

from collections.abc import Callable
from dataclasses import dataclass

import mpmath

BRANCH = 1.25
CENTRE = BRANCH**2 / 2
HALF, SMALL = float(mpmath.log(2)) / 2, float(mpmath.exp(-2 * BRANCH))


def _value(s: mpmath.mpf) -> mpmath.mpf:
    w = s + CENTRE
    return mpmath.log(mpmath.cosh(mpmath.sqrt(w))) / w if w else mpmath.mpf(1) / 2


def _expm1(r: mpmath.mpf) -> mpmath.mpf:
    return mpmath.expm1(r) / r if r else mpmath.mpf(1)


def _log1p(e: mpmath.mpf) -> mpmath.mpf:
    return mpmath.log1p(e) / e if e else mpmath.mpf(1)


@dataclass(frozen=True)
class Polynomial:
    """What is interpolated, from where to where, by how many coefficients."""

    function: Callable[[mpmath.mpf], mpmath.mpf]
    lower: float
    upper: float
    count: int

    def coefficients(self) -> tuple[list[float], float]:
        """In rising powers, and the largest error beside the value in the middle."""
        with mpmath.workdps(60):
            falling, error = mpmath.chebyfit(self.function, [self.lower, self.upper], self.count, error=True)
            middle = self.function((mpmath.mpf(self.lower) + self.upper) / 2)
            return [float(c) for c in reversed(falling)], float(error / middle)


POLYNOMIALS = {
    "_SINGLE": Polynomial(_value, -CENTRE, CENTRE, 8),
    "_DOUBLE": Polynomial(_value, -CENTRE, CENTRE, 17),
    "expm1(r) / r": Polynomial(_expm1, -HALF, HALF, 6),
    "log1p(e) / e": Polynomial(_log1p, 0.0, SMALL, 5),
}
"""The first two stand in `losses/autograd.py`; all but the second in `log_cosh.c`."""


if __name__ == "__main__":
    for name, polynomial in POLYNOMIALS.items():
        values, error = polynomial.coefficients()
        rows = [", ".join(map(repr, values[i : i + 4])) for i in range(0, len(values), 4)]
        print(f"{name} = (  # relative error {error:.1e}")
        print("".join(f"    {row},\n" for row in rows) + ")")
