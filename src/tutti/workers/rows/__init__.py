"""Programs that read the rows of a table and write each as a JSON line. See lines.py."""
