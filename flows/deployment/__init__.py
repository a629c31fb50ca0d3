"""How flows come to run elsewhere: deployments, serving processes, crashed runs."""
