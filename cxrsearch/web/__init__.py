"""The page in the browser: an index behind FastAPI. Needs the extra `web`."""
