"""From signals to a tuned model: rows, recipes, training, adapters with their lineage, and who is given which."""
