"""The `persona` command: learn, look, explain, chat and forget from a terminal."""
