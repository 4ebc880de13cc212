"""The tables of what Tutti is made of. A new engine, driver or feature is one line here."""
