"""What sessions found: `results/soak.json`, and its table in docs/reliability.md."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from logcosh_vae.base.environment import Environment
from logcosh_vae.base.records import SCHEMA_VERSION

from .registry import ATTACKS

KEPT_FAILURES = 200
"""Number of failures that the file lists."""


@dataclass(frozen=True)
class AttackCounts:
    """Figures of one attack.

    Attributes:
        target: number of trials that the promise rests on.
        tried, failed: numbers of trials.
        seconds: times of all trials together.
        peak_bytes: largest memory of a worker that the attack ran in; commands that it starts are checked one by one.
    """

    target: int
    tried: int = 0
    failed: int = 0
    seconds: float = 0.0
    peak_bytes: int = 0


@dataclass(frozen=True)
class Failure:
    """A trial that failed; `python -m tools.soak --only ATTACK --seed SEED --index INDEX` repeats it."""

    attack: str
    seed: int
    index: int
    commit: str
    message: str


@dataclass(frozen=True)
class SoakResults:
    """The figures of one session, or of several that continued each other.

    Attributes:
        experiment: always `soak`.
        seed: seed of all trials.
        attacks: figures by name of the attack.
        failures: the failures, at most `KEPT_FAILURES`.
        environment: machine and versions of the last session.
        commits: commits that were tried, in order.
        date: day of the last trial, as YYYY-MM-DD.
    """

    experiment: str
    seed: int
    attacks: Mapping[str, AttackCounts]
    failures: tuple[Failure, ...]
    environment: Environment
    commits: tuple[str, ...]
    date: str
    schema_version: int = SCHEMA_VERSION

    def with_trial(self, attack: str, index: int, failure: str, seconds: float, peak_bytes: int) -> SoakResults:
        """Return the figures with one more trial; `failure` is empty if it passed."""
        counts = self.attacks[attack]
        failures = self.failures
        if failure:
            failures = (*failures, Failure(attack, self.seed, index, self.commits[-1], failure))
        counts = replace(
            counts,
            tried=counts.tried + 1,
            failed=counts.failed + bool(failure),
            seconds=round(counts.seconds + seconds, 3),
            peak_bytes=max(counts.peak_bytes, peak_bytes),
        )
        day = time.strftime("%Y-%m-%d")
        return replace(self, attacks={**self.attacks, attack: counts}, failures=failures[:KEPT_FAILURES], date=day)


def started(before: SoakResults | None, seed: int, environment: Environment, anew: Collection[str] = ()) -> SoakResults:
    """Return the figures to add to: those of earlier sessions, or zeros, also for the attacks in `anew`."""
    commits = () if before is None else before.commits
    commits = (*(name for name in commits if name != environment.commit), environment.commit)
    attacks = {name: AttackCounts(attack.target) for name, attack in ATTACKS.items()}
    if before is not None:
        attacks |= {name: counts for name, counts in before.attacks.items() if name in attacks.keys() - set(anew)}
        failures = tuple(each for each in before.failures if each.attack not in anew)
        return replace(before, attacks=attacks, failures=failures, environment=environment, commits=commits)
    return SoakResults("soak", seed, attacks, (), environment, commits, time.strftime("%Y-%m-%d"))


def markdown(results: SoakResults) -> str:
    """Return a table of what is promised, what was tried and what failed, and a sentence about where it was tried."""
    lines = ["| attack | promise | target | tried | failed | minutes |", "|---|---|--:|--:|--:|--:|"]
    for name, counts in results.attacks.items():
        attack = ATTACKS[name]
        lines.append(
            f"| {attack.title} | {attack.promise} | {counts.target:,} | {counts.tried:,} | {counts.failed:,} "
            f"| {counts.seconds / 60:.1f} |"
        )
    environment = results.environment
    several = f"{len(results.commits)} commits up to " if len(results.commits) > 1 else "commit "
    peak = max(counts.peak_bytes for counts in results.attacks.values()) / 2**30
    lines += [
        "",
        f"Last trial on {results.date}, {several}{results.commits[-1]}, seed {results.seed}; {environment.machine}, "
        f"{environment.cores} cores; torch {environment.versions['torch']}, Python {environment.versions['python']}; "
        f"at most {peak:.1f} GiB of memory in a worker process.\n",
    ]
    return "\n".join(lines)
