"""What launch/benchmark and launch/forecast measure and compute."""
