"""What others measured: their words, what can be judged of them, and logs of engines."""
