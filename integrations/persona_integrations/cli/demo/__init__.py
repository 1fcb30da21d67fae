"""`persona demo`: people made up for it, what happens to them, and how that looks on a screen."""
