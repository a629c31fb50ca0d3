"""Who learns of an outcome, and how: events, automations, notification blocks."""
