"""Compute the polynomial coefficients in `losses/autograd.py` and `losses/log_cosh.c`.

    python tools/log_cosh_coefficients.py

Prints them. For `|x| <= BRANCH`, `log(cosh(x)) / x^2` is an even, smooth function, so it is approximated by a
polynomial in `s = x^2 - CENTRE`, where `CENTRE` is the middle of `[0, BRANCH^2]`. The number of coefficients follows
from the nearest singularity, `x^2 = -(pi/2)^2`. For larger `|x|`, `log(1 + e)` with `e <= exp(-2 BRANCH)` is a
polynomial too, and so is `exp` on an interval of half of `log(2)` on each side of 0. All polynomials interpolate at
Chebyshev nodes and are computed in 60-digit arithmetic.
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
    """A function on `[lower, upper]`, and the number of coefficients of the polynomial that interpolates it."""

    function: Callable[[mpmath.mpf], mpmath.mpf]
    lower: float
    upper: float
    count: int

    def coefficients(self) -> tuple[list[float], float]:
        """Return the coefficients in rising powers, and the largest error relative to the value in the middle."""
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
"""The first two are in `losses/autograd.py`; all but the second are in `losses/log_cosh.c`."""


if __name__ == "__main__":
    for name, polynomial in POLYNOMIALS.items():
        values, error = polynomial.coefficients()
        rows = [", ".join(map(repr, values[i : i + 4])) for i in range(0, len(values), 4)]
        print(f"{name} = (  # relative error {error:.1e}")
        print("".join(f"    {row},\n" for row in rows) + ")")
