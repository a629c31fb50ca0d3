"""The endurance harness: what goes wrong outside of the product, seeded, bounded and judged."""
