"""What a network is worth and what it costs: quality and calibration, FLOPs, sensitivity by layer, corrupted data."""
