"""The stages of dvc.yaml: each reads files, calls the library and writes files."""

import os

# Files are drawn, not windows. Jupyter and Colab set a backend that only works in a notebook for every command that is
# started there, and matplotlib would stop at its import.
os.environ["MPLBACKEND"] = "agg"
