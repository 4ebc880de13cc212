"""Who is calling, projects, usage."""
