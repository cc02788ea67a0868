"""The comparison of the variants.

`variants` says what each variant of params.yaml is made of, `combine` puts each parameter's best level together,
`comparison` makes the table and says in words what it shows, and `outcome` says how the combination did. Scores go in,
tables and sentences come out; no network runs here. `params` has the sections `evaluate` and `select`.
"""
