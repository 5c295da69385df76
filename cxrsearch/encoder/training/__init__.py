"""Parts of the trainer: the images and their order, what is saved, and a head alone."""
