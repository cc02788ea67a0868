"""Statistics for all other rooms. Nothing here depends on images or networks: arrays and tables in, numbers out.

`scores` measures how good a network's answers are, `intervals` gives a share or a mean its 95% interval, `paired`
compares two networks on the same images, and `tables` reads the CSV files that stages leave for one another.
"""
