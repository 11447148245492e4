"""Where data comes from: arrays of inputs and class indices, before any task."""
