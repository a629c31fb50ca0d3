"""Ludwig, which takes no part: it is imported so that the reason is told, in its own words.

0.11.0 is the last for Python 3.11; it needs torchvision, whose wheel on PyPI is for CUDA and
doesn't load beside a torch for the CPU.
"""

import ludwig.api

if __name__ == "__main__":
    raise SystemExit(f"{ludwig.api.__name__} loads now, and its lesson is still to be written")
