"""Child processes: started under a shepherd that outlives nobody."""
