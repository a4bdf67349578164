"""The coefficients in `logcosh_vae.losses`; `python tools/log_cosh_coefficients.py` prints them.

For `|x| <= BRANCH`, `log(cosh(x)) / x^2` is an even, smooth function, so a polynomial in `s = x^2 - CENTRE`,
where `CENTRE` is the middle of `[0, BRANCH^2]`. It interpolates at Chebyshev nodes, in 60-digit arithmetic.
How many coefficients are needed follows from the nearest singularity, `x^2 = -(pi/2)^2`.
"""

import mpmath

BRANCH = 1.25
CENTRE = BRANCH**2 / 2
COUNTS = {"SINGLE": 8, "DOUBLE": 17}


def coefficients(count: int) -> tuple[list[float], float]:
    """The first `count` coefficients in rising powers of `s`, and the relative error of the polynomial."""
    with mpmath.workdps(60):

        def ratio(s: mpmath.mpf) -> mpmath.mpf:
            w = s + CENTRE
            return mpmath.log(mpmath.cosh(mpmath.sqrt(w))) / w if w else mpmath.mpf(1) / 2

        falling, error = mpmath.chebyfit(ratio, [-CENTRE, CENTRE], count, error=True)
        return [float(c) for c in reversed(falling)], float(error / ratio(CENTRE))


if __name__ == "__main__":
    for name, count in COUNTS.items():
        values, error = coefficients(count)
        rows = [", ".join(map(repr, values[i : i + 4])) for i in range(0, count, 4)]
        print(f"_{name} = (  # relative error {error:.1e}")
        print("".join(f"    {row},\n" for row in rows) + ")")
