from tests.support.databases import database, kind, migrated, settings

__all__ = ["database", "kind", "migrated", "settings"]
