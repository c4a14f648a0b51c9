"""What others measured: their words, and what can be judged of them."""
