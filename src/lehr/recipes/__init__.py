"""Whole procedures: train a network, tune a subnetwork of it, compare methods, and the demo."""
