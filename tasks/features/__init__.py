"""From accepted rows to stored sequences and splits."""
