"""Optional packages, which libraries load if they are installed."""

import logging

# torchao and bitsandbytes report kernels of other machines that they do not load, and torch what torchao registers.
_TALKATIVE = ("torchao", "bitsandbytes", "torch.utils._pytree")


def quiet_optional_packages() -> None:
    """Let optional packages report errors only. Call this before they are loaded."""
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.ERROR)
