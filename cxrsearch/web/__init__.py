"""The page of `cxrsearch serve`, on top of everything.

server      `serve`: the page until it is stopped
settings    how it is served
"""
