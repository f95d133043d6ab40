"""The operations on images that the functions of `augmentation` draw from."""
