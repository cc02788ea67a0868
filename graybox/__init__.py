"""Graybox: what does a small CNN learn, and does it look at the object or at what surrounds it?

The package has rooms, one folder for each subject. A room imports only from rooms that stand before it in this list:
statistics, data, network, study, occlusion, features, reliance, mistakes, figures, report. `errors` and `schema` serve
all of them; `run`, `settings`, `reference` and the command line put them together. A name that starts with an
underscore is for its own file only. docs/design.md is the plan of the house.
"""
