"""The flows, the job that configures them, and the command line."""
