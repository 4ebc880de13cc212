"""Files: uploads, downloads, and the check of what is in them."""
