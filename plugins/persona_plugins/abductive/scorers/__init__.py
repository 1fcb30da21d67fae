"""Three ways to say how well an answer suits someone of whom a sentence is true."""
