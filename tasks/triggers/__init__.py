"""When a job runs: schedules, new data, and limits on how often."""
