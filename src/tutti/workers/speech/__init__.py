"""The program that speaks: `python -m tutti.workers.speech --family hibari --folder MODEL --port 9000`."""
