"""The kinds of faults: each module has KIND, COUNT, SLICE and list_cases."""
