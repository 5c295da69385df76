"""The web page and API of `cxrsearch serve`, on top of all other rooms.

server      `server`: serves the page and the API
settings    where it listens, and its limits
"""
