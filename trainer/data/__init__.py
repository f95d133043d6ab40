"""Image data: readers, the split into training and validation, and batches on the device."""
