"""Asking an index: an image in; neighbours, votes, predictions and typicality out.

index         `open_index`, `Index`
options       what is asked beside the image
embedded      an image after one pass through the network
answer        what is answered
identity      whose image a query is
maps          where the network sees its findings, and what makes two images alike
answer_sheet  an answer as a contact sheet
"""
