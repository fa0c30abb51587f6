"""What a person types; no logic."""
