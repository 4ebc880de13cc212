"""The schema's history: `python -m tutti.store.migrations` upgrades $TUTTI_DATABASE_URL to the newest."""
