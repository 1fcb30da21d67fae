"""Starting processes that are to be interrupted."""

import signal


def heed_ctrl_c():
    """Let SIGINT act in a new process: one whose parent runs in a shell's background would ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
