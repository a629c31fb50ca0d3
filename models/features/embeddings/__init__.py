"""Pretrained embeddings: tables of words or of a tokenizer's tokens, read from files."""
