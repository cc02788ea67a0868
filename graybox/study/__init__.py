"""The comparison of the variants.

`variants` resolves the parameters of each variant in params.yaml, `combine` puts each parameter's best level together,
`comparison` makes the table and states what it shows, and `outcome` states how the combination did. Scores go in,
tables and sentences come out; no network runs here. `params` has the sections `evaluate` and `select`.
"""
