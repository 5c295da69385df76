"""Images in: findings, radiographs, the catalogue, splits, preprocessing, the pixel cache, the phantom."""
