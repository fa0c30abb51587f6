"""Many runs, one answer: grids of runs with seeds, restartable, here or on Ray."""
