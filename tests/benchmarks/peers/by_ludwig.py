"""Ludwig, which cannot be measured: it is imported so that its error is reported.

0.11.0 is the last version for Python 3.11; it needs torchvision, whose wheel on PyPI is for CUDA
and cannot be loaded with a CPU build of torch.
"""

import ludwig.api

if __name__ == "__main__":
    raise SystemExit(f"{ludwig.api.__name__} can be imported now: its training is not written yet")
