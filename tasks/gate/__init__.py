"""Whether a challenger may replace the champion, and the evidence for it."""
