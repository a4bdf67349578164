"""Random attacks on the program: `python -m tools.soak --minutes 10`, or `make soak`.

Each attack is a module: `kills`, `images`, `configs`, `command_lines`, `tampering` and `disk_faults`. The seed and the
number of a trial determine it, so that a failure can be repeated alone.

- `attack`: what an attack is, and what counts as a failure.
- `process`, `privileges`: run a command in a process of its own, with limits, kills and injected faults.
- `worker`, `session`: run trials in a worker process with a time limit, and count them.
- `inputs`, `corpus`, `mutations`: generated image sets and runs, image files of every format, and damage to bytes.
- `record`: `results/soak.json` and its table in docs/reliability.md.
"""
