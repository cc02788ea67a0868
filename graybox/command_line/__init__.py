"""The command line: what __main__.py lists, a module for each command and its helpers.

`use` merges recipes into params.yaml: `recipes` finds them and merges values, `rewrite` changes the file's text and
keeps its comments. `occlude` draws maps of photographs for any network: `networks` builds the one that the options name
and says how its pictures are prepared, `photographs` prepares them, `folder` gives the verdict over a folder with
boxes. `guard` is the command repro, `jobs` what it does with variants in parallel, `reference` the command
parameters.
"""
