from tests.support.databases import database, empty_url, kind, migrated, settings

__all__ = ["database", "empty_url", "kind", "migrated", "settings"]
