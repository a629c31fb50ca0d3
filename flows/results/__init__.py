"""What a run shows in Prefect: pages, tables, links."""
