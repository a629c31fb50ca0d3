"""The report that people read: one page that needs nothing else, and a model card."""
