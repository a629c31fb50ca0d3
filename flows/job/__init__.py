"""The job file: its keys, its checks, its form in the Prefect UI, its presets."""
