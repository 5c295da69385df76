"""Results for people: contact sheets, in one visual language."""
