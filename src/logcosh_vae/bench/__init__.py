"""Benchmarks: the speed of this package beside other implementations and beside the limit of the machine.

`suite` lists them by the name that `logcosh-vae bench NAME` takes. `timing` times alternatives in interleaved rounds
on one machine; `step`, `loss`, `batches`, `measuring`, `side_by_side`, `startup` and `gpu` define what is timed;
`peer` and `child` time another process; `records` and `markdown` hold and format the results.
"""
