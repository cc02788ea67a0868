"""The command line: what __main__.py lists, a module for each command and its helpers.

`occlude` draws maps of photographs for any network: `networks` builds the one that the options name and says how its
pictures are prepared, `photographs` prepares them, `folder` gives the verdict over a folder with boxes. `guard` is the
command repro, `reference` the command parameters.
"""
