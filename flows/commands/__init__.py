"""What a command does when it is not a flow: drafts, checks, reproduction, benchmarks."""
