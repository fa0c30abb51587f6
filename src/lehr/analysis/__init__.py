"""What a trained network is worth beyond its accuracy."""
