"""What every other room stands on: errors, registries, draws and schedules."""
