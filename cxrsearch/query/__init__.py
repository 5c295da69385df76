"""Query an index: an image goes in; neighbours, votes, predictions and typicality come out.

index         `open_index`, `Index`
options       the options of a query
embedded      an image after one pass through the network
answer        the answer to a query
identity      the patient of a query
maps          heat maps: where the network sees its findings, and what makes two images alike
answer_sheet  an answer as a contact sheet
"""
