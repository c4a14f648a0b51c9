"""MLX: mlx-lm, and mlx-vlm where images are read."""
