"""How far the data has moved: column profiles, distances between distributions, drift tests."""
