"""Recurrent cells, one family a file, and the kernels that several of them read with."""
