"""Kernels of our own for the CPU, compiled where they are used; torch does the work elsewhere."""
