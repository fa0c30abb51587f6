"""From results to what a person reads: summaries, tables, plots, one HTML page."""
