"""llama.cpp's lines: what stands before the colon, the loads and contexts that they are of, and their parts."""
