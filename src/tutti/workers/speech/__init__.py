"""Text to speech over HTTP: `python -m tutti.workers.speech --family hibari --folder MODEL --port 9000`."""
