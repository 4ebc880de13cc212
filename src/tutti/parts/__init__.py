"""The tables of Tutti's parts. A new engine, driver, feature or kind of job is one line here."""
