"""What one can start: the flows, the job that they take, and the command line."""
