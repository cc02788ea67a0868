"""The stages of dvc.yaml: each reads files, calls the library and writes files."""

import os
import signal
import sys
import threading
from importlib.util import find_spec

# Ctrl-C while libraries are imported would print pages of them. `errors.run` takes over from here.
if (
    signal.getsignal(signal.SIGINT) is signal.default_int_handler
    and threading.current_thread() is threading.main_thread()
):
    signal.signal(signal.SIGINT, signal.SIG_DFL)


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
    """End this stage when the dvc that started it is killed; it would go on writing beside the next one."""
    if "DVC_STAGE" not in os.environ:
        return
    import psutil

    guard = os.environ.get("GRAYBOX_GUARD")  # the dvc of graybox/command_line/guard.py
    try:
        # Between a stage and its dvc there may be a shell, which lives on; dvc alone is not told of a stage.
        above = [psutil.Process(int(guard))] if guard else psutil.Process().parents()
        dvc = next(process for process in above if guard or "DVC_STAGE" not in process.environ())
    except psutil.NoSuchProcess:
        sys.exit("error: the dvc that started this stage was killed")
    except (psutil.AccessDenied, StopIteration):  # dvc is another user's, or this is no process of dvc's at all
        return

    def wait() -> None:
        dvc.wait()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


_end_with_dvc()
