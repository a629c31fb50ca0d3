"""The report that people read: one page that needs nothing else, and a model card."""

PAGE, CARD = "report.html", "model_card.md"
"""Files of a report that people read."""
