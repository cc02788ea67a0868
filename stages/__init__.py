"""The stages of dvc.yaml: each reads files, calls the library and writes files."""

import os
import signal
import sys

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
