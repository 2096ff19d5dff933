"""What runs the model: serving formats, their storage, and inference engines."""
