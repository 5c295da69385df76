"""The parts of a search over recipes: what is searched, a trial, and the study that suggests the next one."""
