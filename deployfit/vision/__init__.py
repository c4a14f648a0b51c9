"""What a vision tower sees of an image: its size after each engine's resizing, and the tokens that it becomes."""
