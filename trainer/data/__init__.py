"""Image data: where it comes from, how it is split, how it lies on the device."""
