"""Where untrusted code runs: the sessions of the code interpreter."""
