"""Child programs. Nothing imports them, and only they may import ML libraries."""
