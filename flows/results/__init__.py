"""Results of a run: pages in Prefect, text for the terminal, links, files."""
