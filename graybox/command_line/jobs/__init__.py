"""`python -m graybox repro --jobs N`: variants in parallel, on this machine, a Dask cluster, or SLURM.

`command` is the order of events. `workspace` asks DVC which variants are stale, and brings results into the workspace.
`snapshot` packs what a clone is made of. `cluster` finds the workers. `task` is what a worker does: a clone, in which
`clone` runs DVC. `view` shows how far all are. Nothing here computes: a clone runs the stages of dvc.yaml.
"""
