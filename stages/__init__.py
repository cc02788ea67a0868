"""The stages of dvc.yaml: each reads files, calls the library and writes files."""

import os
import signal
import sys
from importlib.util import find_spec


def _check_python() -> None:
    """Stop in one sentence where `python` is another one than that of the study's environment."""
    version = ".".join(map(str, sys.version_info[:2]))
    wrong = [f"is Python {version}, and 3.11 or newer is needed"] if sys.version_info < (3, 11) else []
    wrong += [f"has no {library}" for library in ("pydantic", "torch") if find_spec(library) is None]
    if wrong:
        sys.exit(
            f"error: python, here {sys.executable}, {wrong[0]}; activate the environment that has the study's packages "
            f"(`. .venv/bin/activate`), or run `.venv/bin/python -m graybox repro`"
        )


_check_python()

# Files are drawn, not windows. Jupyter and Colab set a backend that only works in a notebook for every command that is
# started there, and matplotlib would stop at its import.
os.environ["MPLBACKEND"] = "agg"


def _end_with_dvc() -> None:
    """On Linux, end this stage when the dvc that started it is killed; it would go on writing beside the next one."""
    if sys.platform != "linux" or "DVC_STAGE" not in os.environ:
        return
    import ctypes

    set_death_signal = 1  # PR_SET_PDEATHSIG of <sys/prctl.h>
    ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)
    if guard := os.environ.get("GRAYBOX_GUARD"):  # which graybox/guard.py sets, and which may be dead already
        try:
            os.kill(int(guard), 0)
        except ProcessLookupError:
            sys.exit("error: the dvc that started this stage was killed")


_end_with_dvc()
