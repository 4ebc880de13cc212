"""The measured claims. `make bench` runs them; each prints medians of ratios taken in one run."""
