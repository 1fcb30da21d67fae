"""Middleware that learns why each person prefers what they prefer, and tailors any chat model to them."""
