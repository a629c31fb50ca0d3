"""What a model is judged by: metrics, their uncertainty, and cheap strong baselines."""
